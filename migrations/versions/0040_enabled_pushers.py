"""Pushers can be switched off and on."""

from migrations.running import run_sql

revision = "0040"
down_revision = "0039"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
