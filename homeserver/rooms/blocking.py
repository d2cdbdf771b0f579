"""Rooms that administrators keep the people of this server out of."""

from federation.identifiers import RoomID
from homeserver.errors import Forbidden
from homeserver.storage import blocked_rooms
from homeserver.storage.numbers import UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process


class Blocking:
    """Blocks rooms. Whoever is in one stays there, and nobody else comes in.

    Args:
        process: the one that this is part of.

    """

    def __init__(self, process: Process) -> None:
        self._process = process

    async def check(self, conn: Connection, room_id: RoomID) -> None:
        """Raise `Forbidden` if the room is blocked."""
        self.check_door(is_blocked=await blocked_rooms.blocked_by(conn, room_id) is not None)

    def check_door(self, *, is_blocked: bool) -> None:
        """The same, for who knows already."""
        if is_blocked:
            raise Forbidden("the administrators of this server have blocked this room")

    async def blocked_by(self, room_id: RoomID) -> str | None:
        """Who blocked the room; `None`: nobody did."""
        async with self._process.database.reader() as conn:
            return await blocked_rooms.blocked_by(conn, room_id)

    async def set(self, room_id: RoomID, user: UserNid, *, blocked: bool) -> None:
        """Block a room, known here or not, or let people in again."""
        async with self._process.database.reader() as conn:
            room = (await self._process.numbers.rooms.intern(conn, [room_id]))[room_id]
            if blocked:
                await blocked_rooms.block(conn, room, user)
            else:
                await blocked_rooms.unblock(conn, room)
