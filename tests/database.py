"""A PostgreSQL for tests: started once, its schema made once, a fresh copy for each test.

`HEARTH_TEST_DATABASE` (a dsn of somebody who may create databases) uses another server instead.
"""

import asyncio
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from homeserver.storage.embedded import EmbeddedPostgres
from homeserver.storage.migrate import migrate
from homeserver.storage.pool import Database, open_database
from homeserver.storage.postmaster import find_postmaster

TEMPLATE = f"hearth_template_{os.getpid()}"
_MEMORY = Path("/dev/shm")  # noqa: S108 - only a place, the folder in it is made safely
_ROOM = 2 * 1024**3

_numbers = itertools.count(1)


class Server:
    """Where the databases of the tests are."""

    def __init__(self, where: dict[str, Any]) -> None:
        self.where = where

    def database(self, name: str) -> dict[str, Any]:
        """How to connect to one of its databases."""
        return {**self.where, "database": name}

    async def create(self, name: str, template: str = "template0") -> None:
        """Make a database, in place of one of that name."""
        await self.drop(name)
        # Copying files takes a tenth of the time that the default does, which logs their pages.
        await self._execute(
            f"CREATE DATABASE {name} TEMPLATE {template} ENCODING 'UTF8' STRATEGY FILE_COPY"
        )

    async def drop(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        await self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    async def _execute(self, sql: str) -> None:
        conn = await asyncpg.connect(**self.database("postgres"))
        try:
            await conn.execute(sql)
        finally:
            await conn.close()


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """A place for a PostgreSQL: in memory, where there is room, as it has a thousand files."""
    is_roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM
    return tempfile.TemporaryDirectory(prefix="hearth-", dir=_MEMORY if is_roomy else None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """The server, with a migrated template in it."""
    dsn = os.environ.get("HEARTH_TEST_DATABASE")
    with nullcontext({"dsn": dsn}) if dsn else _embedded() as where:
        server = Server(where)
        asyncio.run(_make_template(server))
        yield server
        asyncio.run(server.drop(TEMPLATE))


@pytest.fixture
async def database(postgres: Server) -> AsyncIterator[Database]:
    """An empty database of the current schema, for this test alone."""
    name = f"hearth_test_{os.getpid()}_{next(_numbers)}"
    await postgres.create(name, TEMPLATE)
    opened = await open_database(postgres.database(name))
    yield opened
    await opened.close()
    await postgres.drop(name)


@contextmanager
def _embedded() -> Iterator[dict[str, Any]]:
    with scratch_folder() as name:
        server = EmbeddedPostgres(Path(name), for_tests=True)
        address = asyncio.run(server.start())
        try:
            with _ended_with_us(Path(name)):
                yield address.connection
        finally:
            asyncio.run(server.stop())


@contextmanager
def _ended_with_us(folder: Path) -> Iterator[None]:
    """Have the server ended and its folder removed, should the tests be killed."""
    postmaster = find_postmaster(folder / "data")
    assert postmaster
    watch = 'read word; [ "$word" ] || { kill -QUIT "$1"; sleep 1; rm -rf "$2"; }'
    command = ["sh", "-c", watch, "watch", str(postmaster.pid), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as watcher:
        yield
        watcher.communicate(b"done\n")


async def _make_template(server: Server) -> None:
    await server.create(TEMPLATE)
    database = await open_database(server.database(TEMPLATE))
    await migrate(database)
    await database.close()
