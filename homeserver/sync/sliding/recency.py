"""When something last happened in rooms: the order of lists.

https://github.com/matrix-org/matrix-spec-proposals/pull/4186, "Activity ordering"
"""

from collections.abc import Sequence

from homeserver.storage import sliding
from homeserver.storage.batch import Membership
from homeserver.storage.log import Entry, Kind
from homeserver.storage.memberships import RoomOf
from homeserver.storage.numbers import RoomNid
from homeserver.storage.process import Process
from homeserver.sync.activity import Activity

_MOST = 500_000
"""Rooms that are remembered, at some 100 bytes each."""


class Recency:
    """Knows the position of the last event of rooms; follows the log."""

    def __init__(self, process: Process, activity: Activity) -> None:
        self._process = process
        self._last: dict[RoomNid, int] = {}
        self._heard: dict[RoomNid, int] = {}
        """What happened since this began, also of rooms that are just being read."""
        activity.feed(self._apply)

    async def sorted(self, rooms: Sequence[RoomOf]) -> list[RoomOf]:
        """The rooms, the latest first; one that the user is not in counts from their membership."""
        joined = [room.room for room in rooms if room.membership is Membership.JOIN]
        missing = [room for room in joined if room not in self._last]
        if missing:
            await self._learn(missing)
        return sorted(rooms, key=self._place, reverse=True)

    def _place(self, room: RoomOf) -> tuple[int, int]:
        is_joined = room.membership is Membership.JOIN
        if not is_joined:
            return room.pos, room.room
        return max(self._last.get(room.room, 0), self._heard.get(room.room, 0)), room.room

    async def _learn(self, rooms: Sequence[RoomNid]) -> None:
        async with self._process.database.reader() as conn:
            found = await sliding.last_moves(conn, rooms)
        if len(self._last) + len(self._heard) > _MOST:
            self._last.clear()
            self._heard.clear()
        self._last |= {room: found.get(room, 0) for room in rooms}

    def _apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.kind == Kind.EVENT and entry.room is not None:
                self._heard[entry.room] = entry.pos
