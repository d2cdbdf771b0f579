"""The past of rooms, from the servers that were there.

Where a parent of an event is not here, history has a gap. It is filled when somebody reads that
far: with the events before the gap, each judged by the state before it, in places between the
event behind the gap and the one before it.

https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from federation.auth import auth_events_for
from federation.errors import FederationError
from federation.events import Event
from federation.graph import in_causal_order
from federation.identifiers import EventID, RoomID, ServerName, domain_of
from federation.room_versions import ROOM_VERSIONS, RoomVersion
from homeserver.logs import get_logger
from homeserver.rooms.claims import Claims
from homeserver.rooms.clearing import late_rows
from homeserver.rooms.intake import Means
from homeserver.rooms.interning import intern
from homeserver.rooms.judging import CREATE, Judging, States, cited_by
from homeserver.rooms.receiving import Receiving
from homeserver.rooms.redacting_late import redacted_by
from homeserver.rooms.remote_events import RemoteEvents
from homeserver.rooms.resolving import Resolving
from homeserver.rooms.vanishing import rows as vanishing_rows
from homeserver.storage import memberships, received, redactions, vanishing
from homeserver.storage.batch import RelationRow
from homeserver.storage.events import get_rooms
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection, OwnConnection
from homeserver.storage.process import Process
from homeserver.storage.received import Gap
from homeserver.storage.stream_tokens import ORDER_BITS

log = get_logger(__name__)

AT_ONCE = 100
"""Events that are asked for."""
_SERVERS = 5
_ASKED = 2
"""How often one server is: all members may come to be known meanwhile, but once."""
_SECONDS = 15.0
"""How long somebody who reads waits for other servers."""
_FIRST_PAUSE, _LONGEST_PAUSE = 2_000, 60_000
"""Milliseconds in which a gap that nobody could fill is left alone: twice as long each time."""
_MOST_TRIED = 10_000


class _Chunk(NamedTuple):
    """Events before a gap, in causal order, and states before those whose parents are not here."""

    events: Sequence[Event]
    states: States


class _Pause(NamedTuple):
    """Until when, and for how long, a gap is left alone, in milliseconds."""

    until: int
    length: int


class Backfilling:
    """Fills gaps.

    Args:
        process: the one that this is part of.
        remote: asks other servers.
        receiving: brings what events rest on.
        claims: keeps others from writing.
        means: as the intake has them.
        resolving: resolves states.

    """

    def __init__(
        self,
        process: Process,
        remote: RemoteEvents,
        receiving: Receiving,
        claims: Claims,
        means: Means,
        resolving: Resolving,
    ) -> None:
        self._process = process
        self._remote = remote
        self._receiving = receiving
        self._claims = claims
        self._means = means
        self._resolving = resolving
        self._under_way: dict[tuple[RoomNid, int], asyncio.Task[bool]] = {}
        self._tried: dict[tuple[RoomNid, int], _Pause] = {}

    async def fill(self, room_id: RoomID, gap: Gap) -> bool:
        """Bring events from before a gap; whether there are more of them here than before.

        Everybody who wants the same gap filled waits for the same.
        """
        key = (gap.room, gap.child_order)
        if key in self._tried and self._process.now() < self._tried[key].until:
            return False
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.create_task(self._fill(room_id, gap))
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        try:
            async with asyncio.timeout(_SECONDS):
                return await asyncio.shield(task)
        except TimeoutError:
            return False

    async def _fill(self, room_id: RoomID, gap: Gap) -> bool:
        async with self._process.database.reader() as conn:
            name = (await get_rooms(conn, [gap.room]))[gap.room].version
            present = await memberships.servers_in(conn, gap.room, _SERVERS + 1)
            if await self._is_closed(conn, gap):
                return True
        version = ROOM_VERSIONS[name or "1"]
        servers = dict.fromkeys([domain_of(gap.sender), *present])
        for server in [one for one in servers if one != self._process.server][:_SERVERS]:
            try:
                is_filled = await self._fill_from(server, room_id, version, gap)
            except FederationError as error:
                log.debug("history cannot be had", reason=str(error))
                continue
            if is_filled:
                return True
        self._leave_alone((gap.room, gap.child_order))
        return False

    async def _is_closed(self, conn: Connection, gap: Gap) -> bool:
        """Whether the parents came another way, late: then nobody need be asked for them."""
        here = await received.places(conn, gap.parents)
        if not all(here.get(parent) for parent in gap.parents):
            return False
        nids = await self._process.numbers.events.find(conn, gap.parents)
        await received.found_parents(conn, gap.room, nids.values())
        return True

    def _leave_alone(self, key: tuple[RoomNid, int]) -> None:
        """Nobody could fill a gap: perhaps somebody can in a moment, but hardly if never before."""
        if len(self._tried) > _MOST_TRIED:
            self._tried.clear()
        last = self._tried.get(key, _Pause(0, _FIRST_PAUSE // 2)).length
        pause = min(2 * last, _LONGEST_PAUSE)
        self._tried[key] = _Pause(self._process.now() + pause, pause)

    async def _fill_from(
        self, server: ServerName, room_id: RoomID, version: RoomVersion, gap: Gap
    ) -> bool:
        """Bring events that a server has; whether there are any. `FederationError` if it fails."""
        for _ in range(_ASKED):
            chunk = await self._ask(server, room_id, version, gap)
            is_filled = bool(chunk.events) and await self._write(room_id, chunk, gap)
            if is_filled is not None:
                return is_filled
        return False

    async def _ask(
        self, server: ServerName, room_id: RoomID, version: RoomVersion, gap: Gap
    ) -> _Chunk:
        """What a server has before the gap, as far as it can be judged."""
        raw = await self._remote.backfill(server, room_id, gap.parents, AT_ONCE)
        found = await self._remote.verified(version, raw, room_id, [server])
        async with self._process.database.reader() as conn:
            known = await received.by_ids(conn, [event.event_id for event in found])
        new = _behind(
            gap,
            [e for e in found if e.event_id not in known or known[e.event_id].order is None],
        )
        if not new:
            return _Chunk((), {})
        return _Chunk(*await self._receiving.grounded(server, room_id, gap.room, version, new))

    async def _write(self, room_id: RoomID, chunk: _Chunk, gap: Gap) -> bool | None:
        """Whether anything was written; `None` if all members came to be known meanwhile.

        What was not asked for while they were not is wanted then. Somebody else may have written
        the same meanwhile, or we ourselves, if it is done again.
        """

        async def write(conn: OwnConnection, room: RoomNid) -> bool | None:
            nids = await intern(conn, self._means.numbers, chunk.events)
            parents = {parent for event in chunk.events for parent in event.prev_events}
            await self._means.numbers.events.intern(conn, parents)
            keys = {key for event in chunk.events for key in auth_events_for(event)}
            head = (await self._means.heads.get(conn, {room: [*keys, CREATE]}))[room]
            known = await received.by_ids(conn, cited_by(head, chunk.events))
            judging = Judging(conn, self._means, self._resolving, head, known)
            if judging.is_overtaken(chunk.events, chunk.states):
                return None
            new = [event for event in chunk.events if not judging.is_placed(event.event_id)]
            for event in new:
                await judging.take(nids, event, chunk.states, None)
            is_filled = await self._place(conn, room, judging, judging.relations(nids), gap)
            return is_filled or len(new) < len(chunk.events)

        return await self._claims.doing(room_id, write)

    async def _place(
        self,
        conn: OwnConnection,
        room: RoomNid,
        judging: Judging,
        relations: Sequence[RelationRow],
        gap: Gap,
    ) -> bool:
        """Put what was judged below everything else that came before the event behind the gap."""
        rows = judging.rows
        live = -(-gap.child_order >> ORDER_BITS) << ORDER_BITS
        lowest = await received.lowest_order(conn, room, live - (1 << ORDER_BITS), live)
        orders = range(lowest - len(rows), lowest)
        if not rows or orders[0] <= live - (1 << ORDER_BITS):
            return False
        events = {stored.nid: stored.event for stored in judging.known.values()}
        if self._means.lets_vanish:
            new = {row.event: events[row.event] for row in rows}
            await vanishing.note(conn, vanishing_rows(new))
        found = await redacted_by(conn, self._means.numbers, judging, judging.current)
        at = {row.event: order for row, order in zip(rows, orders, strict=True)}
        cleared = await late_rows(conn, self._means, room, rows, events, at)
        missing: dict[EventID, int] = {}
        for nid, order in at.items():
            absent = [p for p in events[nid].prev_events if not judging.is_placed(p)]
            missing = dict.fromkeys(absent, order) | missing
        numbers = await self._means.numbers.events.find(conn, [*missing, *gap.parents])
        here = [*at, *(numbers[i] for i in gap.parents if judging.is_placed(i))]
        async with conn.transaction():
            await received.add_history(conn, rows, orders, judging.groups, relations)
            if redacted := [*found.before, *found.new, *cleared]:
                await redactions.redact(conn, redacted)
            if found.awaited:
                await redactions.forget_early(conn, found.awaited)
            await received.note_missing(conn, room, {numbers[i]: o for i, o in missing.items()})
            await received.found_parents(conn, room, here)
        return True


def _behind(gap: Gap, events: Iterable[Event]) -> list[Event]:
    """Those of the events that lead to the gap through nothing that has its place already.

    What only led to it through older events of ours belongs before those, into another gap.
    """
    new = {event.event_id: event for event in events}
    found: dict[EventID, Event] = {}
    pending = [i for i in gap.parents if i in new]
    while pending:
        event_id = pending.pop()
        if event_id not in found:
            found[event_id] = new[event_id]
            pending += [i for i in new[event_id].prev_events if i in new]
    return in_causal_order(found.values())
