"""Messages may say when they vanish."""

from migrations.running import run_sql

revision = "0039"
down_revision = "0038"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
