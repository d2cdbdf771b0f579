"""Pictures of previewed pages are known, and deleted."""

from migrations.running import run_sql

revision = "0033"
down_revision = "0032"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
