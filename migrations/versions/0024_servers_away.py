"""Servers for which nothing is queued, because they have not answered for long."""

from migrations.running import run_sql

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
