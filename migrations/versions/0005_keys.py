"""Device keys, one-time keys, cross-signing, to-device messages and key backup."""

from migrations.running import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
