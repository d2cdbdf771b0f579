"""How far somebody may look into a room.

Who is in it sees it as it is; who was in it, as it was when they left; a room that is open to the
world, everybody. Which of its events they may see is `visibility`'s question.

https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility
"""

from typing import NamedTuple

from federation.identifiers import RoomID
from homeserver.errors import Forbidden
from homeserver.rooms.standings import Reader, Standing, Standings
from homeserver.storage.numbers import Numbers, RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.stream_tokens import ORDER_BITS


class Reach(NamedTuple):
    """What of a room a reader may look at."""

    room: RoomNid
    standing: Standing
    departed: int | None
    """Position of the event with which they left, and after which nothing is theirs to see."""

    @property
    def until(self) -> int | None:
        """The room order of the last event that they may see; `None`: no end."""
        return None if self.departed is None else self.departed << ORDER_BITS


class Access:
    """Says who may look into which room."""

    def __init__(self, numbers: Numbers, standings: Standings) -> None:
        self._numbers = numbers
        self._standings = standings

    async def reach(self, conn: Connection, reader: Reader, room_id: RoomID) -> Reach:
        """How far the reader may look.

        Raises:
            Forbidden: not at all; or there is no such room.

        """
        standing = await self._standing(conn, reader, room_id)
        if standing.is_joined or await self._standings.open_to_all(conn, [standing]):
            return Reach(standing.room, standing, None)
        departures = await self._standings.departures(conn, reader, [standing])
        if standing.room not in departures:
            raise Forbidden("you are not in this room")
        return Reach(standing.room, standing, departures[standing.room])

    async def joined(self, conn: Connection, reader: Reader, room_id: RoomID) -> Standing:
        """The standing of a reader who is in the room now, or raise `Forbidden`."""
        standing = await self._standing(conn, reader, room_id)
        if not standing.is_joined:
            raise Forbidden("you are not in this room")
        return standing

    async def _standing(self, conn: Connection, reader: Reader, room_id: RoomID) -> Standing:
        room = (await self._numbers.rooms.find(conn, [room_id])).get(room_id)
        if room is None:
            raise Forbidden("you are not in this room")
        return (await self._standings.read(conn, reader, [room]))[room]
