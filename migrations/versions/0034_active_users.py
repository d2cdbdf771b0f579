"""It is known how many use the server, where so many may only."""

from migrations.running import run_sql

revision = "0034"
down_revision = "0033"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
