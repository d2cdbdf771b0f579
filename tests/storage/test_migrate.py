import asyncio
import logging

import asyncpg
import pytest

from homeserver.storage.migrate import SCHEMA_FILE, migrate
from homeserver.storage.pool import Database, DatabaseError, open_database
from homeserver.storage.schema import schema_dump
from tests.database import Server


async def test_the_schema_in_the_tree_is_what_comes_out(database: Database) -> None:
    """`python -m homeserver.storage.migrate` writes it anew."""
    async with database.reader() as conn:
        assert await schema_dump(conn) == SCHEMA_FILE.read_text()


async def test_many_at_once_migrate_once(
    postgres: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Each step is told of, one time."""
    caplog.set_level(logging.INFO, logger="alembic")
    await postgres.create("hearth_many")
    opened = [await open_database(postgres.database("hearth_many")) for _ in range(4)]
    await asyncio.gather(*(migrate(database) for database in opened))
    await migrate(opened[0])
    steps = [record for record in caplog.messages if record.startswith("Running upgrade")]
    assert len(steps) == len(list((SCHEMA_FILE.parent / "versions").glob("[0-9]*.py")))
    async with opened[0].reader() as conn:
        assert await schema_dump(conn) == SCHEMA_FILE.read_text()
    for database in opened:
        await database.close()
    await postgres.drop("hearth_many")


async def test_the_schema_shows_what_matters(database: Database) -> None:
    conn = await database.connect()
    before = await schema_dump(conn)
    for change in (
        "ALTER TABLE rooms ALTER COLUMN version SET DEFAULT '12'",
        "ALTER TABLE rooms ALTER COLUMN version SET NOT NULL",
        'ALTER TABLE rooms ALTER COLUMN version TYPE text COLLATE "POSIX"',
        "ALTER TABLE events ALTER COLUMN json SET STORAGE EXTERNAL",
        "ALTER TABLE events SET UNLOGGED",
        "ALTER TABLE events ADD CHECK (depth > 0)",
        "CREATE INDEX unheard_of ON events (depth) WHERE depth > 0",
        "ALTER SEQUENCE clock CACHE 7",
        "CREATE FUNCTION append_batch() RETURNS integer LANGUAGE sql RETURN 1",
    ):
        await conn.execute(change)
        after = await schema_dump(conn)
        assert after != before, change
        before = after
    await conn.close()


async def test_a_database_of_the_future_is_left_alone(database: Database) -> None:
    conn = await database.connect()
    await conn.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseError, match=r"newer version of Hearth .*9999"):
        await migrate(database)
    await conn.close()


async def test_half_a_migration_is_none(postgres: Server) -> None:
    """Something is in the way: nothing of the revision stays."""
    await postgres.create("hearth_half")
    database = await open_database(postgres.database("hearth_half"))
    conn = await database.connect()
    await conn.execute("CREATE TABLE sent (this text)")
    with pytest.raises(asyncpg.PostgresError):
        await migrate(database)
    tables = await conn.fetch("SELECT relname FROM pg_class WHERE relname IN ('rooms', 'events')")
    assert tables == []
    await conn.close()
    await database.close()
    await postgres.drop("hearth_half")
