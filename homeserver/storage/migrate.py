"""Bringing a database to the schema of this version, at start.

`migrations/schema.sql` shows the result. `python -m homeserver.storage.migrate` writes it anew,
from an embedded PostgreSQL of its own.
"""

import asyncio
import tempfile
from pathlib import Path

import migrations
from homeserver.storage.embedded import EmbeddedPostgres
from homeserver.storage.pool import Connection, Database, open_database
from homeserver.storage.schema import schema_dump

_FOLDER = Path(migrations.__file__).parent
SCHEMA_FILE = _FOLDER / "schema.sql"
_LOCK = 7310868735949794661
"""The advisory lock of whoever migrates."""


async def migrate(database: Database) -> None:
    """Apply the revisions that are missing; of several processes one does it, the others wait.

    Raises:
        DatabaseAwayError: the database was lost meanwhile.
        DatabaseError: a newer version of Hearth has written the database.

    """
    guard = await database.connect()
    try:
        await guard.execute("SELECT pg_advisory_lock($1)", _LOCK)
        if await _revision(guard) != _newest():
            # What it needs takes a fifth of a process's memory, and half a second.
            from homeserver.storage.upgrading import upgrade

            await upgrade(database.connect, _FOLDER)
    finally:
        await guard.close()  # and with it, the lock


async def _revision(conn: Connection) -> str | None:
    """The one that the database is at; `None`: it is new."""
    if await conn.fetchval("SELECT to_regclass('alembic_version')") is None:
        return None
    found: str | None = await conn.fetchval("SELECT version_num FROM alembic_version")
    return found


def _newest() -> str:
    names = (_FOLDER / "versions").glob("[0-9]*.py")
    return max(name.stem.partition("_")[0] for name in names)


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
