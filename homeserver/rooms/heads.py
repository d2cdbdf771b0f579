"""Room heads: what judging the next event needs to know, kept in memory while a room is warm.

A head is a value of one moment, named by the number in `rooms.head`. It knows the extremities, the
state group, and those entries of the current state that somebody asked for; never the whole list
of members.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from federation.events import Event, StateKey
from federation.identifiers import RoomID
from federation.room_versions import ROOM_VERSIONS, RoomVersion
from homeserver.storage.events import RoomState, get_events, get_head_numbers, get_rooms
from homeserver.storage.numbers import Numbers, RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid, KeyNid, StateGroup
from homeserver.storage.states import States


@dataclass(frozen=True, slots=True)
class Tip:
    """An event with its number."""

    nid: EventNid
    event: Event


Known = dict[StateKey, Tip | None]
"""Entries of a state; `None` where there is known to be none."""


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A room at one moment."""

    room: RoomNid
    room_id: RoomID
    number: int
    """Counts the batches that changed the room."""
    version: RoomVersion | None
    """`None` before the room is created."""
    group: StateGroup | None
    tips: tuple[Tip, ...]
    """The forward extremities."""
    known: Known
    """Grows as it is asked; never changes what it has said."""
    partial: EventNid | None = None
    """The join that brought us in, as long as not all of the members are known."""
    lifetime: int | None = None
    """How long messages are kept, as the state asks for it, in milliseconds."""


class Heads:
    """The heads of the rooms used lately.

    Args:
        numbers: for state keys.
        states: for state groups.
        budget: bytes that the heads may take, about; those not used for longest go first.

    """

    def __init__(self, numbers: Numbers, states: States, budget: int = 64 * 1024 * 1024) -> None:
        self._numbers = numbers
        self._states = states
        self._budget = budget
        self._heads: OrderedDict[RoomNid, Head] = OrderedDict()
        self._weights: dict[RoomNid, tuple[int, int]] = {}
        """And how many entries were known when it was weighed."""
        self._used = 0

    def put(self, head: Head) -> None:
        """Keep what the room has become."""
        weight, counted = self._weigh(head)
        if weight > self._budget // _LARGEST_SHARE:
            head = replace(head, known={})
            weight, counted = _weight(head), 0
        self._heads[head.room] = head
        self._heads.move_to_end(head.room)
        self._used += weight - self._weights.get(head.room, _UNKNOWN)[0]
        self._weights[head.room] = weight, counted
        while self._used > self._budget and len(self._heads) > 1:
            self.drop(next(iter(self._heads)))

    def drop(self, room: RoomNid) -> None:
        """Forget a head, say because it turned out to be of the past."""
        if self._heads.pop(room, None):
            self._used -= self._weights.pop(room)[0]

    def _weigh(self, head: Head) -> tuple[int, int]:
        """The weight, and how many entries it counts; not anew for every few of very many."""
        weight, counted = self._weights.get(head.room, _UNKNOWN)
        if weight and 0 <= len(head.known) - counted <= counted // _SLACK:
            return weight, counted
        return _weight(head), len(head.known)

    async def drop_old(self, conn: Connection, rooms: Iterable[RoomNid]) -> set[RoomNid]:
        """Forget those of the rooms' heads that are of the past; answer which."""
        numbers = await get_head_numbers(conn, rooms)
        kept = {room: head for room in numbers if (head := self._heads.get(room))}
        old = {room for room, head in kept.items() if head.number != numbers[room]}
        for room in old:
            self.drop(room)
        return old

    def see(self, room: RoomNid, number: int, absent: Iterable[StateKey] = ()) -> None:
        """The room's head has this number now, and these entries are not in its state."""
        head = self._heads.get(room)
        if head is not None and head.number != number:
            self.drop(room)
        elif head is not None and head.partial is None:
            head.known.update(dict.fromkeys(absent))

    async def get(
        self, conn: Connection, wanted: Mapping[RoomNid, Iterable[StateKey]]
    ) -> dict[RoomNid, Head]:
        """The heads of these rooms, knowing at least these entries of their states."""
        kept = {room: self._heads[room] for room in wanted if room in self._heads}
        missing = [room for room in wanted if room not in kept]
        if missing:
            kept |= await self._load(conn, missing)
        heads = {room: kept[room] for room in wanted}
        await self._learn(conn, {heads[room]: set(keys) for room, keys in wanted.items()})
        for head in heads.values():
            self.put(head)
        return heads

    async def _load(self, conn: Connection, rooms: list[RoomNid]) -> dict[RoomNid, Head]:
        rows = await get_rooms(conn, rooms)
        groups = await self._states.load(conn, {r.group for r in rows.values() if r.group})
        events = await get_events(conn, {e for r in rows.values() for e in r.extremities})
        return {
            nid: _head(row, groups.get(row.group) if row.group else None, events)
            for nid, row in rows.items()
        }

    async def _learn(self, conn: Connection, wanted: Mapping[Head, set[StateKey]]) -> None:
        """Look up what the heads do not know yet: two queries, for any number of rooms."""
        asked = {head: keys - head.known.keys() for head, keys in wanted.items()}
        every = {key for keys in asked.values() for key in keys}
        if not every:
            return
        nids = await self._numbers.state_keys.find(conn, every)
        found = {
            (head, key): nid
            for head, keys in asked.items()
            for key in keys
            if (nid := _find(head.group, nids.get(key)))
        }
        events = await get_events(conn, set(found.values()))
        for head, keys in asked.items():
            for key in keys:
                event = found.get((head, key))
                head.known[key] = Tip(event, events[event]) if event else None


_LARGEST_SHARE = 16
"""A head that would take more of the budget than this part of it forgets what it knew."""


_SLACK = 16
"""What part of the entries of a head may be more than were weighed."""
_UNKNOWN = (0, 0)


def _weight(head: Head) -> int:
    """About the bytes that a head takes: an event takes its JSON twice, as bytes and as objects."""
    tips = [*head.tips, *(tip for tip in head.known.values() if tip)]
    return 1000 + 100 * len(head.known) + sum(500 + 2 * len(tip.event.json) for tip in tips)


def _find(group: StateGroup | None, key: KeyNid | None) -> EventNid | None:
    return group.find(key) if group and key else None


def _head(row: RoomState, group: StateGroup | None, events: Mapping[EventNid, Event]) -> Head:
    return Head(
        row.room,
        row.room_id,
        row.head,
        ROOM_VERSIONS[row.version] if row.version else None,
        group,
        tuple(Tip(nid, events[nid]) for nid in row.extremities),
        {},
        row.partial,
        row.lifetime,
    )
