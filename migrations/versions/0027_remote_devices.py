"""Device lists of people of other servers."""

from migrations.running import run_sql

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
