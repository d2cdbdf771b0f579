"""The event of a room that is closest to a moment.

Where history has gaps, other servers are asked too, and if one of them knows something closer the
gaps are filled up to there, so that the client can go on from it.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from federation.errors import FederationError
from federation.identifiers import EventID, RoomID, ServerName
from homeserver.errors import NotFound
from homeserver.logs import get_logger
from homeserver.rooms.access import Access, Reach
from homeserver.rooms.backfilling import Backfilling
from homeserver.rooms.remote_events import RemoteEvents
from homeserver.rooms.standings import Reader
from homeserver.rooms.visibility import Visibility
from homeserver.storage import history, memberships, received
from homeserver.storage.history import EARLIEST, LATEST, Placed
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process
from homeserver.storage.received import Gap

log = get_logger(__name__)

_CLOSE = 60_000
"""Milliseconds; nobody else is asked for what is closer still."""
_CANDIDATES = 50
"""Events that are looked at, of which the reader may not see some."""
_SERVERS = 3
_CHUNKS = 10
"""How often gaps are filled on the way to what another server named."""
_SECONDS = 20.0
"""How long all of that may take."""


class Moment(NamedTuple):
    """An event, and when its sender says that it was sent."""

    event_id: EventID
    origin_server_ts: int
    """Milliseconds since the epoch."""


class Timestamps:
    """Finds events by their time.

    Args:
        process: the one that this is part of.
        access: says how far somebody may look.
        visibility: says what they may see.
        remote: asks other servers.
        backfilling: brings what only they have.

    """

    def __init__(
        self,
        process: Process,
        access: Access,
        visibility: Visibility,
        remote: RemoteEvents,
        backfilling: Backfilling,
    ) -> None:
        self._process = process
        self._access = access
        self._visibility = visibility
        self._remote = remote
        self._backfilling = backfilling

    async def closest(self, reader: Reader, room_id: RoomID, ts: int, *, forwards: bool) -> Moment:
        """The event closest to a moment, of those from then on or of those up to then.

        Raises:
            Forbidden: the reader may not look into the room.
            NotFound: there is none that they may see.

        """
        async with self._process.database.reader() as conn:
            reach = await self._access.reach(conn, reader, room_id)
            found = await self._here(conn, reader, reach, ts, forwards=forwards)
            asked = await self._whom_to_ask(conn, reach.room, found, ts)
        if asked:
            try:
                async with asyncio.timeout(_SECONDS):
                    await self._fetch(asked, room_id, reach.room, ts, found, forwards=forwards)
            except TimeoutError:
                log.debug("other servers know history that does not come in time")
            async with self._process.database.reader() as conn:
                found = await self._here(conn, reader, reach, ts, forwards=forwards)
        if found is None:
            raise NotFound(f"there is no event {'from' if forwards else 'up to'} that time")
        return found

    async def _here(
        self, conn: Connection, reader: Reader, reach: Reach, ts: int, *, forwards: bool
    ) -> Moment | None:
        events = await history.closest(
            conn, reach.room, ts, reach.until, _CANDIDATES, forwards=forwards
        )
        standings = {reach.room: reach.standing}
        seen = await self._visibility.visible(conn, reader, events, standings)
        return _moment(seen[0]) if seen else None

    async def _whom_to_ask(
        self, conn: Connection, room: RoomNid, found: Moment | None, ts: int
    ) -> list[ServerName]:
        """Servers that may know better; none where all is here, or what was found is close."""
        if found is not None and abs(found.origin_server_ts - ts) < _CLOSE:
            return []
        if await received.latest_gap(conn, room, EARLIEST, LATEST) is None:
            return []
        present = await memberships.servers_in(conn, room, _SERVERS + 1)
        return [server for server in present if server != self._process.server][:_SERVERS]

    async def _fetch(
        self,
        servers: Sequence[ServerName],
        room_id: RoomID,
        room: RoomNid,
        ts: int,
        found: Moment | None,
        *,
        forwards: bool,
    ) -> None:
        """Bring the history up to the closest event that one of the servers names."""
        for server in servers:
            try:
                event_id, when = await self._remote.closest(server, room_id, ts, forwards=forwards)
            except FederationError as error:
                log.debug("another server knows nothing closer", reason=str(error))
                continue
            is_right_side = when >= ts if forwards else when <= ts
            is_closer = found is None or abs(when - ts) < abs(found.origin_server_ts - ts)
            if is_right_side and is_closer and await self._fill(room_id, room, event_id, when):
                return

    async def _fill(self, room_id: RoomID, room: RoomNid, event_id: EventID, when: int) -> bool:
        """Fill gaps behind an event until it is here."""
        for _ in range(_CHUNKS):
            async with self._process.database.reader() as conn:
                here = await history.by_id(conn, room, event_id)
                if here is not None and here.order is not None:
                    return True
                gap = await self._gap_behind(conn, room, when)
            if gap is None or not await self._backfilling.fill(room_id, gap):
                return False
        return False

    async def _gap_behind(self, conn: Connection, room: RoomNid, when: int) -> Gap | None:
        """The last gap before the first event that is later than a moment."""
        later = await history.closest(conn, room, when + 1, None, 1, forwards=True)
        end = later[0].order if later and later[0].order is not None else LATEST
        return await received.latest_gap(conn, room, EARLIEST, end)


def _moment(event: Placed) -> Moment:
    return Moment(event.event.event_id, event.event.origin_server_ts)
