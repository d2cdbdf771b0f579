"""Bringing a database to the schema of this version, at start.

`migrations/schema.sql` shows the result. `python -m homeserver.storage.migrate` writes it anew,
from an embedded PostgreSQL of its own.
"""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy import Connection as SyncConnection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

import migrations
from homeserver.storage.embedded import EmbeddedPostgres
from homeserver.storage.pool import Database, DatabaseError, open_database
from homeserver.storage.schema import schema_dump

_FOLDER = Path(migrations.__file__).parent
SCHEMA_FILE = _FOLDER / "schema.sql"
_LOCK = 7310868735949794661
"""The advisory lock of whoever migrates."""


async def migrate(database: Database) -> None:
    """Apply the revisions that are missing; of several processes one does it, the others wait.

    Raises:
        DatabaseError: a newer version of Hearth has written the database.

    """
    guard = await database.connect()
    try:
        await guard.execute("SELECT pg_advisory_lock($1)", _LOCK)
        await _upgrade(database.connect)
    finally:
        await guard.close()  # and with it, the lock


async def _upgrade(connect: Callable[[], Awaitable[Any]]) -> None:
    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_run_revisions)
    except CommandError as error:
        if not isinstance(error.__cause__, ResolutionError):
            raise
        raise DatabaseError(
            f"the database was written by a newer version of Hearth ({error}): run that one, or "
            "restore the backup made before it"
        ) from error
    finally:
        await engine.dispose()


def _run_revisions(connection: SyncConnection) -> None:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def _write_schema() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with EmbeddedPostgres(Path(folder), for_tests=True) as address:
            database = await open_database({**address.connection, "database": "postgres"})
            await migrate(database)
            async with database.reader() as conn:
                SCHEMA_FILE.write_text(await schema_dump(conn), encoding="utf-8")
            await database.close()


if __name__ == "__main__":
    asyncio.run(_write_schema())
