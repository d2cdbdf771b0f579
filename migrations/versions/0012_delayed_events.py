"""Events that are sent later."""

from migrations.running import run_sql

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
