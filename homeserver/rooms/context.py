"""An event, and what was said around it.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidcontexteventid
"""

from collections.abc import Sequence
from typing import NamedTuple

from federation.canonical_json import JsonObject
from federation.identifiers import EventID, RoomID
from homeserver.accounts.filters import RoomEventFilter
from homeserver.rooms.access import Access, Reach
from homeserver.rooms.filtering import matcher
from homeserver.rooms.history import Found, Pages, Wanted
from homeserver.rooms.moments import Moments
from homeserver.rooms.showing import Showing
from homeserver.rooms.standings import Reader
from homeserver.storage import history, room_states
from homeserver.storage.history import Placed
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process
from homeserver.storage.stream_tokens import StreamToken


class Context(NamedTuple):
    """An event with its neighbours, as the client gets them."""

    event: JsonObject
    before: list[JsonObject]
    """The latest first."""
    after: list[JsonObject]
    start: StreamToken
    end: StreamToken
    state: list[JsonObject]
    """At the last of the events."""


class Contexts:
    """Finds events with their neighbours.

    Args:
        process: the one that this is part of.
        epoch: of the installation.
        access: says how far somebody may look.
        pages: finds what they may see.
        showing: says how.
        moments: tells the state at an event.

    """

    def __init__(
        self,
        process: Process,
        epoch: int,
        access: Access,
        pages: Pages,
        showing: Showing,
        moments: Moments,
    ) -> None:
        self._process = process
        self._epoch = epoch
        self._access = access
        self._pages = pages
        self._showing = showing
        self._moments = moments

    async def get(
        self,
        reader: Reader,
        room_id: RoomID,
        event_id: EventID,
        limit: int,
        wanted: RoomEventFilter,
    ) -> Context:
        """An event with up to `limit` events around it.

        Raises:
            Forbidden: the reader may not look into the room.
            NotFound: there is no such event in it, or the reader may not see it.

        """
        async with self._process.database.reader() as conn:
            reach = await self._access.reach(conn, reader, room_id)
            event = await self._pages.get(conn, reader, reach, event_id)
            before, after = await self._around(conn, reader, reach, event, limit, wanted)
            events = [event, *before.events, *after.events]
            standings = {reach.room: reach.standing}
            shown = await self._showing.show_bundled(conn, reader, events, standings)
            last = after.events[-1] if after.events else event
            state = await self._state(conn, last, events, wanted)
        here = StreamToken(self._epoch, self._process.clock.position)
        order, split = event.order or 0, 1 + len(before.events)
        return Context(
            event=shown[0],
            before=shown[1:split],
            after=shown[split:],
            start=here._replace(order=(order if before.last is None else before.last) - 1),
            end=here._replace(order=order if after.last is None else after.last),
            state=state,
        )

    async def _around(
        self,
        conn: Connection,
        reader: Reader,
        reach: Reach,
        event: Placed,
        limit: int,
        wanted: RoomEventFilter,
    ) -> tuple[Found, Found]:
        # "The limit applies to the sum of the events_before and events_after arrays."
        order, half = event.order or 0, limit // 2
        before = await self._pages.find(
            conn, reader, reach, (None, order - 1), Wanted(True, half, wanted)
        )
        after = await self._pages.find(
            conn, reader, reach, (order, None), Wanted(False, limit - half, wanted)
        )
        return before, after

    async def _state(
        self, conn: Connection, last: Placed, events: Sequence[Placed], wanted: RoomEventFilter
    ) -> list[JsonObject]:
        nids = await self._moments.state_after(conn, last)
        if wanted.lazy_load_members:
            senders = {event.event.sender for event in events}
            nids = await room_states.without_members(conn, nids, senders)
        test = matcher(wanted)
        found = await history.by_nid(conn, nids)
        return self._showing.show_state(e for e in found.values() if test(e.event))
