"""Deleting the past of rooms, and whole rooms.

The room goes on as it is: what the next event builds on stays, and so do its state and all that
its state rests on. What was deleted is not fetched again from other servers to show it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import orjson

from federation.identifiers import EventID, RoomID, ServerName, domain_of
from homeserver.errors import InvalidParam, MatrixError, NotFound
from homeserver.peers.sending import DUTY
from homeserver.storage import forgotten_rooms, purging
from homeserver.storage.history import LATEST
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import OwnConnection
from homeserver.storage.process import Process
from homeserver.storage.purging import Old

_AT_A_STRETCH = 500
"""Events of one transaction."""
_MOST_FORGOTTEN = 1000
"""Rooms that are deleted at a time."""
_LOOKS, _LOOK_AGAIN = 200, 0.1
"""How often it is looked whether others are told, and after how many seconds again."""

Progress = Callable[[], Awaitable[None]]
"""Called from time to time, as long as the work goes on."""


class Boundary(NamedTuple):
    """A place in a room; what stands before it is to go."""

    room: RoomNid
    order: int


async def no_progress() -> None:
    """For those whom nobody watches."""


class Purging:
    """Deletes events.

    Args:
        process: the one that this is part of.
        federates: whether other servers are told what happens in rooms.

    """

    def __init__(self, process: Process, *, federates: bool = True) -> None:
        self._process = process
        self._federates = federates

    async def before_event(self, room_id: RoomID, event_id: EventID) -> Boundary:
        """The place of an event, which stays itself.

        Raises:
            NotFound: there is no such room, or no such event in it.
            InvalidParam: what happens next would have nothing to build on.

        """
        room = await self._room(room_id)
        async with self._process.database.reader() as conn:
            order = await purging.place_of(conn, room, event_id)
            first = await purging.first_extremity(conn, room)
        if order is None:
            raise NotFound("there is no such event in this room")
        if first is None or order > first:
            raise InvalidParam("the event stands behind the end of the room")
        return Boundary(room, order)

    async def before_time(self, room_id: RoomID, ts: int) -> Boundary:
        """The place before which all events are older, in milliseconds since the epoch.

        An event that came late, or whose clock was wrong, is held back rather than one deleted too
        many. The end of the room always stays.

        Raises:
            NotFound: there is no such room.

        """
        room = await self._room(room_id)
        async with self._process.database.reader() as conn:
            order = await purging.first_place_since(conn, room, ts)
            first = await purging.first_extremity(conn, room)
        if first is None:
            raise NotFound("there is no such room here")
        return Boundary(room, first if order is None else min(order, first))

    async def purge(
        self, boundary: Boundary, *, local_too: bool, progress: Progress = no_progress
    ) -> int:
        """Delete the events before a place; how many.

        Args:
            boundary: the place.
            local_too: whether messages of people of this server go, too, of which no other server
                need have a copy; otherwise they are kept, in no place of the room.
            progress: called after each part.

        """
        server = None if local_too else self._process.server
        async with self._process.database.reader() as conn:
            await purging.forget_gaps(conn, boundary.room, boundary.order)
        return await self._purge(boundary, lambda old: _stays(old, server), progress)

    async def purge_room(
        self, room_id: RoomID, progress: Progress = no_progress, *, just_left: bool = True
    ) -> None:
        """Delete all of a room that nobody of this server is in.

        Args:
            room_id: which.
            progress: called after each part.
            just_left: whether people of this server did leave it now, as others are to be told.

        Raises:
            NotFound: there is no such room.
            MatrixError: what happened in it last is not on its way to other servers.

        """
        room = await self._room(room_id)
        if just_left and self._federates:
            await self._wait_for_telling(room)
        async with self._process.database.reader() as conn:
            await purging.close_room(conn, room)
        await self._tell(room)
        await self.finish(room, progress)

    async def purge_forgotten(self, before: int) -> int:
        """Delete rooms that all people here left and forgot before a moment; how many.

        So are those of which it was only begun. A room of which others are still to be told that
        people left it is left for another time.

        Args:
            before: milliseconds since the epoch.

        """
        async with self._process.database.reader() as conn:
            found = await forgotten_rooms.find(conn, self._process.server, before, _MOST_FORGOTTEN)
        count = 0
        for room, is_closed in found:
            if is_closed or await self._close_forgotten(room, before):
                await self.finish(room)
                count += 1
        return count

    async def make_way(self, room: RoomNid) -> None:
        """Somebody is about to join a room: what is left of an old life of it must not be mixed in.

        It is not begun to delete it from now on, and where it was, that is done first.
        """
        async with self._process.database.reader() as conn:
            await forgotten_rooms.want(conn, room, self._process.now())
            is_closing = await forgotten_rooms.is_closing(conn, room)
        if is_closing:
            await self.finish(room)

    async def finish(self, room: RoomNid, progress: Progress = no_progress) -> None:
        """Delete what is left of a closed room; any number of processes may, at any time."""
        conn = await self._process.database.connect()
        try:
            while await _finish_part(conn, room):
                await progress()
        finally:
            await conn.close()

    async def _close_forgotten(self, room: RoomNid, before: int) -> bool:
        """Begin to delete a room, unless somebody came to want it."""
        conn = await self._process.database.connect()
        try:
            async with conn.transaction():
                await forgotten_rooms.hold(conn, room)
                server = self._process.server
                if not await forgotten_rooms.find(conn, server, before, 1, room):
                    return False
                if self._federates and not await purging.others_are_told(conn, room, DUTY):
                    return False
                await purging.close_room(conn, room)
                return True
        finally:
            await conn.close()

    async def _wait_for_telling(self, room: RoomNid) -> None:
        """Nobody could be told who the others in a room are once it is gone."""
        for _ in range(_LOOKS):
            async with self._process.database.reader() as conn:
                if await purging.others_are_told(conn, room, DUTY):
                    return
            await asyncio.sleep(_LOOK_AGAIN)
        raise MatrixError("other servers could not be told yet that people left: ask again")

    async def _purge(
        self, boundary: Boundary, stays: Callable[[Old], bool], progress: Progress
    ) -> int:
        count = 0
        while True:
            async with self._process.database.reader() as conn:
                part = await purging.before(conn, *boundary, _AT_A_STRETCH)
                kept = [old.event for old in part if stays(old)]
                gone = [old.event for old in part if not stays(old)]
                await purging.purge(conn, boundary.room, gone, kept)
            await self._tell(boundary.room)
            count += len(gone)
            await progress()
            if len(part) < _AT_A_STRETCH:
                return count

    async def _tell(self, room: RoomNid) -> None:
        """What was deleted is nowhere remembered any more."""
        async with self._process.database.reader() as conn:
            self._process.committed(await purging.tell(conn, room))

    async def _room(self, room_id: RoomID) -> RoomNid:
        async with self._process.database.reader() as conn:
            found = (await self._process.numbers.rooms.find(conn, [room_id])).get(room_id)
        if found is None:
            raise NotFound("there is no such room here")
        return found


async def _finish_part(conn: OwnConnection, room: RoomNid) -> bool:
    """Delete a part of a closed room; whether there may be more."""
    async with conn.transaction():
        if not await forgotten_rooms.lock(conn, room):
            return False
        part = await purging.before(conn, room, LATEST, _AT_A_STRETCH)
        if not part:
            await purging.sweep_room(conn, room)
            return False
        # What waits to be sent is how others learn that everybody left.
        kept = [old.event for old in part if old.is_waiting]
        gone = [old.event for old in part if not old.is_waiting]
        await purging.purge(conn, room, gone, kept)
        return True


def _stays(old: Old, server: ServerName | None) -> bool:
    """Whether an event of a room that goes on is kept: for others, or as this server's own."""
    if old.is_state or old.is_waiting:
        return True
    return server is not None and domain_of(orjson.loads(old.json)["sender"]) == server
