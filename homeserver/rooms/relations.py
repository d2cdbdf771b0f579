"""Events that are related to an event, and the threads of a room.

https://spec.matrix.org/v1.19/client-server-api/#relationships-api
"""

from dataclasses import replace
from typing import NamedTuple

from federation.canonical_json import JsonObject
from federation.events import redacted
from federation.identifiers import EventID, RoomID
from homeserver.rooms.access import Access, Reach
from homeserver.rooms.history import Pages
from homeserver.rooms.showing import Showing
from homeserver.rooms.standings import Reader
from homeserver.rooms.visibility import Visibility
from homeserver.storage import history, relations
from homeserver.storage.history import EARLIEST, LATEST, Placed
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process
from homeserver.storage.relations import Child, Span
from homeserver.storage.stream_tokens import StreamToken

MOST = 100
"""Events of a page."""


class Asked(NamedTuple):
    """Which relations somebody wants to see."""

    rel_type: str | None
    type: str | None
    backwards: bool
    limit: int
    recurse: bool
    start: StreamToken | None
    to: StreamToken | None


class Page(NamedTuple):
    """Some of them."""

    chunk: list[JsonObject]
    next_batch: StreamToken | None
    """`None`: there is no more."""


class Relations:
    """Reads relations.

    Args:
        process: the one that this is part of.
        epoch: of the installation.
        access: says how far somebody may look.
        pages: finds an event.
        visibility: says which events somebody may see.
        showing: says how.

    """

    def __init__(
        self,
        process: Process,
        epoch: int,
        access: Access,
        pages: Pages,
        visibility: Visibility,
        showing: Showing,
    ) -> None:
        self._process = process
        self._epoch = epoch
        self._access = access
        self._pages = pages
        self._visibility = visibility
        self._showing = showing

    async def of(self, reader: Reader, room_id: RoomID, event_id: EventID, asked: Asked) -> Page:
        """The events that are related to one.

        Raises:
            Forbidden: the reader may not look into the room.
            NotFound: there is no such event in it, or the reader may not see it.

        """
        limit = max(1, min(asked.limit, MOST))
        async with self._process.database.reader() as conn:
            reach = await self._access.reach(conn, reader, room_id)
            parent = await self._pages.get(conn, reader, reach, event_id)
            children = await relations.related(
                conn,
                parent.nid,
                reach.room,
                (asked.rel_type, asked.type),
                _span(asked, reach, limit + 1),
                recurse=asked.recurse,
            )
            events = await self._events(conn, reader, reach, children[:limit])
            chunk = await self._showing.show_bundled(conn, reader, events)
        return Page(chunk, self._next(children, limit, backwards=asked.backwards))

    async def threads(
        self,
        reader: Reader,
        room_id: RoomID,
        start: StreamToken | None,
        limit: int,
        *,
        participated: bool,
    ) -> Page:
        """The roots of the room's threads, those with the latest replies first.

        Raises:
            Forbidden: the reader may not look into the room.

        """
        limit = max(1, min(limit, MOST))
        async with self._process.database.reader() as conn:
            reach = await self._access.reach(conn, reader, room_id)
            before = start.room_order if start else LATEST
            until = LATEST if reach.until is None else reach.until
            who = reader.user_id if participated else None
            roots = await relations.thread_roots(conn, reach.room, until, before, limit + 1, who)
            everybody = replace(reader, ignores=frozenset[str]())
            events = await self._events(conn, everybody, reach, roots[:limit])
            # "If the thread root event was sent by an ignored user, the event is returned redacted"
            hidden = [
                e._replace(event=redacted(e.event)) if e.event.sender in reader.ignores else e
                for e in events
            ]
            chunk = await self._showing.show_bundled(conn, reader, hidden)
        return Page(chunk, self._next(roots, limit, backwards=True))

    async def _events(
        self, conn: Connection, reader: Reader, reach: Reach, children: list[Child]
    ) -> list[Placed]:
        found = await history.by_nid(conn, [child.event for child in children])
        events = [found[child.event] for child in children if child.event in found]
        return await self._visibility.visible(conn, reader, events, {reach.room: reach.standing})

    def _next(self, children: list[Child], limit: int, *, backwards: bool) -> StreamToken | None:
        if len(children) <= limit:
            return None
        order = children[limit - 1].order - backwards
        return StreamToken(self._epoch, self._process.clock.position, order=order)


def _span(asked: Asked, reach: Reach, limit: int) -> Span:
    ends = [token.room_order if token else None for token in (asked.start, asked.to)]
    after, up_to = reversed(ends) if asked.backwards else ends
    if reach.until is not None:
        up_to = reach.until if up_to is None else min(up_to, reach.until)
    return Span(
        EARLIEST if after is None else after,
        LATEST if up_to is None else up_to,
        asked.backwards,
        limit,
    )
