import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

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


async def test_only_lent_connections_have_a_limit_of_time(database: Database) -> None:
    async with database.reader() as lent:
        assert await lent.fetchval("SHOW statement_timeout") == "1min"
    own = await database.connect()
    assert await own.fetchval("SHOW statement_timeout") == "0"
    await own.close()


async def test_a_lost_connection_is_made_anew(database: Database) -> None:
    own = await database.connect()
    gone = asyncio.Event()
    async with database.reader() as conn:
        lent: Any = conn
        lent.add_termination_listener(lambda _: gone.set())
        lost = await conn.fetchval("SELECT pg_backend_pid()")
    assert await own.fetchval("SELECT pg_terminate_backend($1, 10000)", lost)
    await asyncio.wait_for(gone.wait(), 10)  # its farewell comes before its end
    async with database.reader() as conn:
        assert await conn.fetchval("SELECT pg_backend_pid()") != lost
    await own.close()


async def test_nothing_is_asked_when_a_connection_comes_back(postgres: Server) -> None:
    """asyncpg's own way is a second round trip after each query."""
    database = await open_database(postgres.database("postgres"), readers=1)
    async with database.reader() as conn:
        pid = await conn.fetchval("SELECT pg_backend_pid()")
    own = await database.connect()
    last = await own.fetchval("SELECT query FROM pg_stat_activity WHERE pid = $1", pid)
    assert last == "SELECT pg_backend_pid()"
    await own.close()
    await database.close()


async def test_an_open_transaction_ends_when_its_connection_comes_back(
    postgres: Server, database: Database
) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # it complains
    single = await open_database(database.where, readers=1)
    async with single.reader() as conn:
        await conn.execute("BEGIN")
        await conn.execute("CREATE TABLE unfinished ()")
    async with single.reader() as conn:
        assert await conn.fetchval("SELECT to_regclass('unfinished')") is None
    await single.close()


async def test_a_server_that_stays_away(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_OUTAGE_SECONDS", 0.1)
    gone = Database(
        database._pool, database._aside, {**database.where, "host": "/nowhere", "dsn": None}
    )
    with pytest.raises(DatabaseError, match=r"does not answer.*See that it runs"):
        await gone.connect()


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
    await conn.execute(
        "CREATE DATABASE hearth_latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"
    )
    await conn.close()
    with pytest.raises(DatabaseError, match="encoded in LATIN1"):
        await open_database(postgres.database("hearth_latin"))
    await postgres.drop("hearth_latin")


async def test_a_pooler_in_between(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """It hands out a process number of its own making."""
    monkeypatch.setattr(asyncpg.Connection, "get_server_pid", lambda _: 1)
    with pytest.raises(DatabaseError, match="connection pooler"):
        await open_database(database.where)


async def test_a_pooler_that_does_not_know_our_settings() -> None:
    """PgBouncer, as it comes, refuses sessions with settings that it does not track."""
    async with refusing(("08P01", "unsupported startup parameter: jit")) as where:
        with pytest.raises(DatabaseError, match=r"connection pooler.*unsupported startup"):
            await open_database(where)


async def test_it_is_waited_for() -> None:
    """The two are often started together, and the database is the slower one."""
    refusals = [
        ("57P03", "starting up"),
        ("53300", "too many clients"),
        ("28P01", "wrong password"),
    ]
    async with refusing(*refusals) as where:
        with pytest.raises(DatabaseError, match="refuses us: wrong password"):
            await open_database(where)


async def test_a_user_who_may_create_nothing(database: Database) -> None:
    conn = await database.connect()
    await conn.execute("CREATE ROLE hearth_guest LOGIN PASSWORD 'x'")
    guest = {**database.where, "user": "hearth_guest", "password": "x"}
    with pytest.raises(DatabaseError, match="may not create tables"):
        await open_database(guest)
    await conn.execute("DROP ROLE hearth_guest")
    await conn.close()


@asynccontextmanager
async def refusing(*refusals: tuple[str, str]) -> AsyncIterator[dict[str, Any]]:
    """What looks like a PostgreSQL, and turns each session away with the next code and reason."""
    left = iter(refusals)

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        code, reason = next(left)
        fields = f"SERROR\0C{code}\0M{reason}\0\0".encode()
        writer.write(b"E" + struct.pack("!i", len(fields) + 4) + fields)
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield {"host": "127.0.0.1", "port": port, "user": "x", "password": "x", "ssl": False}


async def test_a_connection_that_is_not_needed_is_not_lent(database: Database) -> None:
    """However many may need one, they wait only for those who do."""
    async with AsyncExitStack() as stack:
        lent = [await stack.enter_async_context(database.perhaps()) for _ in range(50)]
        assert await lent[0].fetchval("SELECT 1") == 1
        assert await lent[0].fetchval("SELECT 2") == 2
        assert (await lent[1].fetchrow("SELECT 3"))[0] == 3
        assert database._pool.get_size() - database._pool.get_idle_size() == 2
    assert database._pool.get_size() == database._pool.get_idle_size()
    async with database.perhaps() as conn:
        with pytest.raises(asyncpg.SyntaxOrAccessError):
            await conn.execute("SELEKT")
    assert database._pool.get_size() == database._pool.get_idle_size()
