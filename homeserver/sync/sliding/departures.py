"""How people left rooms: what becomes of a room in lists, and how much of it is shown.

https://github.com/matrix-org/matrix-spec-proposals/pull/4186, "Lists"
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from homeserver.rooms.standings import Reader, Standings
from homeserver.storage import history
from homeserver.storage.memberships import RoomOf
from homeserver.storage.numbers import RoomNid
from homeserver.storage.process import Process
from homeserver.storage.state_groups import EventNid
from homeserver.sync.departing import before_invitations

_MOST = 100_000


class Departure(NamedTuple):
    """How somebody came to be out of a room."""

    is_forced: bool
    """Whether they were kicked or banned."""
    was_joined: bool
    """Whether they were in the room until then."""


class Departures:
    """Reads them; what never changes stays in memory."""

    def __init__(self, process: Process, standings: Standings) -> None:
        self._process = process
        self._standings = standings
        self._known: dict[EventNid, Departure] = {}

    async def of(self, user_id: str, rooms: Sequence[RoomOf]) -> Mapping[RoomNid, Departure]:
        """How the user left those of the rooms that they left."""
        found = {room.event: self._known.get(room.event) for room in rooms}
        missing = [event for event, departure in found.items() if departure is None]
        learnt = await self._learn(user_id, missing) if missing else {}
        known = {event: departure for event, departure in found.items() if departure} | learnt
        return {room.room: known[room.event] for room in rooms}

    async def before_invitations(self, reader: Reader, rooms: Sequence[RoomOf]) -> Sequence[RoomOf]:
        """See `departing.before_invitations`."""
        if not rooms:
            return ()
        async with self._process.database.reader() as conn:
            return await before_invitations(conn, self._standings, reader, rooms)

    async def _learn(self, user_id: str, missing: Sequence[EventNid]) -> dict[EventNid, Departure]:
        async with self._process.database.reader() as conn:
            events = await history.by_nid(conn, missing)
            replaced = {e.replaces for e in events.values() if e.replaces is not None}
            before = await history.by_nid(conn, replaced) if replaced else {}
        learnt = {}
        for nid in missing:
            event = events.get(nid)
            old = before.get(event.replaces) if event and event.replaces else None
            learnt[nid] = Departure(
                is_forced=event is not None and event.event.sender != user_id,
                was_joined=old is not None and old.event.membership == "join",
            )
        if len(self._known) > _MOST:
            self._known.clear()
        self._known |= learnt
        return learnt
