"""Connections to PostgreSQL, as the rest of the storage sees them.

Only here is asyncpg known. A `Database` lends connections for reading, and opens others for those
who need one to themselves: the writer, the listener.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeAlias, TypeVar, cast

import asyncpg

from homeserver.errors import HearthError

OLDEST = 15
"""The oldest major version of PostgreSQL that we are tested with."""

_SESSION = {
    "application_name": "hearth",
    "jit": "off",
    "default_transaction_isolation": "read committed",
    "idle_in_transaction_session_timeout": "60s",
}
_LENT_SESSION = _SESSION | {"statement_timeout": "60s"}
"""Whoever waits for an answer is gone by then; longer work has a connection of its own."""
_CONNECT_SECONDS = 10.0
_OUTAGE_SECONDS = 5.0
"""How long somebody waits for a server that went away: its restart takes less."""
_T = TypeVar("_T")
_NOT_NOW = (
    OSError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.PostgresConnectionError,
    asyncpg.TooManyConnectionsError,
    # COMPAT(asyncpg) what it says when the server ended a session while nothing was asked
    asyncpg.InternalClientError,
)
"""What passes by itself: it starts, stops, or is full."""
_POOLER = (
    "there is a connection pooler before the database: LISTEN and advisory locks need direct "
    "connections; point `database` at PostgreSQL itself"
)


class DatabaseError(HearthError):
    """The database cannot be used; the text says what to do."""


class DatabaseAwayError(DatabaseError):
    """It cannot be used now; it may come back by itself."""


OUTAGES = (
    DatabaseError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
"""What goes wrong because the database, or the way to it, is in trouble: a repeat may succeed."""


_OF_VALUES = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)


def may_succeed(error: Exception) -> bool:
    """Whether the database was in trouble, and not what was asked of it: a repeat may succeed."""
    return isinstance(error, OUTAGES) and not isinstance(error, _OF_VALUES)


def passes(error: Exception) -> bool:
    """Whether an error comes of the database being away for a while."""
    return isinstance(error, (DatabaseAwayError, asyncpg.InterfaceError, *_NOT_NOW))


class Connection(Protocol):
    """What queries need of a connection; asyncpg's satisfies it, as does what its pool lends."""

    async def fetch(self, query: str, /, *args: Any) -> list[Any]:
        """All rows."""

    async def fetchrow(self, query: str, /, *args: Any) -> Any:
        """The first row, or `None`."""

    async def fetchval(self, query: str, /, *args: Any) -> Any:
        """The first column of the first row, or `None`."""

    async def execute(self, query: str, /, *args: Any) -> str:
        """Run it; the answer is PostgreSQL's tag."""


OwnConnection: TypeAlias = "asyncpg.Connection[Any]"
"""One that is lent to nobody else, for transactions and what a session keeps."""


async def copied(
    conn: Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]
) -> bool:
    """Write rows by `COPY`, in no transaction; `False`, and none is written, if one is there."""
    try:
        copy = cast("OwnConnection", conn).copy_records_to_table
        await copy(table, columns=columns, records=rows)
    except asyncpg.UniqueViolationError:
        return False
    return True


class Database:
    """A PostgreSQL that was looked at and found fit. Made by `open_database`.

    Whoever has a connection that is lent must not wait for another: as many who do so at the same
    time as there are connections would wait for ever.
    """

    def __init__(
        self, pool: "asyncpg.Pool[Any]", aside: "asyncpg.Pool[Any]", where: Mapping[str, Any]
    ) -> None:
        self._pool = pool
        self._aside = aside
        self.where = where

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[Connection]:
        """Lend a connection for some queries, that leave no settings and no locks behind.

        Raises:
            DatabaseAwayError: the server went away, and did not come back soon.

        """
        connection = await _patiently(self._pool.acquire, _OUTAGE_SECONDS)
        try:
            yield connection
        finally:
            await self._pool.release(connection)

    @asynccontextmanager
    async def aside(self) -> AsyncIterator[Connection]:
        """As `reader`, for those on whom others wait who have a connection that is lent.

        There is one; who has it waits for nothing else.
        """
        connection = await _patiently(self._aside.acquire, _OUTAGE_SECONDS)
        try:
            yield connection
        finally:
            await self._aside.release(connection)

    def perhaps(self) -> "Perhaps":
        """As `reader`, but lent when the first query is made: for who mostly knows already."""
        return Perhaps(self._pool)

    async def connect(self, **settings: str) -> OwnConnection:
        """Open a connection for somebody's own use, with more settings for its session.

        Raises:
            DatabaseAwayError: the server went away, and did not come back soon.

        """
        return await _patiently(lambda: _connect(self.where, settings), _OUTAGE_SECONDS)

    async def close(self) -> None:
        """Close the lent connections, once they are back."""
        await self._pool.close()
        await self._aside.close()


class Perhaps:
    """A connection that is lent once it is needed; see `Database.perhaps`."""

    def __init__(self, pool: "asyncpg.Pool[Any]") -> None:
        self._pool = pool
        self._lent: Any = None

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._lent is not None:
            await self._pool.release(self._lent)

    async def _connection(self) -> Connection:
        if self._lent is None:
            self._lent = await _patiently(self._pool.acquire, _OUTAGE_SECONDS)
        lent: Connection = self._lent
        return lent

    async def fetch(self, query: str, /, *args: Any) -> list[Any]:
        """All rows."""
        return await (await self._connection()).fetch(query, *args)

    async def fetchrow(self, query: str, /, *args: Any) -> Any:
        """The first row, or `None`."""
        return await (await self._connection()).fetchrow(query, *args)

    async def fetchval(self, query: str, /, *args: Any) -> Any:
        """The first column of the first row, or `None`."""
        return await (await self._connection()).fetchval(query, *args)

    async def execute(self, query: str, /, *args: Any) -> str:
        """Run it; the answer is PostgreSQL's tag."""
        return await (await self._connection()).execute(query, *args)


async def open_database(
    where: Mapping[str, Any], *, readers: int = 4, wait: float = 30.0
) -> Database:
    """Connect to a PostgreSQL, and see that it is fit.

    Args:
        where: `dsn`, or `host`, `port`, `user`, `password` and `database`, as asyncpg takes them.
        readers: how many connections may be lent at a time.
        wait: seconds for which a server that does not answer yet is waited for.

    Raises:
        DatabaseAwayError: it does not answer.
        DatabaseError: it is too old, or is not what it seems.

    """
    first = await _patiently(lambda: _connect(where, {}), wait)
    try:
        await _check(first)
    finally:
        await first.close()
    return Database(await _pool(where, 1, readers), await _pool(where, 0, 1), where)


async def _pool(where: Mapping[str, Any], least: int, most: int) -> "asyncpg.Pool[Any]":
    return await asyncpg.create_pool(
        **where,
        min_size=least,
        max_size=most,
        timeout=_CONNECT_SECONDS,
        server_settings=_LENT_SESSION,
        reset=_leave_as_it_is,
    )


async def _leave_as_it_is(_: object) -> None:
    """What asyncpg would reset costs a round trip, as much as the query did.

    An open transaction it rolls back before it comes here.
    """


async def _connect(
    where: Mapping[str, Any], settings: Mapping[str, str]
) -> "asyncpg.Connection[Any]":
    return await asyncpg.connect(
        **where, timeout=_CONNECT_SECONDS, server_settings={**_SESSION, **settings}
    )


async def _patiently(attempt: Callable[[], Awaitable[_T]], wait: float) -> _T:
    """Try to get a connection, for `wait` seconds if the server cannot be had at the moment."""
    loop = asyncio.get_running_loop()
    deadline, pause = loop.time() + wait, 0.05
    while True:
        try:
            return await attempt()
        except asyncpg.ProtocolViolationError as error:
            raise DatabaseError(f"{_POOLER} (it says: {error})") from error
        except _NOT_NOW as error:
            if loop.time() + pause > deadline:
                raise DatabaseAwayError(
                    f"the database does not answer: {error}. See that it runs, and that `database` "
                    "names it"
                ) from error
            await asyncio.sleep(pause)
            pause = min(pause * 2, 2.0)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
            raise DatabaseError(f"the database refuses us: {error}") from error


async def _check(conn: "asyncpg.Connection[Any]") -> None:
    version = conn.get_server_version()
    if version.major < OLDEST:
        raise DatabaseError(f"PostgreSQL {version.major} is too old: it takes {OLDEST} or newer")
    # A pooler in between names a process of its own making.
    if await conn.fetchval("SELECT pg_backend_pid()") != conn.get_server_pid():
        raise DatabaseError(_POOLER)
    encoding, is_standby, may_create = await conn.fetchrow(
        """
        SELECT current_setting('server_encoding'), pg_is_in_recovery(),
               has_schema_privilege('public', 'CREATE')
        """
    )
    if encoding != "UTF8":
        raise DatabaseError(f"the database is encoded in {encoding}: make one with ENCODING 'UTF8'")
    if is_standby:
        raise DatabaseError("the database is a standby, which cannot be written: name the primary")
    if not may_create:
        raise DatabaseError(
            "the user may not create tables: make it the owner of the database, as in "
            "CREATE DATABASE hearth OWNER hearth ENCODING 'UTF8' TEMPLATE template0"
        )
