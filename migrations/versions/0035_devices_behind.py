"""From where on servers that are away are told nothing of devices."""

from migrations.running import run_sql

revision = "0035"
down_revision = "0034"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
