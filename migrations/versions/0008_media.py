"""Files that people sent, and those fetched from other servers."""

from migrations.running import run_sql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
