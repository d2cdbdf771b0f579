"""A membership is known by its own event."""

from migrations.running import run_sql

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
