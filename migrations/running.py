"""Running a revision's SQL, which is plain and may be many statements."""

from pathlib import Path
from typing import Any

from alembic import op
from sqlalchemy.util import await_only


def run_sql(revision_file: str) -> None:
    """Run the file of the same name that ends in `.sql`, in the migration's transaction."""
    sql = Path(revision_file).with_suffix(".sql").read_text(encoding="utf-8")
    # Past SQLAlchemy, which would prepare it and so allow one statement only.
    driver: Any = op.get_bind().connection.driver_connection
    await_only(driver.execute(sql))
