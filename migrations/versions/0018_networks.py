"""Rooms in the lists of networks that application services bridge."""

from migrations.running import run_sql

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
