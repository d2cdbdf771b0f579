"""How long the messages of rooms are kept."""

from migrations.running import run_sql

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
