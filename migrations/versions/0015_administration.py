"""Blocked rooms, files in quarantine, tasks of administrators, server notices."""

from migrations.running import run_sql

revision = "0015"
down_revision = "0012"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
