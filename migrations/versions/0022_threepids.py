"""E-mail addresses of accounts."""

from migrations.running import run_sql

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
