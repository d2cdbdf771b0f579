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


class Heads:
    """The heads of the rooms used lately.

    Args:
        numbers: for state keys.
        states: for state groups.
        most: how many heads are kept.

    """

    def __init__(self, numbers: Numbers, states: States, most: int = 2000) -> None:
        self._numbers = numbers
        self._states = states
        self._most = most
        self._heads: OrderedDict[RoomNid, Head] = OrderedDict()

    def put(self, head: Head) -> None:
        """Keep what the room has become."""
        if len(head.known) > _MOST_KNOWN:
            head = replace(head, known={})
        self._heads[head.room] = head
        self._heads.move_to_end(head.room)
        if len(self._heads) > self._most:
            self._heads.popitem(last=False)

    def drop(self, room: RoomNid) -> None:
        """Forget a head that turned out to be of the past."""
        self._heads.pop(room, None)

    async def drop_old(self, conn: Connection, rooms: Iterable[RoomNid]) -> set[RoomNid]:
        """Forget those of the rooms' heads that are of the past; answer which."""
        numbers = await get_head_numbers(conn, rooms)
        kept = {room: head for room in numbers if (head := self._heads.get(room))}
        old = {room for room, head in kept.items() if head.number != numbers[room]}
        for room in old:
            self.drop(room)
        return old

    async def get(
        self, conn: Connection, wanted: Mapping[RoomNid, Iterable[StateKey]]
    ) -> dict[RoomNid, Head]:
        """The heads of these rooms, knowing at least these entries of their states."""
        missing = [room for room in wanted if room not in self._heads]
        if missing:
            await self._load(conn, missing)
        heads = {room: self._heads[room] for room in wanted}
        await self._learn(conn, {heads[room]: set(keys) for room, keys in wanted.items()})
        return heads

    async def _load(self, conn: Connection, rooms: list[RoomNid]) -> None:
        rows = await get_rooms(conn, rooms)
        groups = await self._states.load(conn, {r.group for r in rows.values() if r.group})
        events = await get_events(conn, {e for r in rows.values() for e in r.extremities})
        for row in rows.values():
            self.put(_head(row, groups.get(row.group) if row.group else None, events))

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


_MOST_KNOWN = 2000


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
    )
