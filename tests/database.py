"""A PostgreSQL for tests: started once, its schema made once, a fresh copy for each test.

`HEARTH_TEST_DATABASE` (a dsn of somebody who may create databases) uses another server instead.
"""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest

from homeserver.storage.embedded import EmbeddedPostgres
from homeserver.storage.migrate import migrate
from homeserver.storage.pool import Database, open_database

TEMPLATE = "hearth_template"

_T = TypeVar("_T")
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
        await self._execute(f"CREATE DATABASE {name} TEMPLATE {template} ENCODING 'UTF8'")

    async def drop(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        await self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    async def _execute(self, sql: str) -> None:
        conn = await asyncpg.connect(**self.database("postgres"))
        try:
            await conn.execute(sql)
        finally:
            await conn.close()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server, with a migrated template in it."""
    dsn = os.environ.get("HEARTH_TEST_DATABASE")
    embedded = None if dsn else _embedded(tmp_path_factory.mktemp("postgres"))
    server = Server({"dsn": dsn} if embedded is None else _run(embedded.start()).connection)
    try:
        _run(_make_template(server))
        yield server
        _run(server.drop(TEMPLATE))
    finally:
        if embedded:
            _run(embedded.stop())


@pytest.fixture
async def database(postgres: Server) -> AsyncIterator[Database]:
    """An empty database of the current schema, for this test alone."""
    name = f"hearth_test_{os.getpid()}_{next(_numbers)}"
    await postgres.create(name, TEMPLATE)
    opened = await open_database(postgres.database(name))
    yield opened
    await opened.close()
    await postgres.drop(name)


def _embedded(folder: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(folder, for_tests=True)


async def _make_template(server: Server) -> None:
    await server.create(TEMPLATE)
    database = await open_database(server.database(TEMPLATE))
    await migrate(database)
    await database.close()


def _run(work: Coroutine[Any, Any, _T]) -> _T:
    return asyncio.run(work)
