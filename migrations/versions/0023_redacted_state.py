"""An index of the state events that were redacted: few, and looked for among all members."""

from migrations.running import run_sql

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
