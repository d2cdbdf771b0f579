"""Which events of rooms that somebody is in they see, mostly without asking the database.

https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from federation.identifiers import ServerName, domain_of
from homeserver.rooms.standings import Reader, Standing, Standings
from homeserver.rooms.visibility import Visibility
from homeserver.storage.history import Placed
from homeserver.storage.memberships import RoomOf
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid


class Seen(NamedTuple):
    """What somebody sees."""

    events: frozenset[EventNid]
    standings: dict[RoomNid, Standing]
    """What the rooms are to them."""


class Seeing:
    """Tells what readers see.

    Args:
        server: this one.
        standings: of readers.
        visibility: says who may see what.

    """

    def __init__(self, server: ServerName, standings: Standings, visibility: Visibility) -> None:
        self._server = server
        self._standings = standings
        self._visibility = visibility

    async def seen(
        self, conn: Connection, reader: Reader, rooms: Sequence[RoomOf], events: Sequence[Placed]
    ) -> Seen:
        """Those of the events in the rooms that the reader, who is in all of them, may see."""
        standings = _joined(rooms)
        if not self._all_sure(events, standings):
            standings = await self._standings.read(conn, reader, [room.room for room in rooms])
        visible = await self._visibility.visible(conn, reader, events, standings)
        return Seen(frozenset(event.nid for event in visible), standings)

    def _all_sure(self, events: Iterable[Placed], standings: Mapping[RoomNid, Standing]) -> bool:
        """Whether all was sent here while the reader was in the room: they were meant to see it."""
        return all(
            domain_of(event.event.sender) == self._server
            and standings[event.room].joined_before(event)
            for event in events
        )


def _joined(rooms: Iterable[RoomOf]) -> dict[RoomNid, Standing]:
    return {of.room: Standing(of.room, of.membership, of.pos, None) for of in rooms}
