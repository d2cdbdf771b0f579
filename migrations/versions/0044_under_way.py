"""What is done alone."""

from migrations.running import run_sql

revision = "0044"
down_revision = "0041"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
