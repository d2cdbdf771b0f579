"""Devices that nobody is logged in with receive messages."""

from migrations.running import run_sql

revision = "0036"
down_revision = "0035"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
