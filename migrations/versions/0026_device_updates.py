"""What other servers are told of the devices of people here."""

from migrations.running import run_sql

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
