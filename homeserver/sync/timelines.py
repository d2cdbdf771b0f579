"""What happened in rooms since a token, for as many people as ask at the same time.

Everybody in a room who asks since the same moment is told the same, but for what is theirs alone;
so what was just read is kept for a moment.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from federation.identifiers import ServerName
from homeserver.rooms.history import may_have_gaps
from homeserver.storage import history, received, sync
from homeserver.storage.history import Placed
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.stream_tokens import ORDER_BITS
from homeserver.storage.sync import Change
from homeserver.storage.tail import RecentLog

_KEPT = 500
"""Rooms' news that are kept, mostly of a few events each."""
_MOST_EVENTS = 100
"""Longer news are not kept."""


class News(NamedTuple):
    """What happened in a room in a span of the log."""

    events: Sequence[Placed]
    """The last ones, the earlier first."""
    has_more: bool
    """Whether there are earlier ones in the span."""
    changes: Sequence[Change]
    """Of the room's state, in order."""


_Key = tuple[RoomNid, int, int, int]


class Timelines:
    """Reads news, once for all who want the same.

    Args:
        server: this one.
        log: what happened just now.

    """

    def __init__(self, server: ServerName, log: RecentLog) -> None:
        self._server = server
        self._log = log
        self._kept: OrderedDict[_Key, News] = OrderedDict()
        self._reading: dict[_Key, asyncio.Future[News]] = {}

    async def since(
        self, conn: Connection, rooms: Iterable[RoomNid], after: int, up_to: int, limit: int
    ) -> dict[RoomNid, News]:
        """The news of rooms between two positions; at most three queries.

        Args:
            conn: to read with.
            rooms: which.
            after: the position up to which all is known.
            up_to: the position up to which is read.
            limit: events of each room.

        """
        recent = {room: self._recall(room, after, up_to, limit) for room in rooms}
        found = {room: news for room, news in recent.items() if news is not None}
        keys = {room: (room, after, up_to, limit) for room in recent if room not in found}
        missing = [room for room, key in keys.items() if key not in self._kept]
        mine = [room for room in missing if keys[room] not in self._reading]
        theirs = {room: self._reading[keys[room]] for room in missing if room not in mine}
        found |= {room: self._kept[key] for room, key in keys.items() if key in self._kept}
        if mine:
            found |= await self._read(conn, mine, after, up_to, limit)
        for room, reading in theirs.items():
            # Whoever reads it has a connection already: nobody waits in a circle.
            found[room] = await asyncio.shield(reading)
        return found

    def _recall(self, room: RoomNid, after: int, up_to: int, limit: int) -> News | None:
        """The news of a room, if this process wrote them itself a moment ago."""
        recent = self._log.events(room, after, up_to)
        if recent is None:
            return None
        changes = [change for one in recent for change in one.changes]
        return _cut([one.placed for one in recent], limit, changes)

    async def _read(
        self, conn: Connection, rooms: Sequence[RoomNid], after: int, up_to: int, limit: int
    ) -> dict[RoomNid, News]:
        """Read news for whoever else asks meanwhile, too."""
        loop = asyncio.get_running_loop()
        waiting: dict[RoomNid, asyncio.Future[News]] = {r: loop.create_future() for r in rooms}
        keys = {room: (room, after, up_to, limit) for room in rooms}
        self._reading |= {keys[room]: waiting[room] for room in rooms}
        try:
            found = await _read(conn, rooms, after, up_to, limit, self._server)
        except BaseException:
            for future in waiting.values():
                future.cancel()
            raise
        finally:
            for key in keys.values():
                self._reading.pop(key, None)
        for room, news in found.items():
            waiting[room].set_result(news)
            self._keep(keys[room], news)
        return found

    def _keep(self, key: _Key, news: News) -> None:
        if len(news.events) <= _MOST_EVENTS:
            self._kept[key] = news
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)


async def last_events(
    conn: Connection,
    rooms: Mapping[RoomNid, tuple[int | None, int]],
    limit: int | Mapping[RoomNid, int],
    server: ServerName,
) -> dict[RoomNid, News]:
    """The last events of rooms in a span of each; where it begins with `None`, of all time."""
    limits = dict.fromkeys(rooms, limit) if isinstance(limit, int) else limit
    spans = {
        room: (None if after is None else end_of(after), end_of(up_to))
        for room, (after, up_to) in rooms.items()
    }
    pages = await history.pages(conn, spans, {room: limits[room] + 1 for room in rooms})
    gaps = await _gaps(conn, pages, server)
    return {room: _cut(events, limits[room], (), gaps.get(room)) for room, events in pages.items()}


async def _read(
    conn: Connection,
    rooms: Sequence[RoomNid],
    after: int,
    up_to: int,
    limit: int,
    server: ServerName,
) -> dict[RoomNid, News]:
    span = end_of(after), end_of(up_to)
    pages = await history.pages(conn, dict.fromkeys(rooms, span), limit + 1)
    changes = await sync.changes(conn, dict.fromkeys(rooms, after), up_to)
    gaps = await _gaps(conn, pages, server)
    return {room: _cut(pages[room], limit, changes[room], gaps.get(room)) for room in rooms}


async def _gaps(
    conn: Connection, pages: Mapping[RoomNid, Sequence[Placed]], server: ServerName
) -> dict[RoomNid, int]:
    """The last place of each page before which something is missing; mostly without a query."""
    spans = {
        room: ((page[0].order or 0) - 1, page[-1].order or 0)
        for room, page in pages.items()
        if may_have_gaps(page, server)
    }
    return await received.latest_gaps(conn, spans) if spans else {}


def _cut(
    events: Sequence[Placed], limit: int, changes: Sequence[Change], gap: int | None = None
) -> News:
    """The last of the events, of which none but the first has something missing before it."""
    kept = events if gap is None else [e for e in events if e.order is None or e.order >= gap]
    has_more = len(kept) > limit or gap is not None
    return News(kept[max(0, len(kept) - limit) :], has_more, changes)


def end_of(pos: int) -> int:
    """The place behind the events of a position."""
    return (pos << ORDER_BITS) + (1 << ORDER_BITS) - 1
