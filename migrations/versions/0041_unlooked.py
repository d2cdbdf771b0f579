"""Events are written without a look at what there is."""

from migrations.running import run_sql

revision = "0041"
down_revision = "0040"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
