"""Tokens by which other services learn who somebody is."""

from migrations.running import run_sql

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
