"""What commands work on that act on the database themselves, whether the server runs or not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from homeserver.app.keeper import own_database, prepare
from homeserver.app.making import milliseconds
from homeserver.config import Settings
from homeserver.storage.clock import Clock, read_position
from homeserver.storage.embedded import EmbeddedPostgres
from homeserver.storage.freshness import SharedPositions
from homeserver.storage.numbers import Numbers
from homeserver.storage.pool import open_database
from homeserver.storage.postmaster import find_postmaster
from homeserver.storage.process import Process
from homeserver.storage.tail import Tail


@asynccontextmanager
async def own_process(settings: Settings) -> AsyncIterator[Process]:
    """A process like a worker's, on the server's database, with its schema brought up to date."""
    async with _database(settings) as where:
        await prepare(settings, where)
        database = await open_database(where, readers=2)
        try:
            async with database.reader() as conn:
                position = await read_position(conn)
            clock = Clock(SharedPositions(1), 0)
            tail = Tail(database, clock, position)
            yield Process(settings.server_name, database, Numbers(), clock, tail, milliseconds)
        finally:
            await database.close()


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[dict[str, Any]]:
    """The server's database; our own PostgreSQL is only stopped if it did not run before."""
    if settings.database is not None:
        yield {"dsn": settings.database.reveal()}
        return
    postgres = EmbeddedPostgres(settings.postgres_folder)
    was_running = find_postmaster(settings.postgres_folder.resolve() / "data") is not None
    address = await postgres.start()
    try:
        yield own_database(address)
    finally:
        if not was_running:
            await postgres.stop()
