"""It can be found out where files are named."""

from migrations.running import run_sql

revision = "0037"
down_revision = "0036"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
