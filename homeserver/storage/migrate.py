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
from alembic.util import CommandError
from sqlalchemy import Connection as SyncConnection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

import migrations
from homeserver.storage.embedded import EmbeddedPostgres
from homeserver.storage.pool import Connection, Database, DatabaseError, open_database

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


async def schema_of(conn: Connection) -> str:
    """The schema as text to read and to compare, table by table."""
    tables = await conn.fetch(
        """
        SELECT c.relname, coalesce(array_to_string(c.reloptions, ', '), ''),
               array_agg(format('%s %s%s%s', a.attname, format_type(a.atttypid, a.atttypmod),
                                CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END,
                                coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), ''))
                         ORDER BY a.attnum)
          FROM pg_class c
          JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
          LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
         GROUP BY c.oid, c.relname, c.reloptions
         ORDER BY c.relname
        """
    )
    more = await conn.fetch(
        """
        SELECT conrelid::regclass::text AS of, pg_get_constraintdef(oid) AS line
          FROM pg_constraint
         WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
         UNION ALL
        SELECT i.indrelid::regclass::text, pg_get_indexdef(i.indexrelid)
          FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
         WHERE c.relnamespace = 'public'::regnamespace
           AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid)
         ORDER BY 1, 2
        """
    )
    functions = await conn.fetch(
        """
        SELECT pg_get_functiondef(oid) FROM pg_proc
         WHERE pronamespace = 'public'::regnamespace ORDER BY proname
        """
    )
    parts = [
        "\n    ".join([f"TABLE {name}", *columns, *(m[1] for m in more if m[0] == name), options])
        for name, options, columns in tables
    ]
    return "\n\n".join(part.rstrip() for part in [*parts, *(f[0] for f in functions)]) + "\n"


async def _write_schema() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder), for_tests=True)
        address = await server.start()
        try:
            database = await open_database({**address.connection, "database": "postgres"})
            await migrate(database)
            async with database.reader() as conn:
                SCHEMA_FILE.write_text(await schema_of(conn))
            await database.close()
        finally:
            await server.stop()


if __name__ == "__main__":
    asyncio.run(_write_schema())
