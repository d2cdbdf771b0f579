"""The rooms that two people are both in.

https://spec.matrix.org/v1.19/client-server-api/#mutual-rooms
"""

import re
from typing import NamedTuple

from federation.identifiers import RoomID, UserID
from homeserver.errors import InvalidParam
from homeserver.rooms.standings import Reader
from homeserver.storage import memberships
from homeserver.storage.numbers import RoomNid
from homeserver.storage.process import Process

MOST = 500
"""Rooms of one batch."""

_TOKEN = re.compile(r"m(\d{1,18})", re.ASCII)
_COMPLIANT = re.compile(r"@[!-9;-~]+:.+", re.ASCII)


class Batch(NamedTuple):
    """Some of the rooms."""

    rooms: list[RoomID]
    total: int
    """Of all of them."""
    next_batch: str | None


class MutualRooms:
    """Finds them."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def find(
        self, reader: Reader, other: UserID, token: str | None, most: int = MOST
    ) -> Batch:
        """The rooms that the reader and the other are joined to, those known here longest first.

        Raises:
            InvalidParam: they are one and the same, or a user ID or token is none.

        """
        if other == reader.user_id:
            raise InvalidParam("you share all of your rooms with yourself")
        # https://spec.matrix.org/v1.19/appendices/#historical-user-ids
        if not _COMPLIANT.fullmatch(other):
            raise InvalidParam("user_id is not of today's grammar")
        after = _read(token)
        async with self._process.database.reader() as conn:
            nid = (await self._process.numbers.users.find(conn, [other])).get(other)
            if nid is None:
                return Batch([], 0, None)
            rooms, count = await memberships.shared_rooms(conn, reader.user, nid, after, most + 1)
        last = f"m{rooms[most - 1][0]}" if len(rooms) > most else None
        return Batch([room_id for _, room_id in rooms[:most]], count, last)


def _read(token: str | None) -> RoomNid:
    if not token:
        return RoomNid(0)
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise InvalidParam("this is not a token of this endpoint")
    return RoomNid(int(found[1]))
