"""What receiving events from other servers needs beside the graph."""

from migrations.running import run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
