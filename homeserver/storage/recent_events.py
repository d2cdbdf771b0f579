"""The newest events that this process wrote itself, as they would be read from the database.

Whoever waits for them in the same process is shown them from here, without a query. Only events
that nobody can have heard of before are kept: nothing relates to them yet, and no redaction waits
for them. As soon as anything happens in a room that this process did not write, or that empties
events, all that is kept of the room is forgotten.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

from federation.events import Event
from homeserver.storage.batch import Batch, Fate
from homeserver.storage.history import Placed
from homeserver.storage.numbers import RoomNid
from homeserver.storage.state_groups import EventNid, KeyNid
from homeserver.storage.stream_tokens import ORDER_BITS
from homeserver.storage.sync import Change
from homeserver.storage.unread import MAIN, Notable

_GOOD_FOR = 15.0
"""Seconds."""
_MOST_BYTES = 16_000_000
"""Of the events' JSON; what was read from it takes some three times as much."""


class RecentEvent(NamedTuple):
    """An event with all that came with it."""

    placed: Placed
    changes: tuple[Change, ...] = ()
    """Of the current state."""
    notable: Notable | None = None
    """What it is to unread counts."""


class RecentEvents:
    """Keeps them for a moment.

    Args:
        now: seconds, of a clock that never goes back.

    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._kept: OrderedDict[EventNid, tuple[float, RecentEvent]] = OrderedDict()
        self._rooms: dict[RoomNid, set[EventNid]] = {}
        self._bytes = 0

    def get(self, event: EventNid) -> RecentEvent | None:
        """An event, if it is kept."""
        until, found = self._kept.get(event, (0.0, None))
        return found if until > self._now() else None

    def wrote(
        self,
        batch: Batch,
        positions: Mapping[EventNid, int],
        events: Mapping[EventNid, Event],
        lifetimes: Mapping[RoomNid, int | None],
    ) -> None:
        """A batch of new events was written.

        Args:
            batch: what was to be written.
            positions: of the events that were.
            events: all of the batch.
            lifetimes: of messages, as each room asks for them from now on.

        """
        # What is kept says how long messages live, too.
        emptied = {row.room for row in batch.redacted} | {row.room for row in batch.clearings}
        emptied |= {row.room for row in batch.lifetimes}
        for room in emptied:
            self.forget(room)
        for relation in batch.relations:
            self._relate(relation.parent)
        until = self._now() + _GOOD_FOR
        for one in _recent(batch, positions, events, lifetimes):
            if one.placed.room not in emptied:
                self._keep(until, one)
        self._shrink()

    def forget(self, room: RoomNid) -> None:
        """Something happened in the room, or to its events, that is not known here."""
        for event in self._rooms.pop(room, ()):
            self._bytes -= len(self._kept.pop(event)[1].placed.event.json)

    def _relate(self, parent: EventNid) -> None:
        """Something is related to an event from now on."""
        if parent in self._kept:
            until, one = self._kept[parent]
            placed = one.placed._replace(is_parent=one.placed.key is None)
            self._kept[parent] = until, one._replace(placed=placed)

    def _keep(self, until: float, one: RecentEvent) -> None:
        self._kept[one.placed.nid] = until, one
        self._rooms.setdefault(one.placed.room, set()).add(one.placed.nid)
        self._bytes += len(one.placed.event.json)

    def _shrink(self) -> None:
        now = self._now()
        while self._kept:
            event, (until, one) = next(iter(self._kept.items()))
            if until > now and self._bytes <= _MOST_BYTES:
                return
            del self._kept[event]
            self._bytes -= len(one.placed.event.json)
            of_room = self._rooms[one.placed.room]
            of_room.discard(event)
            if not of_room:
                del self._rooms[one.placed.room]


def _recent(
    batch: Batch,
    positions: Mapping[EventNid, int],
    events: Mapping[EventNid, Event],
    lifetimes: Mapping[RoomNid, int | None],
) -> Iterator[RecentEvent]:
    """Those events of a batch that were written and are new to everybody.

    Messages that say when they vanish are left out.
    """
    vanishing = {row.event for row in batch.vanishing}
    related = {row.parent for row in batch.relations}
    changes = _changes(batch, positions)
    notable = _notable(batch, positions)
    for row in batch.events:
        if row.new_id is None or row.event not in positions or row.event in vanishing:
            continue
        found = changes.get(row.event, ())
        placed = Placed(
            row.event,
            row.room,
            positions[row.event] << ORDER_BITS,
            row.key,
            row.group,
            redacted_by=None,
            replaces=_replaced(found, row.event, row.key),
            fate=Fate(row.fate),
            event=events[row.event],
            lifetime=lifetimes[row.room],
            is_parent=row.key is None and row.event in related,
        )
        yield RecentEvent(placed, found, notable.get(row.event))


def _changes(
    batch: Batch, positions: Mapping[EventNid, int]
) -> Mapping[EventNid, tuple[Change, ...]]:
    found: dict[EventNid, tuple[Change, ...]] = {}
    for row in batch.changes:
        if row.event in positions:
            change = Change(row.room, positions[row.event], row.key, row.old, row.new)
            found[row.event] = (*found.get(row.event, ()), change)
    return found


def _replaced(changes: Collection[Change], event: EventNid, key: KeyNid | None) -> EventNid | None:
    return next((c.old for c in changes if c.key == key and c.new == event), None)


def _notable(batch: Batch, positions: Mapping[EventNid, int]) -> Mapping[EventNid, Notable]:
    rooms = {row.event: row.room for row in batch.events}
    return {
        row.event: Notable(
            rooms[row.event],
            positions[row.event] << ORDER_BITS,
            row.event,
            row.sender,
            MAIN if row.thread is None else row.thread,
            row.flags,
            tuple(row.mentioned),
        )
        for row in batch.notable
        if row.event in positions
    }
