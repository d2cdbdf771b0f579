"""A room's past, page by page.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from federation.canonical_json import JsonObject
from federation.identifiers import EventID, RoomID, ServerName, domain_of
from homeserver.accounts.filters import RoomEventFilter
from homeserver.errors import Forbidden, NotFound
from homeserver.rooms.access import Access, Reach
from homeserver.rooms.backfilling import Backfilling
from homeserver.rooms.filtering import everything, matcher
from homeserver.rooms.moments import Moments
from homeserver.rooms.related import related
from homeserver.rooms.showing import Showing
from homeserver.rooms.standings import Reader
from homeserver.rooms.visibility import Visibility
from homeserver.storage import history, received
from homeserver.storage.history import EARLIEST, LATEST, Placed, Span
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process
from homeserver.storage.received import Gap
from homeserver.storage.stream_tokens import StreamToken

MOST = 500
"""Events of one page."""
_CHUNKS = 3
"""How many times other servers are asked for one page."""
_SCANNED = 1000
"""Events that are looked at for one page where a filter leaves some out."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events of a span are asked for."""

    backwards: bool
    limit: int
    filter: RoomEventFilter


class Found(NamedTuple):
    """Events of a span, in the order of reading."""

    events: list[Placed]
    last: int | None
    """Room order of the last event that was looked at; `None`: of none."""
    is_all: bool
    """Whether nothing is left."""
    may_have_gaps: bool
    """Whether something may be missing among what was looked at."""


class Page(NamedTuple):
    """A page as the client gets it."""

    start: StreamToken
    end: StreamToken | None
    """`None`: there is no more."""
    chunk: list[JsonObject]
    state: list[JsonObject]
    """Memberships of the senders, if the filter wants members so."""


class Pages:
    """Finds what somebody may see.

    Args:
        server: this one.
        visibility: says which events that is.

    """

    def __init__(self, server: ServerName, visibility: Visibility) -> None:
        self._server = server
        self.lifetimes = visibility.lifetimes
        self._visibility = visibility

    async def find(
        self, conn: Connection, reader: Reader, reach: Reach, span: Span, wanted: Wanted
    ) -> Found:
        """What of a span the reader may see and wants, from where reading begins."""
        limit = min(wanted.limit, MOST)
        test = matcher(wanted.filter)
        scanned = limit if test is everything else _SCANNED
        after, before = span
        if reach.until is not None:
            before = reach.until if before is None else min(before, reach.until)
        # One more, to know whether there is more.
        rows = await history.page(
            conn, reach.room, after, before, scanned + 1, backwards=wanted.backwards
        )
        fitting = [row for row in rows[:scanned] if test(row.event)]
        matching = await related(conn, wanted.filter, fitting)
        standings = {reach.room: reach.standing}
        seen = await self._visibility.visible(conn, reader, matching, standings)
        has_gaps = may_have_gaps(rows, self._server)
        if len(seen) > limit:
            last = seen[:limit][-1].order if limit else None
            return Found(seen[:limit], last, is_all=False, may_have_gaps=has_gaps)
        last = rows[:scanned][-1].order if rows[:scanned] else None
        return Found(seen, last, is_all=len(rows) <= scanned, may_have_gaps=has_gaps)

    async def get(
        self, conn: Connection, reader: Reader, reach: Reach, event_id: EventID
    ) -> Placed:
        """One event.

        Raises:
            NotFound: there is none, or the reader may not see it.

        """
        event = await history.by_id(conn, reach.room, event_id)
        if event is not None and (reach.until is None or (event.order or 0) <= reach.until):
            standings = {reach.room: reach.standing}
            if await self._visibility.visible(conn, reader, [event], standings):
                return event
        raise NotFound("there is no such event here")


class History:
    """Reads rooms back.

    Args:
        process: the one that this is part of.
        epoch: of the installation.
        access: says how far somebody may look.
        pages: finds what they may see.
        showing: says how.
        moments: tells the state at an event.
        backfilling: brings what only other servers have.

    """

    def __init__(
        self,
        process: Process,
        epoch: int,
        access: Access,
        pages: Pages,
        showing: Showing,
        moments: Moments,
        backfilling: Backfilling,
    ) -> None:
        self._backfilling = backfilling
        self._process = process
        self._epoch = epoch
        self._access = access
        self._pages = pages
        self._showing = showing
        self._moments = moments

    async def messages(
        self,
        reader: Reader,
        room_id: RoomID,
        start: StreamToken | None,
        to: StreamToken | None,
        wanted: Wanted,
    ) -> Page:
        """A page of the room's events.

        Args:
            reader: who asks.
            room_id: of the room.
            start: where reading begins; `None`: the end of the room, or its beginning.
            to: where it ends.
            wanted: how many of which events, in which direction.

        Raises:
            Forbidden: the reader may not look into the room.

        """
        begin = start or StreamToken(
            self._epoch, self._process.clock.position, order=None if wanted.backwards else 0
        )
        end = to.room_order if to else None
        span = (end, begin.room_order) if wanted.backwards else (begin.room_order, end)
        async with self._process.database.reader() as conn:
            reach = await self._access.reach(conn, reader, room_id)
            found = await self._pages.find(conn, reader, reach, span, wanted)
            gap = await self._gap(conn, reach, span, found) if wanted.backwards else None
            if gap is None:
                return await self._page(conn, reader, reach, begin, found, wanted)
        for _ in range(_CHUNKS):
            # What others know is asked of them while no connection waits.
            if gap is None or not await self._backfilling.fill(room_id, gap):
                break
            async with self._process.database.reader() as conn:
                found = await self._pages.find(conn, reader, reach, span, wanted)
                gap = await self._gap(conn, reach, span, found)
        async with self._process.database.reader() as conn:
            return await self._page(conn, reader, reach, begin, found, wanted)

    async def _page(
        self,
        conn: Connection,
        reader: Reader,
        reach: Reach,
        begin: StreamToken,
        found: Found,
        wanted: Wanted,
    ) -> Page:
        """What was found, as it is shown."""
        standings = {reach.room: reach.standing}
        chunk = await self._showing.show_bundled(conn, reader, found.events, standings)
        members = wanted.filter.lazy_load_members
        state = await self._senders(conn, found.events) if members else []
        left = None
        if not found.is_all and found.last is not None:
            left = begin._replace(order=found.last - wanted.backwards)
        return Page(begin, left, chunk, state)

    async def _gap(self, conn: Connection, reach: Reach, span: Span, found: Found) -> Gap | None:
        """The first gap on the way back through what was looked at."""
        if not found.may_have_gaps:
            return None
        after, before = span
        if not found.is_all and found.last is not None:
            after = found.last
        if reach.until is not None:
            before = reach.until if before is None else min(before, reach.until)
        gap = await received.latest_gap(
            conn,
            reach.room,
            EARLIEST if after is None else after,
            LATEST if before is None else before,
        )
        # What is before an event that is too old is too old itself: nobody would see it.
        if gap is None or self._pages.lifetimes.is_past(gap.child_ts, gap.lifetime):
            return None
        return gap

    async def event(self, reader: Reader, room_id: RoomID, event_id: EventID) -> JsonObject:
        """One event.

        Raises:
            Forbidden: the reader may not look into the room.
            NotFound: there is no such event in it, or the reader may not see it.

        """
        async with self._process.database.reader() as conn:
            reach = await self._access.reach(conn, reader, room_id)
            event = await self._pages.get(conn, reader, reach, event_id)
            return await self._showing.show_one(conn, reader, event)

    async def anywhere(self, reader: Reader, event_id: EventID) -> JsonObject:
        """One event of any room.

        Raises:
            NotFound: there is no such event, or the reader may not see it.

        """
        async with self._process.database.reader() as conn:
            found = (await received.by_ids(conn, [event_id])).get(event_id)
        if found is None:
            raise NotFound("there is no such event here")
        try:
            return await self.event(reader, found.event.room_id, event_id)
        except Forbidden as error:
            raise NotFound("there is no such event here") from error

    async def _senders(self, conn: Connection, events: Sequence[Placed]) -> list[JsonObject]:
        """The memberships of those who sent the events, as they were at the first of them."""
        if not events:
            return []
        keys = [("m.room.member", sender) for sender in sorted({e.event.sender for e in events})]
        entries = await self._moments.entries(conn, keys, events[:1])
        nids = [nid for nid in entries.get(events[0].nid, ()) if nid]
        return self._showing.show_state((await history.by_nid(conn, nids)).values())


def may_have_gaps(events: Iterable[Placed], server: ServerName) -> bool:
    """Whether something may be missing before any of the events.

    Only before what came from elsewhere, or a join through another server.
    """
    return any(
        event.event.membership == "join" or domain_of(event.event.sender) != server
        for event in events
    )
