"""Other servers: their keys, how they fare, and what waits to be sent to them."""

from migrations.running import run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
