"""What sticks in rooms, brought to everybody in them whatever their timelines leave out.

https://github.com/matrix-org/matrix-spec-proposals/pull/4354
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from federation.canonical_json import JsonObject
from federation.sticky import MAX_DURATION
from homeserver.rooms.lifetimes import Lifetimes
from homeserver.rooms.showing import STICKS_FOR, Showing
from homeserver.rooms.standings import Reader
from homeserver.storage import history, sticky
from homeserver.storage.log import Entry, Kind
from homeserver.storage.numbers import RoomNid
from homeserver.storage.process import Process
from homeserver.sync.activity import Activity

MOST = 200
"""Events of one answer: what is more comes with the next."""


@dataclass(slots=True)
class Page:
    """Some of what sticks."""

    events: dict[RoomNid, list[JsonObject]] = field(default_factory=dict)
    last: int | None = None
    """Up to which position that is all; `None`: nothing is left."""


class Asked(NamedTuple):
    """What is wanted of the rooms."""

    spans: Mapping[RoomNid, int]
    """After which position of each."""
    up_to: int
    limit: int = MOST


class StickyEvents:
    """Reads it; knows where anything may stick, so that nobody is asked where nothing does.

    Args:
        process: this one.
        activity: tells what begins to stick.
        showing: shows it.
        lifetimes: of messages.

    """

    def __init__(
        self, process: Process, activity: Activity, showing: Showing, lifetimes: Lifetimes
    ) -> None:
        self._process = process
        self._showing = showing
        self._lifetimes = lifetimes
        self._rooms: dict[RoomNid, int] = {}
        """Until when something may stick there, in milliseconds."""
        self._is_known = False
        activity.feed(self._apply)

    async def among(self, rooms: Iterable[RoomNid]) -> list[RoomNid]:
        """Those of the rooms in which something may stick."""
        if not self._is_known:
            async with self._process.database.reader() as conn:
                found = await sticky.rooms_with(conn, self._process.now())
            for room, until in found.items():
                self._rooms[room] = max(until, self._rooms.get(room, 0))
            self._is_known = True
        now = self._process.now()
        return [room for room in rooms if self._rooms.get(room, 0) > now] if self._rooms else []

    async def read(
        self, reader: Reader, asked: Asked, told: Mapping[RoomNid, Collection[str]]
    ) -> Page:
        """What sticks, the first first; not what ignored people say.

        Args:
            reader: who is in all of these rooms; history visibility does not matter.
            asked: of which rooms, and how much.
            told: the IDs of events that the answer has already.

        """
        page = Page()
        now = self._process.now()
        async with self._process.database.reader() as conn:
            most = min(asked.limit, MOST)
            rows = await sticky.page(conn, asked.spans, asked.up_to, now, most + 1)
            if len(rows) > most:
                page.last = rows[most - 1].pos
            wanted = {row.event: row for row in rows[:most]}
            events = await history.by_nid(conn, wanted) if wanted else {}
            placed = [
                one
                for nid in wanted
                if (one := events.get(nid)) is not None
                and one.event.sender not in reader.ignores
                and not self._lifetimes.is_expired(one)
                and one.event.event_id not in told.get(one.room, ())
            ]
            shown = await self._showing.show(conn, reader, placed)
        for one, event in zip(placed, shown, strict=True):
            event.pop("room_id")
            event["unsigned"][STICKS_FOR] = wanted[one.nid].expires_ts - now
            page.events.setdefault(one.room, []).append(event)
        return page

    def _apply(self, entries: Iterable[Entry]) -> None:
        now = None
        for entry in entries:
            if entry.kind == Kind.STICKY and entry.room is not None:
                now = now or self._process.now()
                self._rooms[entry.room] = now + MAX_DURATION
        if now is not None:
            self._rooms = {room: until for room, until in self._rooms.items() if until > now}
