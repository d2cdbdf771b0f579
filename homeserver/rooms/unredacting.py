"""What redacted events said, for those who look after a room, as long as it is kept.

https://github.com/matrix-org/matrix-spec-proposals/pull/2815
"""

from federation.canonical_json import JsonObject
from federation.events import load
from federation.identifiers import EventID, RoomID
from federation.power_levels import LevelError
from homeserver.errors import Forbidden, NotFound, UnredactedContentDeleted
from homeserver.rooms.access import Access
from homeserver.rooms.current import Current
from homeserver.rooms.history import Pages
from homeserver.rooms.showing import Showing
from homeserver.rooms.standings import Reader
from homeserver.storage import redactions
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process


class Unredacting:
    """Shows events as they were.

    Args:
        process: the one that this is part of.
        access: says how far somebody may look.
        pages: finds what they may see.
        showing: says how.
        current: the states of rooms.
        keep: milliseconds for which it is kept what redacted events said.

    """

    def __init__(
        self,
        process: Process,
        access: Access,
        pages: Pages,
        showing: Showing,
        current: Current,
        keep: int,
    ) -> None:
        self._process = process
        self._access = access
        self._pages = pages
        self._showing = showing
        self._current = current
        self._keep = keep

    async def event(
        self, reader: Reader, room_id: RoomID, event_id: EventID, *, is_admin: bool
    ) -> JsonObject:
        """An event as it was, redacted or not.

        Args:
            reader: who asks, and may see the event at all.
            room_id: of the event.
            event_id: which.
            is_admin: whether they look after the server, and so need not look after the room.

        Raises:
            Forbidden: the reader may not redact others' events in the room.
            NotFound: there is no such event in it, or the reader may not see it.
            UnredactedContentDeleted: it is not kept any more what it said.

        """
        async with self._process.database.reader() as conn:
            try:
                reach = await self._access.reach(conn, reader, room_id)
            except Forbidden as error:
                raise NotFound("there is no such event here") from error
            event = await self._pages.get(conn, reader, reach, event_id)
            if not is_admin:
                is_in = reach.standing.is_joined
                await self._check_may_redact(conn, reader, room_id, is_in=is_in)
            if event.redacted_by is not None:
                original = await redactions.original(conn, event.nid, self._process.now())
                if original is None:
                    raise UnredactedContentDeleted(**{"fi.mau.msc2815.content_keep_ms": self._keep})
                as_it_was = load(original, event_id, event.event.version)
                event = event._replace(event=as_it_was)
            return await self._showing.show_one(conn, reader, event)

    async def _check_may_redact(
        self, conn: Connection, reader: Reader, room_id: RoomID, *, is_in: bool
    ) -> None:
        levels = await self._current.levels(conn, room_id)
        try:
            if is_in and levels and levels.of(reader.user_id) >= levels.named("redact"):
                return
        except LevelError as error:
            raise Forbidden("the room's power levels cannot be read") from error
        raise Forbidden("who may not redact others' events may not read redacted ones")
