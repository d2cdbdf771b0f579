"""Events that are brought to everybody in their room for a while."""

from migrations.running import run_sql

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
