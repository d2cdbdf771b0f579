"""Rooms that everybody here has forgotten are deleted."""

from migrations.running import run_sql

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
