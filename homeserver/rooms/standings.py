"""Who reads, and what the rooms are to them.

https://spec.matrix.org/v1.19/client-server-api/#room-membership
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from federation.events import StateKey
from federation.history_visibility import HistoryVisibility, read_visibility
from federation.identifiers import UserID
from homeserver.rooms.invite_rules import OPEN, InviteRules
from homeserver.rooms.moments import Moments
from homeserver.storage import history, standings
from homeserver.storage.batch import Membership
from homeserver.storage.history import Placed
from homeserver.storage.numbers import Numbers, RoomNid, UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process
from homeserver.storage.recent_events import RecentEvent
from homeserver.storage.standings import Change
from homeserver.storage.state_groups import EventNid
from homeserver.storage.stream_tokens import ORDER_BITS
from homeserver.storage.tail import RecentLog

VISIBILITY: StateKey = ("m.room.history_visibility", "")
_REMEMBERED = 20_000

_OPEN = frozenset({HistoryVisibility.SHARED, HistoryVisibility.WORLD_READABLE})


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody of this server who is shown events."""

    user: UserNid
    user_id: UserID
    device: int | None = None
    """The device's number; `None`: none that sends."""
    ignores: frozenset[str] = frozenset()
    """Users whose messages the reader does not want to see."""
    invitations: InviteRules = OPEN
    """Whose invitations they want to see."""


class Standing(NamedTuple):
    """What one room is to one reader now."""

    room: RoomNid
    membership: Membership | None
    """`None`: the reader never had anything to do with it, or has forgotten it."""
    pos: int
    """Where in the log the membership became so, or was confirmed last."""
    visibility: EventNid | None
    """The event that says who may see the history."""

    @property
    def is_joined(self) -> bool:
        """Whether the reader is in the room."""
        return self.membership is Membership.JOIN

    def joined_before(self, event: Placed) -> bool:
        """Whether the reader was in the room when an event came in, and is since."""
        after = event.order is not None and event.order > self.pos << ORDER_BITS
        return after and self.is_joined


class VisibilityRule(NamedTuple):
    """What an `m.room.history_visibility` event said."""

    visibility: HistoryVisibility
    since: int | None
    """Its place; the room's rule was the same ever since, while it is current."""
    is_first: bool
    """Whether the room had none before."""

    def is_open_at(self, event: Placed) -> bool:
        """Whether whoever is joined may see the event, while this is the room's current rule."""
        # "if no history_visibility is set [...] the visibility is assumed to be shared"
        if self.visibility not in _OPEN or self.since is None or event.order is None:
            return False
        return self.is_first or event.order > self.since


NO_RULE = VisibilityRule(HistoryVisibility.SHARED, history.EARLIEST, is_first=True)
"""What holds in a room that has no such event."""


class Standings:
    """Reads standings; what does not change it keeps in mind.

    Args:
        numbers: of names.
        moments: of events.
        log: tells what happened since something was read.

    """

    def __init__(self, numbers: Numbers, moments: Moments, log: RecentLog) -> None:
        self._numbers = numbers
        self._moments = moments
        self._log = log
        self._kept: OrderedDict[tuple[UserNid, RoomNid], tuple[Standing, int]] = OrderedDict()
        """And the position up to which nothing changed it."""
        self._rules: OrderedDict[EventNid, VisibilityRule] = OrderedDict()

    async def read(
        self, conn: Connection, reader: Reader, rooms: Iterable[RoomNid]
    ) -> dict[RoomNid, Standing]:
        """The reader's standing in each of the rooms: one query, or none."""
        await self._log.catch_up()
        recalled = {room: self._recall(reader, room) for room in rooms}
        found = {room: standing for room, standing in recalled.items() if standing is not None}
        missing = [room for room in recalled if room not in found]
        if missing:
            reached = self._log.reached
            keys = await self._numbers.state_keys.find(conn, [VISIBILITY])
            rows = await standings.read(conn, missing, reader.user, keys.get(VISIBILITY))
            for room, row in rows.items():
                found[room] = Standing(*row)
                self._keep(reader, found[room], reached)
        return found

    def _recall(self, reader: Reader, room: RoomNid) -> Standing | None:
        """What was read before, if nothing has happened that could have changed it."""
        standing, known = self._kept.get((reader.user, room), (None, 0))
        if standing is None:
            return None
        if not self._log.is_quiet(room, reader.user, known):
            recent = self._log.events(room, known, self._log.reached)
            if recent is None or self._log.moved(reader.user, known) or _changes_rule(recent):
                return None
        self._keep(reader, standing, self._log.reached)
        return standing

    def _keep(self, reader: Reader, standing: Standing, reached: int) -> None:
        self._kept[reader.user, standing.room] = standing, reached
        self._kept.move_to_end((reader.user, standing.room))
        if len(self._kept) > _REMEMBERED:
            self._kept.popitem(last=False)

    async def rules(
        self, conn: Connection, found: Iterable[Standing]
    ) -> dict[RoomNid, VisibilityRule]:
        """What is said about each room's history now."""
        named = {standing.room: standing.visibility for standing in found}
        missing = {nid for nid in named.values() if nid and nid not in self._rules}
        if missing:
            await self._learn(conn, missing)
        return {room: self._rules[nid] if nid else NO_RULE for room, nid in named.items()}

    async def _learn(self, conn: Connection, nids: Iterable[EventNid]) -> None:
        events = await history.by_nid(conn, nids)
        before = await self._moments.entries(conn, [VISIBILITY], events.values())
        for nid in nids:
            event = events.get(nid)
            # Of an entry that came with a remote room's state it is not known how long it stood.
            self._rules[nid] = (
                VisibilityRule(
                    read_visibility(event.event.content), event.order, before.get(nid) == (None,)
                )
                if event
                else VisibilityRule(HistoryVisibility.JOINED, None, is_first=False)
            )
        while len(self._rules) > _REMEMBERED:
            self._rules.popitem(last=False)

    async def are_acquainted(self, process: Process, one: UserNid, other: UserID) -> bool:
        """Whether somebody shares a room with somebody, who may be themselves."""
        async with process.database.reader() as conn:
            users = await self._numbers.users.find(conn, [other])
            known = users.get(other)
            return known is not None and (
                known == one or await standings.share_a_room(conn, one, known)
            )

    async def changes(
        self, conn: Connection, reader: Reader, rooms: Iterable[RoomNid]
    ) -> Mapping[RoomNid, list[Change]]:
        """How the reader came and went in each of the rooms, the latest first: one query."""
        member = ("m.room.member", reader.user_id)
        keys = await self._numbers.state_keys.find(conn, [member])
        if member not in keys:
            return {}
        return await standings.read_changes(conn, rooms, keys[member])

    async def open_to_all(self, conn: Connection, found: Collection[Standing]) -> set[RoomNid]:
        """Those of the rooms that everybody may look into now."""
        rules = await self.rules(conn, found)
        return {
            room
            for room, rule in rules.items()
            if rule.visibility is HistoryVisibility.WORLD_READABLE
        }

    async def departures(
        self, conn: Connection, reader: Reader, found: Iterable[Standing]
    ) -> dict[RoomNid, int]:
        """Where the reader left rooms of which nothing later is theirs to see: positions.

        Not of rooms that they are in, of which nothing is asked, nor of those open to everybody.
        """
        away = [one for one in found if one.membership is not None and not one.is_joined]
        closed = {one.room for one in away} - await self.open_to_all(conn, away) if away else ()
        changes = await self.changes(conn, reader, closed) if closed else {}
        left = {room: departure(of_room) for room, of_room in changes.items()}
        by_event = {room: change.pos for room, change in left.items() if change is not None}
        return by_event | {one.room: one.pos for one in away if _is_put_out(one, changes)}


def _is_put_out(standing: Standing, changes: Mapping[RoomNid, Sequence[Change]]) -> bool:
    """Whether the resolution of states put somebody out: no event says more than they came in."""
    last = next(iter(changes.get(standing.room, ())), None)
    is_out = standing.membership is Membership.LEAVE
    return is_out and last is not None and last.event.membership == "join"


def departure(changes: Sequence[Change]) -> Change | None:
    """How somebody last left a room, by the changes of their membership, the latest first.

    `None`: they were never in it, or are.
    """
    left = None
    for change in changes:
        if change.event.membership == "join":
            return left
        left = change
    return None


def _changes_rule(recent: Iterable[RecentEvent]) -> bool:
    """Whether any of the events says who may see the history."""
    return any((one.placed.event.type, one.placed.event.state_key) == VISIBILITY for one in recent)
