"""Who was put out of rooms with all that they said."""

from migrations.running import run_sql

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
