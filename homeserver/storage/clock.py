"""Where the log stands, and waiting for it to move on.

`NOTIFY clock` carries the position of every commit; whoever commits here also says so itself, which
is quicker. As a notification can be lost with its connection, the log is looked at every few
seconds anyway.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from homeserver.storage.freshness import SharedPositions
from homeserver.storage.pool import Connection

CHANNEL = "clock"
LOOK_ANYWAY = 5.0
"""Seconds between looks at the log while nothing is heard."""


class Listener(Connection, Protocol):
    """A connection that hears notifications, as asyncpg's do."""

    async def add_listener(self, channel: str, callback: Callable[..., None], /) -> None:
        """Call back with connection, process, channel and payload."""


class Clock:
    """The position of this process: everything up to it is committed, and can be read.

    `place` is this process's in the shared page.
    """

    def __init__(self, shared: SharedPositions, place: int) -> None:
        self._shared = shared
        self._place = place
        self._position = 0
        self._own: set[int] = set()
        """Sessions of this process."""
        self._moved = asyncio.Event()

    @property
    def position(self) -> int:
        """The highest position known to this process, or to another one of this host."""
        return max(self._position, self._shared.highest())

    def advance(self, position: int) -> None:
        """Somebody saw that `position` is committed."""
        if position > self._position:
            self._position = position
            self._shared.raise_to(self._place, position)
            moved, self._moved = self._moved, asyncio.Event()
            moved.set()

    async def wait_beyond(self, position: int) -> int:
        """Wait until the log has moved beyond `position`; answer where it stands then."""
        while self._position <= position:
            await self._moved.wait()
        return self._position

    async def follow(self, conn: Listener) -> None:
        """Keep up with what other processes commit, until the connection is lost."""
        await conn.add_listener(CHANNEL, self._heard)
        while True:
            self.advance(await read_position(conn))
            await asyncio.sleep(LOOK_ANYWAY)

    @contextmanager
    def told_by(self, session: int) -> Iterator[None]:
        """Who writes over a session says meanwhile what they committed, and by which rows.

        They know just after whoever listens: who is woken by them need not ask for the rows.
        """
        self._own.add(session)
        try:
            yield
        finally:
            self._own.discard(session)

    def _heard(self, _conn: Any, session: int, _channel: str, payload: str) -> None:
        if session not in self._own:
            self.advance(int(payload))


async def read_position(conn: Connection) -> int:
    """The highest position that is committed; 0 in an empty log.

    Not the sequence's value, which a commit under way has raised already.
    """
    found: int | None = await conn.fetchval("SELECT max(pos) FROM log")
    return found or 0
