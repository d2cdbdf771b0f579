"""Answers to other servers' transactions are forgotten by their size, not by their age alone."""

from migrations.running import run_sql

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    """Run the SQL beside this file."""
    run_sql(__file__)
