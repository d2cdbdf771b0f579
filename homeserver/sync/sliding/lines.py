"""What happened in rooms that a user is in, or was, since they were sent; and what of it they see.

https://github.com/matrix-org/matrix-spec-proposals/pull/4186, "Room results"
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from homeserver.rooms.standings import Reader, Standing
from homeserver.storage import sync
from homeserver.storage.batch import Membership
from homeserver.storage.history import Placed
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid, KeyNid
from homeserver.storage.sync import Change
from homeserver.sync.joined import Means
from homeserver.sync.sliding.due import Due
from homeserver.sync.timelines import News, last_events

_LIVE = 20
"""Events of each room that are read for all who follow it, if nobody wants more."""


@dataclass(slots=True)
class Line:
    """One room while its section is put together."""

    due: Due
    until: int
    """The position up to which the user is told of it: when they left, if they did."""
    news: News
    timeline: Sequence[Placed] = ()
    limited: bool = False
    state: dict[KeyNid, EventNid] = field(default_factory=dict)
    """Entries that are told however long they stand."""
    lazy: Sequence[EventNid] = ()
    """Memberships of those who turn up in the timeline."""

    @property
    def room(self) -> RoomNid:
        """Which room."""
        return self.due.room

    @property
    def is_joined(self) -> bool:
        """Whether the user is in the room."""
        return self.due.match.room.membership is Membership.JOIN

    @property
    def is_initial(self) -> bool:
        """Whether the client knows nothing of it."""
        return self.due.sent is None

    @property
    def changes(self) -> Sequence[Change]:
        """How the state changed since it was sent, as far as the user may know."""
        sent = self.due.sent
        # Of the time between two departures only the events that one may see are told.
        return self.news.changes if sent and sent.membership is Membership.JOIN else ()


class Lines:
    """Reads them."""

    def __init__(self, means: Means) -> None:
        self._means = means

    async def read(
        self, conn: Connection, dues: Sequence[Due], after: int, up_to: int
    ) -> list[Line]:
        """What happened in rooms that the user is in, or has left: at most five queries.

        Args:
            conn: to read with.
            dues: the rooms.
            after: the position up to which live rooms were sent.
            up_to: the position up to which is read.

        """
        untils = {due.room: _until(due, up_to) for due in dues}
        live: list[Due] = []
        rest: list[Due] = []
        for due in dues:
            (live if _is_live(due, after, untils, up_to) else rest).append(due)
        limit = max([_LIVE, *(due.match.config.limit for due in live)])
        rooms = [due.room for due in live]
        found = await self._means.timelines.since(conn, rooms, after, up_to, limit) if live else {}
        if rest:
            found |= await self._rest(conn, rest, untils, up_to)
        return [Line(due, untils[due.room], found[due.room]) for due in dues]

    async def _rest(
        self, conn: Connection, dues: Sequence[Due], untils: dict[RoomNid, int], up_to: int
    ) -> dict[RoomNid, News]:
        """The news of rooms since a position of each one's own."""
        new = [due for due in dues if _is_whole(due, untils, up_to)]
        limits = {due.room: due.match.config.limit for due in dues}
        memory = self._means.memory
        found = await memory.last_events(conn, {due.room: limits[due.room] for due in new}, up_to)
        spans = {
            due.room: (None if due.is_expanded else due.base, untils[due.room])
            for due in dues
            if due.room not in found
        }
        if spans:
            found |= await last_events(conn, spans, limits, self._means.process.server)
        known = {due.room: due.base for due in dues if due.base is not None}
        if not known:
            return found
        changes = await sync.changes(conn, known, max(untils[room] for room in known))
        for room, changed in changes.items():
            told = [change for change in changed if change.pos <= untils[room]]
            found[room] = found[room]._replace(changes=told)
        return found

    async def see(
        self, conn: Connection, reader: Reader, lines: Sequence[Line]
    ) -> dict[RoomNid, Standing]:
        """Fill the timelines with what the reader may see; what the rooms are to them."""
        joined = [line for line in lines if line.is_joined]
        events = [event for line in joined for event in line.news.events]
        rooms = [line.due.match.room for line in joined]
        visible, standings = await self._means.seeing.seen(conn, reader, rooms, events)
        gone = [line for line in lines if not line.is_joined]
        if gone:
            standings |= await self._means.standings.read(conn, reader, [ln.room for ln in gone])
            past = [event for line in gone for event in line.news.events]
            seen = await self._means.visibility.visible(conn, reader, past, standings)
            visible |= {event.nid for event in seen}
        for line in lines:
            wanted = [event for event in line.news.events if event.nid in visible]
            limit = line.due.match.config.limit
            line.timeline = wanted[max(0, len(wanted) - limit) :]
            line.limited = line.news.has_more or len(wanted) > limit
        return standings


def _until(due: Due, up_to: int) -> int:
    room = due.match.room
    return up_to if room.membership is Membership.JOIN else min(room.pos, up_to)


def _is_whole(due: Due, untils: dict[RoomNid, int], up_to: int) -> bool:
    """Whether the last events that there are now are told, whatever was told before."""
    return (due.base is None or due.is_expanded) and untils[due.room] == up_to


def _is_live(due: Due, after: int, untils: dict[RoomNid, int], up_to: int) -> bool:
    """Whether it is told what all are told who follow the room."""
    return due.base == after and not due.is_expanded and untils[due.room] == up_to
