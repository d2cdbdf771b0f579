"""Rooms that nobody else writes to for a while.

Whoever has to read, judge and only then write claims the room first: see ADR 2.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from federation.identifiers import RoomID
from homeserver.logs import get_logger
from homeserver.rooms.heads import Heads
from homeserver.storage.events import claim_rooms, release_rooms
from homeserver.storage.numbers import Numbers, RoomNid
from homeserver.storage.pool import Database, DatabaseAwayError, OwnConnection, passes

_T = TypeVar("_T")

log = get_logger(__name__)

_PATIENCE = 250
"""Milliseconds after which is looked whether who has a room stands still."""
_TRIES = 60
_TIMES = 3
"""How often something is done whose claim is lost each time."""
_AT_ONCE = 6
"""Rooms that a process claims at the same time, each on a connection that is kept."""
_SLOW_AT_ONCE = 3
"""Of these, rooms at which it took long lately: others have the rest."""
_LONG = 1.0
"""Seconds that take long."""
_LATELY = 60.0
"""Seconds for which it is remembered that something took long."""


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
        self._slow_slots = asyncio.Semaphore(_SLOW_AT_ONCE)
        self._slow: dict[RoomID, float] = {}
        """Rooms at which it took long, until when that is remembered."""

    async def doing(
        self, room_id: RoomID, work: Callable[[OwnConnection, RoomNid], Awaitable[_T]]
    ) -> _T:
        """Do something while nobody else writes to the room, whose head is known as it is now.

        It is done again if the session with the claim was ended meanwhile, as that of a process is
        that stands still for a while: so it has to be something that may be done twice.

        Raises:
            TimeoutError: somebody else had it all the time.

        """
        for _ in range(_TIMES - 1):
            try:
                async with self._claimed(room_id) as (conn, room):
                    return await work(conn, room)
            except Exception as error:
                if not passes(error) or isinstance(error, DatabaseAwayError):
                    raise
                log.info("a claim was lost: it is done again", room=room_id, reason=str(error))
        async with self._claimed(room_id) as (conn, room):
            return await work(conn, room)

    @asynccontextmanager
    async def _claimed(self, room_id: RoomID) -> AsyncIterator[tuple[OwnConnection, RoomNid]]:
        lock = self._locks.setdefault(room_id, asyncio.Lock())
        try:
            async with lock, self._lane(room_id), self._slots:
                conn = await self._connection()
                began = asyncio.get_running_loop().time()
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
                finally:
                    self._note_time(room_id, began)
                self._idle.append(conn)
        finally:
            if not lock.locked():
                self._locks.pop(room_id, None)

    @asynccontextmanager
    async def _lane(self, room_id: RoomID) -> AsyncIterator[None]:
        """Wait among the slow rooms if this is one: states of thousands of forks take long."""
        if self._slow.get(room_id, 0.0) < asyncio.get_running_loop().time():
            yield
            return
        async with self._slow_slots:
            yield

    def _note_time(self, room_id: RoomID, began: float) -> None:
        now = asyncio.get_running_loop().time()
        if now - began > _LONG:
            self._slow = {room: until for room, until in self._slow.items() if until > now}
            self._slow[room_id] = now + _LATELY

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
