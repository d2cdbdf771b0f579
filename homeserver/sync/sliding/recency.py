"""When something last happened in rooms: the order of lists.

https://github.com/matrix-org/matrix-spec-proposals/pull/4186, "Activity ordering"
"""

from collections.abc import Collection, Sequence

from homeserver.storage import sliding
from homeserver.storage.batch import Membership
from homeserver.storage.log import Entry, Kind
from homeserver.storage.memberships import RoomOf
from homeserver.storage.numbers import RoomNid
from homeserver.storage.process import Process
from homeserver.sync.activity import Activity

_MOVING = frozenset({Kind.EVENT, Kind.STATE})
_MOST = 500_000
"""Rooms that are remembered, at some 100 bytes each."""


class Recency:
    """Knows where something last happened in rooms; follows the log."""

    def __init__(self, process: Process, activity: Activity) -> None:
        self._process = process
        self._activity = activity
        self._last: dict[RoomNid, int] = {}
        self._heard: dict[RoomNid, int] = {}
        """What happened since this began, also in rooms that are just being read."""
        activity.feed(self._apply)

    async def sorted(self, rooms: Sequence[RoomOf]) -> list[RoomOf]:
        """The rooms, the latest first; one that the user is not in counts from their membership."""
        places = await self._places(rooms)
        return sorted(rooms, key=lambda room: (places[room.room], room.room), reverse=True)

    async def changed(self, rooms: Sequence[RoomOf], after: int) -> set[RoomNid]:
        """Those of the rooms in which something happened after a position.

        No query but for what happened before this process began.
        """
        suspects = set(self._activity.changed([room.room for room in rooms], after))
        if not suspects:
            return suspects
        places = await self._places([room for room in rooms if room.room in suspects])
        return {room for room, place in places.items() if place > after}

    async def _places(self, rooms: Sequence[RoomOf]) -> dict[RoomNid, int]:
        """The position that counts of each room."""
        found: dict[RoomNid, int] = {}
        missing: list[RoomNid] = []
        last = self._last
        # Before anybody else has their turn: then this is not older than what the caller knows.
        for room in rooms:
            nid = room.room
            if room.membership is not Membership.JOIN:
                found[nid] = room.pos
            elif nid in last:
                found[nid] = last[nid]
            else:
                missing.append(nid)
        return found | await self._learn(missing) if missing else found

    async def _learn(self, rooms: Collection[RoomNid]) -> dict[RoomNid, int]:
        async with self._process.database.reader() as conn:
            last = await sliding.last_moves(conn, rooms)
        # What the log told meanwhile is later.
        found = {room: max(last.get(room, 0), self._heard.get(room, 0)) for room in rooms}
        if len(self._last) + len(self._heard) > _MOST:
            self._last.clear()
            self._heard.clear()
        self._last |= found
        return found

    def _apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.kind in _MOVING and entry.room is not None:
                self._heard[entry.room] = entry.pos
                if entry.room in self._last:
                    self._last[entry.room] = entry.pos
