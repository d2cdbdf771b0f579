"""Rooms that nobody else writes to for a while.

Whoever has to read, judge and only then write claims the room first: see ADR 2.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from federation.identifiers import RoomID
from homeserver.rooms.heads import Heads
from homeserver.storage.events import claim_rooms, release_rooms
from homeserver.storage.numbers import Numbers, RoomNid
from homeserver.storage.pool import Database, OwnConnection

_PATIENCE = 250
"""Milliseconds after which is looked whether who has a room stands still."""
_TRIES = 60
_AT_ONCE = 6
"""Rooms that a process claims at the same time, each on a connection that is kept."""


class Claims:
    """Claims rooms, each with a connection of its own.

    Args:
        database: that the rooms are in.
        numbers: of the rooms.
        heads: of the rooms.

    """

    def __init__(self, database: Database, numbers: Numbers, heads: Heads) -> None:
        self._database = database
        self._numbers = numbers
        self._heads = heads
        self._locks: dict[RoomID, asyncio.Lock] = {}
        self._idle: list[OwnConnection] = []
        self._slots = asyncio.Semaphore(_AT_ONCE)

    @asynccontextmanager
    async def claimed(self, room_id: RoomID) -> AsyncIterator[tuple[OwnConnection, RoomNid]]:
        """Nobody else writes to the room meanwhile; what is known of its head is the newest.

        Raises:
            TimeoutError: somebody else had it all the time.

        """
        lock = self._locks.setdefault(room_id, asyncio.Lock())
        try:
            async with lock, self._slots:
                conn = await self._connection()
                try:
                    room = (await self._numbers.rooms.intern(conn, [room_id]))[room_id]
                    await _claim(conn, room)
                    await self._heads.drop_old(conn, [room])
                    yield conn, room
                    await release_rooms(conn)
                except BaseException:
                    # The claim goes with the connection, in whatever state that is.
                    conn.terminate()
                    raise
                self._idle.append(conn)
        finally:
            if not lock.locked():
                self._locks.pop(room_id, None)

    async def _connection(self) -> OwnConnection:
        while self._idle:
            conn = self._idle.pop()
            if not conn.is_closed():
                return conn
        return await self._database.connect()

    async def close(self) -> None:
        """Close what is kept."""
        while self._idle:
            await self._idle.pop().close()


async def _claim(conn: OwnConnection, room: RoomNid) -> None:
    for _ in range(_TRIES):
        if await claim_rooms(conn, [room], _PATIENCE):
            return
    raise TimeoutError("somebody else writes to the room all the time")
