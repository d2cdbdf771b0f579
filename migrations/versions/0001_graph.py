"""The event graph: rooms, events, state, and the log with its clock."""

from migrations.running import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
