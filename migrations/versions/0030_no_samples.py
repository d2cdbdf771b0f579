"""PostgreSQL keeps no samples of what people say."""

from migrations.running import run_sql

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
