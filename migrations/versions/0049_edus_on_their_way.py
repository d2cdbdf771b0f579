"""Which EDUs are on their way to other servers, one by one."""

from migrations.running import run_sql

revision = "0049"
down_revision = "0048"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
