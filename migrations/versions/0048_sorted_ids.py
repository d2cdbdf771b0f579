"""IDs are written in their order."""

from migrations.running import run_sql

revision = "0048"
down_revision = "0044"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
