"""The process that keeps the database: starts our own PostgreSQL, makes the schema, stops it.

It tells the parent how to connect, in a line of JSON, once the database is ready for the workers.
"""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from homeserver.app.children import CANNOT_START, PARENT_GONE
from homeserver.config.settings import Settings
from homeserver.errors import HearthError
from homeserver.logs import get_logger
from homeserver.storage.accounts import has_accounts
from homeserver.storage.embedded import Address, EmbeddedPostgres
from homeserver.storage.installation import settle
from homeserver.storage.migrate import migrate
from homeserver.storage.pool import open_database, passes

log = get_logger(__name__)

_PREPARING_SECONDS = 60.0
"""For how long a database that goes away meanwhile is made ready once more."""


def run(settings: Settings, lifeline: int, report: int) -> int:
    """Keep the database until the parent says so, or is gone; answers the exit status."""
    try:
        return asyncio.run(_keep(settings, lifeline, report))
    except (HearthError, OSError) as error:
        log.critical("the database cannot be used", reason=str(error))
        return CANNOT_START


async def _keep(settings: Settings, lifeline: int, report: int) -> int:
    told = end_told(lifeline)
    async with AsyncExitStack() as stack:
        starting = asyncio.create_task(_start(settings, stack, report))
        # Told before it has started, it does not go on: the next server waits for the folder.
        await asyncio.wait((told, starting), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            keeping = starting.result()
            await asyncio.wait((told, keeping), return_when=asyncio.FIRST_COMPLETED)
            if keeping.done():
                keeping.result()
        else:
            starting.cancel()
            await asyncio.wait((starting,))
    return told.result() if told.done() else CANNOT_START


async def _start(settings: Settings, stack: AsyncExitStack, report: int) -> "asyncio.Future[None]":
    """Have the database ready, and say so; what is answered is done when it is no more."""
    where, keeping = await stack.enter_async_context(_database(settings))
    if not await prepare(settings, where):
        log.info("nobody has an account yet: `hearth user create NAME --admin` makes one")
    os.write(report, json.dumps(where).encode() + b"\n")
    os.close(report)
    return keeping


@asynccontextmanager
async def _database(
    settings: Settings,
) -> AsyncIterator[tuple[dict[str, Any], "asyncio.Future[None]"]]:
    if settings.database is not None:
        yield {"dsn": settings.database.reveal()}, asyncio.get_running_loop().create_future()
        return
    postgres = EmbeddedPostgres(settings.postgres_folder)
    async with postgres as address:
        keeping = asyncio.create_task(postgres.keep_running())
        try:
            yield own_database(address), keeping
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError, HearthError):
                await keeping


def own_database(address: Address) -> dict[str, Any]:
    """How to connect to the database in our own PostgreSQL: the one that every cluster has."""
    return {**address.connection, "database": "postgres"}


async def prepare(settings: Settings, where: dict[str, Any]) -> bool:
    """Bring the schema up to date, and see that the database is this server's.

    Answers whether anybody has an account yet.
    """
    deadline = time.monotonic() + _PREPARING_SECONDS
    while True:
        database = await open_database(where, readers=2)
        try:
            await migrate(database)
            async with database.reader() as conn:
                await settle(conn, settings.server_name)
                return await has_accounts(conn)
        except Exception as error:
            if not passes(error) or time.monotonic() > deadline:
                raise
            log.warning("the database went away as it was made ready", reason=str(error))
        finally:
            await database.close()


def end_told(lifeline: int) -> "asyncio.Future[int]":
    """Done when this process shall end, with its exit status: by SIGTERM, or the parent gone."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[int] = loop.create_future()

    def tell(status: int) -> None:
        loop.remove_reader(lifeline)
        if not told.done():
            told.set_result(status)

    loop.add_signal_handler(signal.SIGTERM, tell, 0)
    loop.add_reader(lifeline, tell, PARENT_GONE)
    return told
