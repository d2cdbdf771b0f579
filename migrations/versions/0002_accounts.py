"""Accounts, devices and tokens, profiles, account data and filters; appending to the log."""

from migrations.running import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
