"""Which events of rooms that somebody is in they see, mostly without asking the database.

https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from federation.identifiers import ServerName, domain_of
from homeserver.rooms.standings import VISIBILITY, Reader, Standing, Standings
from homeserver.rooms.visibility import Visibility
from homeserver.storage.history import Placed
from homeserver.storage.memberships import RoomOf
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid
from homeserver.storage.tail import RecentLog

_MOST_RULES = 2000


class Seen(NamedTuple):
    """What somebody sees."""

    events: frozenset[EventNid]
    standings: dict[RoomNid, Standing]
    """What the rooms are to them."""


class Rules:
    """Which event says who may see a room's history; known while all that happens there is.

    Args:
        log: what happened just now.

    """

    def __init__(self, log: RecentLog) -> None:
        self._log = log
        self._kept: OrderedDict[RoomNid, tuple[EventNid | None, int]] = OrderedDict()
        """And up to which position it is known."""

    @property
    def reached(self) -> int:
        """The position up to which anything can be known."""
        return self._log.reached

    def of(self, rooms: Iterable[RoomNid]) -> Mapping[RoomNid, EventNid | None] | None:
        """For each of the rooms; `None` unless all are known."""
        found = {}
        for room in rooms:
            if room not in self._kept:
                return None
            nid, known = self._kept[room]
            if not self._is_unchanged(room, known):
                del self._kept[room]
                return None
            self._kept[room] = nid, self._log.reached
            found[room] = nid
        return found

    def learn(self, standings: Iterable[Standing], reached: int) -> None:
        """This was read when all was known up to a position."""
        for standing in standings:
            self._kept[standing.room] = standing.visibility, reached
            self._kept.move_to_end(standing.room)
        while len(self._kept) > _MOST_RULES:
            self._kept.popitem(last=False)

    def _is_unchanged(self, room: RoomNid, after: int) -> bool:
        recent = self._log.events(room, after, self._log.reached)
        return recent is not None and not any(
            (one.placed.event.type, one.placed.event.state_key) == VISIBILITY for one in recent
        )


class Seeing:
    """Tells what readers see.

    Args:
        server: this one.
        standings: of readers.
        visibility: says who may see what.
        rules: which of a room's events says it.

    """

    def __init__(
        self, server: ServerName, standings: Standings, visibility: Visibility, rules: Rules
    ) -> None:
        self._server = server
        self._rules = rules
        self._standings = standings
        self._visibility = visibility

    async def seen(
        self, conn: Connection, reader: Reader, rooms: Sequence[RoomOf], events: Sequence[Placed]
    ) -> Seen:
        """Those of the events in the rooms that the reader, who is in all of them, may see."""
        standings = _joined(rooms)
        if not self._all_sure(events, standings):
            known = self._rules.of(standings)
            if known is not None:
                standings = {r: s._replace(visibility=known[r]) for r, s in standings.items()}
            else:
                reached = self._rules.reached
                standings = await self._standings.read(conn, reader, [room.room for room in rooms])
                self._rules.learn(standings.values(), reached)
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
