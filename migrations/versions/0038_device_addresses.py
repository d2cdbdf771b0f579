"""Addresses of people are kept, where that is wanted."""

from migrations.running import run_sql

revision = "0038"
down_revision = "0037"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
