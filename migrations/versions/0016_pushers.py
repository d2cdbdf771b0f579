"""Where people's notifications go, and those on their way there."""

from migrations.running import run_sql

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
