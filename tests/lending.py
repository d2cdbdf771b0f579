"""Who has a connection that is lent waits for no other one; see `Database`."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakKeyDictionary

import pytest

from homeserver.storage.pool import Connection, Database, Perhaps


class Lending:
    """Who of the server's own tasks has a connection, and since where."""

    def __init__(self) -> None:
        self.places: WeakKeyDictionary[asyncio.Task[Any], str] = WeakKeyDictionary()
        self.faults: set[str] = set()

    def check(self, place: str) -> asyncio.Task[Any] | None:
        """Note it if the task that asks for one has one; the task, unless it is a test."""
        task = asyncio.current_task()
        if task is None or "/homeserver/" not in place:
            return None
        if task in self.places:
            self.faults.add(f"{place} waits for a connection beside that of {self.places[task]}")
            return None
        return task


@pytest.fixture(scope="session")
def lending() -> Iterator[Lending]:
    found, reader, lend = Lending(), Database.reader, Perhaps._connection
    with pytest.MonkeyPatch.context() as patch:

        def noted(self: Database) -> Any:
            return having(reader(self), _place(sys._getframe(1)))

        @asynccontextmanager
        async def having(lent: Any, place: str) -> AsyncIterator[Connection]:
            task = found.check(place)
            async with lent as conn:
                if task is not None:
                    found.places[task] = place
                try:
                    yield conn
                finally:
                    if task is not None:
                        del found.places[task]

        async def perhaps(self: Perhaps) -> Connection:
            if self._lent is None:
                found.check("/homeserver/ perhaps")
            return await lend(self)

        patch.setattr(Database, "reader", noted)
        patch.setattr(Perhaps, "_connection", perhaps)
        yield found


@pytest.fixture(autouse=True)
def nobody_waits(lending: Lending) -> Iterator[None]:
    """Nobody has a connection and waits for another, in any test."""
    yield
    faults, lending.faults = lending.faults, set()
    assert not faults


def _place(frame: Any) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
