"""Rooms that were joined before all of their members were known."""

from migrations.running import run_sql

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
