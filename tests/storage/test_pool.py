import asyncio

import asyncpg
import pytest

from homeserver.storage import pool
from homeserver.storage.pool import Database, DatabaseError, open_database
from tests.database import Server


async def test_readers_are_lent_and_come_back(database: Database) -> None:
    async def read(number: int) -> object:
        async with database.reader() as conn:
            return await conn.fetchval("SELECT $1::int", number)

    assert await asyncio.gather(*map(read, range(20))) == list(range(20))


async def test_own_connections_have_settings_of_their_own(database: Database) -> None:
    conn = await database.connect(lock_timeout="1s")
    assert await conn.fetchval("SHOW lock_timeout") == "1s"
    assert await conn.fetchval("SHOW application_name") == "hearth"
    await conn.close()


async def test_nobody_answers(postgres: Server) -> None:
    with pytest.raises(DatabaseError, match="does not answer"):
        await open_database({**postgres.database("x"), "host": "/nowhere"}, wait=0.2)


async def test_a_database_that_does_not_exist(postgres: Server) -> None:
    with pytest.raises(DatabaseError, match="refuses us"):
        await open_database(postgres.database("hearth_nowhere"))


async def test_too_old(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "OLDEST", 99)
    with pytest.raises(DatabaseError, match="too old: it takes 99"):
        await open_database(database.where)


async def test_another_encoding(postgres: Server) -> None:
    await postgres.drop("hearth_latin")
    conn = await asyncpg.connect(**postgres.database("postgres"))
    await conn.execute("CREATE DATABASE hearth_latin TEMPLATE template0 ENCODING 'LATIN1'")
    await conn.close()
    with pytest.raises(DatabaseError, match="encoded in LATIN1"):
        await open_database(postgres.database("hearth_latin"))
    await postgres.drop("hearth_latin")


async def test_a_pooler_in_between(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """It hands out a process number of its own making."""
    monkeypatch.setattr(asyncpg.Connection, "get_server_pid", lambda _: 1)
    with pytest.raises(DatabaseError, match="connection pooler"):
        await open_database(database.where)
