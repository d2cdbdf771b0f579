"""What rooms look like now, read once for all who look while nothing happens in them.

What begins anew reads the same of each room for everybody: its last events, entries of its state,
how many are in it. None of that changes without a row in the log, but for what is deleted and for
history that is fetched: so nothing is kept for long, nor where history may be missing.
"""

import time
from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from federation.canonical_json import JsonObject
from federation.events import StateKey
from federation.identifiers import ServerName, UserID
from homeserver.rooms.history import may_have_gaps
from homeserver.storage import history, sync
from homeserver.storage.batch import Membership
from homeserver.storage.history import Placed
from homeserver.storage.numbers import Names, RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid, KeyNid
from homeserver.storage.sync import Hero
from homeserver.sync.activity import Activity
from homeserver.sync.timelines import News, last_events

_GOOD_FOR = 60.0
"""Seconds for which what is deleted may still be shown."""
_MOST = 50_000
"""Events, entries and pages that are kept, at some 200 bytes each beside the events' own."""


class Entry(NamedTuple):
    """One entry of a room's state."""

    key: KeyNid
    event: EventNid


class Counts(NamedTuple):
    """How many people a room has."""

    joined: int = 0
    invited: int = 0


class Face(NamedTuple):
    """What was told of a room's state to somebody who begins anew."""

    fields: JsonObject
    """Nobody may change them."""
    members: frozenset[UserID] | None
    """Whose memberships are told because they turn up; `None`: nobody does."""

    @property
    def size(self) -> int:
        """How much of it there is."""
        return 5 + 3 * len(self.fields.get("required_state", ()))


@dataclass(slots=True)
class _Room:
    """What is known of one room."""

    up_to: int
    """Nothing happened in it from here on."""
    until: float
    entries: dict[StateKey, Entry | None] = field(default_factory=dict)
    events: dict[EventNid, Placed] = field(default_factory=dict)
    last: dict[int, News] = field(default_factory=dict)
    """By how many events were wanted."""
    counts: Counts | None = None
    heroes: Sequence[Hero] | None = None
    faces: dict[Hashable, Face] = field(default_factory=dict)
    """By whom it was shown to, and what of it they wanted."""
    faces_size: int = 0
    size: int = 0
    """As it was counted last."""

    def count(self) -> int:
        """How much of it there is."""
        shown = sum(len(news.events) for news in self.last.values())
        return 1 + len(self.entries) + len(self.events) + shown + self.faces_size


class RoomMemory:
    """Reads what is not known yet, of all rooms together; at most two queries at a time.

    Args:
        server: this one.
        activity: knows where anything happened.
        keys: the numbers of entries' names.

    """

    def __init__(
        self, server: ServerName, activity: Activity, keys: Names[StateKey, KeyNid]
    ) -> None:
        self._server = server
        self._activity = activity
        self._keys = keys
        self._rooms: OrderedDict[RoomNid, _Room] = OrderedDict()
        self._used = 0

    async def entries(
        self, conn: Connection, wanted: Mapping[RoomNid, Collection[StateKey]]
    ) -> dict[RoomNid, dict[StateKey, Entry]]:
        """Entries of the rooms' current states, where there are any."""
        rooms = self._recall(wanted)
        missing = [
            (room, key) for room in wanted for key in wanted[room] if key not in rooms[room].entries
        ]
        if missing:
            keys = await self._keys.find(conn, {key for _, key in missing})
            pairs = [(room, keys[key]) for room, key in missing if key in keys]
            read = await sync.current_entries(conn, pairs) if pairs else {}
            for room, key in missing:
                nid = keys.get(key)
                event = read.get((room, nid)) if nid is not None else None
                entry = Entry(nid, event) if nid is not None and event is not None else None
                rooms[room].entries[key] = entry
            self._grew(rooms)
        return {
            room: {key: entry for key in keys if (entry := rooms[room].entries[key]) is not None}
            for room, keys in wanted.items()
        }

    async def events(
        self, conn: Connection, wanted: Mapping[RoomNid, Collection[EventNid]]
    ) -> dict[EventNid, Placed]:
        """Events of the rooms; those that are not there are not in the answer."""
        rooms = self._recall(wanted)
        found = {
            nid: rooms[room].events[nid]
            for room, nids in wanted.items()
            for nid in nids
            if nid in rooms[room].events
        }
        missing = {nid for nids in wanted.values() for nid in nids} - found.keys()
        if missing:
            read = await history.by_nid(conn, missing)
            for nid, placed in read.items():
                if placed.room in rooms:
                    rooms[placed.room].events[nid] = placed
            self._grew(rooms)
            found |= read
        return found

    async def last_events(
        self, conn: Connection, limits: Mapping[RoomNid, int], up_to: int
    ) -> dict[RoomNid, News]:
        """So many of the last events of each room, not after a position."""
        rooms = self._recall(limits)
        found = {
            room: rooms[room].last[limit]
            for room, limit in limits.items()
            if limit in rooms[room].last
        }
        missing = {room: limits[room] for room in limits.keys() - found.keys()}
        if missing:
            spans = dict.fromkeys(missing, (None, up_to))
            read = await last_events(conn, spans, missing, self._server)
            for room, news in read.items():
                if not may_have_gaps(news.events, self._server):
                    rooms[room].last[limits[room]] = news
            self._grew(rooms)
            found |= read
        return found

    async def counts(self, conn: Connection, wanted: Collection[RoomNid]) -> dict[RoomNid, Counts]:
        """How many people the rooms have."""
        rooms = self._recall(wanted)
        missing = [room for room in wanted if rooms[room].counts is None]
        if missing:
            read = dict.fromkeys(missing, Counts())
            for room, membership, users in await sync.counts(conn, missing):
                word = "joined" if membership is Membership.JOIN else "invited"
                read[room] = read[room]._replace(**{word: users})
            for room, counts in read.items():
                rooms[room].counts = counts
            self._grew(rooms)
        return {room: rooms[room].counts or Counts() for room in wanted}

    async def heroes(
        self, conn: Connection, wanted: Collection[RoomNid], most: int
    ) -> dict[RoomNid, Sequence[Hero]]:
        """The members that each room may be named after; `most` is always the same."""
        rooms = self._recall(wanted)
        missing = [room for room in wanted if rooms[room].heroes is None]
        if missing:
            read = await sync.heroes(conn, missing, most)
            for room in missing:
                rooms[room].heroes = read.get(room, ())
            self._grew(rooms)
        return {room: rooms[room].heroes or () for room in wanted}

    def faces(self, wanted: Mapping[RoomNid, Hashable]) -> dict[RoomNid, Face]:
        """What was told of rooms before, to whom it would be told again."""
        rooms = self._recall(wanted)
        return {
            room: face
            for room, key in wanted.items()
            if (face := rooms[room].faces.get(key)) is not None
        }

    def keep_faces(self, told: Mapping[RoomNid, tuple[Hashable, Face]], up_to: int) -> None:
        """This was told of rooms, in which nothing has happened since a position."""
        rooms = self._recall(room for room in told if not self._activity.changed([room], up_to))
        for nid, room in rooms.items():
            key, face = told[nid]
            if key not in room.faces:
                room.faces[key] = face
                # Of a room that everybody looks at there are many: they are not counted anew.
                room.faces_size += face.size
        self._grew(rooms)

    def _recall(self, wanted: Iterable[RoomNid]) -> dict[RoomNid, _Room]:
        """What is known of rooms; nothing where it may not be true any more."""
        now, found = time.monotonic(), {}
        for nid in wanted:
            room = self._rooms.pop(nid, None)
            if room is None or not self._is_true(nid, room, now):
                self._used -= room.size if room else 0
                room = _Room(self._activity.position, now + _GOOD_FOR)
            found[nid] = self._rooms[nid] = room
        return found

    def _is_true(self, nid: RoomNid, room: _Room, now: float) -> bool:
        return now < room.until and not self._activity.changed([nid], room.up_to)

    def _grew(self, rooms: Mapping[RoomNid, _Room]) -> None:
        """More is known of these rooms; what was not asked for longest is forgotten for it."""
        for nid, room in rooms.items():
            if self._rooms.get(nid) is room:
                before, room.size = room.size, room.count()
                self._used += room.size - before
        while self._used > _MOST and self._rooms:
            self._used -= self._rooms.popitem(last=False)[1].size
