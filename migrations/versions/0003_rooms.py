"""Room aliases, forgotten rooms, and what redactions removed."""

from migrations.running import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
