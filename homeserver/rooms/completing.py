"""Rooms that were joined before all of their members were known: the rest is fetched behind.

Whoever joins can read and write at once; until the members are here, those are believed whom
events cite. Then everything that came meanwhile is judged anew.

https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid
"""

import asyncio
from collections.abc import Sequence

from federation.errors import FederationError, ResponseFormatError
from federation.events import Event
from federation.identifiers import EventID, RoomID, ServerName, UserID, domain_of
from homeserver.ending import end
from homeserver.logs import error_id, get_logger
from homeserver.rooms.claims import Claims
from homeserver.rooms.intake import Means
from homeserver.rooms.judging import CREATE, States
from homeserver.rooms.receiving import Receiving
from homeserver.rooms.rejudging import Rejudging
from homeserver.rooms.rows import membership_of
from homeserver.storage import memberships, partial_rooms, received
from homeserver.storage.numbers import RoomNid
from homeserver.storage.partial_rooms import Entry, Member, Partial
from homeserver.storage.pool import OwnConnection, may_succeed
from homeserver.storage.process import Process
from homeserver.storage.state_groups import StateGroup

log = get_logger(__name__)

_LEASE = 30_000
"""Milliseconds after which another process takes a room from one that says nothing."""
_RENEW = 10.0
"""Seconds between two signs of life."""
_ON_THE_WAY = 0.1
"""Seconds between two looks whether another process has written a join."""
_LOOK = 10.0
"""Seconds between two looks for rooms at which nobody is."""
_AT_ONCE = 2
_FIRST_PAUSE, _LONGEST_PAUSE = 2_000, 600_000
"""Milliseconds for which a room is left alone of which nobody tells the members."""
_SERVERS = 6
_MOST_GAPS = 5
"""States before fetched history that are asked for; others are taken to be as at the join."""
_MOST_ROUNDS = 3
"""Of asking for states, as long as events turn out otherwise by which those are read."""
_TOLD_AT_ONCE = 1000
"""Entries of a state that are written together: everybody's clock stands still meanwhile."""


class Completing:
    """Completes rooms. `run` has to run.

    Args:
        process: the one that this is part of.
        receiving: asks other servers for states.
        claims: keeps others from writing.
        rejudging: judges what came meanwhile.
        means: as the intake has them.

    """

    def __init__(
        self,
        process: Process,
        receiving: Receiving,
        claims: Claims,
        rejudging: Rejudging,
        means: Means,
    ) -> None:
        self._process = process
        self._receiving = receiving
        self._claims = claims
        self._rejudging = rejudging
        self._means = means
        self._roused = asyncio.Event()
        self._pauses: dict[RoomID, int] = {}

    async def begin(
        self, room: RoomNid, join: Event, resident: ServerName, servers: Sequence[ServerName]
    ) -> None:
        """Note that a room is about to be joined whose members are not all known.

        If another process is about to write a join, wait until it has, or is gone: both cannot be
        noted, and without its own a room would be taken to be whole.
        """
        while not await self._note(room, join, resident, servers):  # noqa: ASYNC110
            await asyncio.sleep(_ON_THE_WAY)

    async def _note(
        self, room: RoomNid, join: Event, resident: ServerName, servers: Sequence[ServerName]
    ) -> bool:
        numbers, ours, now = self._process.numbers, self._process.server, self._process.now()
        async with self._process.database.reader() as conn:
            nid = (await numbers.events.intern(conn, [join.event_id]))[join.event_id]
            others = await numbers.servers.intern(conn, set(servers) - {ours})
            noted = (resident, set(others.values()), now + _LEASE, ours)
            return await partial_rooms.begin(conn, room, nid, now, *noted)

    async def go_on(self, room: RoomNid, join: Event, *, is_joined: bool) -> None:
        """What `begin` announced has happened, or has not."""
        numbers = self._process.numbers
        async with self._process.database.reader() as conn:
            if is_joined:
                await partial_rooms.put_off(conn, room, 0)
            else:
                nids = await numbers.events.find(conn, [join.event_id])
                await partial_rooms.end(conn, room, nids[join.event_id])
        self.rouse()

    def rouse(self) -> None:
        """Look for rooms at once."""
        self._roused.set()

    async def run(self) -> None:
        """Complete whatever there is, for ever."""
        working: set[asyncio.Task[None]] = set()
        roused = asyncio.create_task(self._roused.wait())
        try:
            while True:
                async with self._process.database.reader() as conn:
                    rooms = await partial_rooms.due(
                        conn, self._process.now(), _AT_ONCE - len(working)
                    )
                working |= {asyncio.create_task(self._at(room_id)) for room_id in rooms}
                await asyncio.wait(
                    {roused, *working}, timeout=_LOOK, return_when=asyncio.FIRST_COMPLETED
                )
                for task in [task for task in working if task.done()]:
                    working.discard(task)
                    task.result()
                if roused.done():
                    self._roused.clear()
                    roused = asyncio.create_task(self._roused.wait())
        finally:
            await end(roused, *working)

    async def _at(self, room_id: RoomID) -> None:
        """Complete a room, unless somebody is at it; say meanwhile that we are."""
        now = self._process.now
        async with self._process.database.reader() as conn:
            partial = await partial_rooms.hold(conn, room_id, now(), now() + _LEASE)
        if partial is None:
            return
        work = asyncio.create_task(self._complete(partial))
        try:
            while not (await asyncio.wait([work], timeout=_RENEW))[0]:
                await self._put_off(partial, _LEASE)
            work.result()
            self._pauses.pop(room_id, None)
        except (FederationError, TimeoutError) as error:
            log.info("the members of a room cannot be had yet", room=room_id, reason=str(error))
            await self._leave_alone(partial)
        except Exception as error:
            if may_succeed(error):
                raise
            # One room's trouble is not another's.
            log.exception("a room cannot be completed", error_id=error_id())
            await self._leave_alone(partial)
        finally:
            await end(work)

    async def _leave_alone(self, partial: Partial) -> None:
        """Try again later, after a longer pause than last time."""
        pause = min(2 * self._pauses.get(partial.room_id, _FIRST_PAUSE // 2), _LONGEST_PAUSE)
        self._pauses[partial.room_id] = pause
        await self._put_off(partial, pause)

    async def _put_off(self, partial: Partial, pause: int) -> None:
        async with self._process.database.reader() as conn:
            await partial_rooms.put_off(conn, partial.room, self._process.now() + pause)

    async def _complete(self, partial: Partial) -> None:
        async with self._process.database.reader() as conn:
            stored = (await received.by_nids(conn, [partial.join])).get(partial.join)
            servers = await memberships.servers_in(conn, partial.room, _SERVERS)
            is_here = await memberships.has_server(conn, partial.room, self._process.server)
            if stored is None or stored.order is None or not is_here:
                await partial_rooms.end(conn, partial.room, partial.join)
                return
        others = dict.fromkeys([partial.resident, *servers])
        others.pop(self._process.server, None)
        failure: FederationError = ResponseFormatError("there is no other server in the room")
        for server in others:
            try:
                await self._complete_by(server, partial, stored.event)
            except FederationError as error:
                failure = error
            else:
                return
        raise failure

    async def _complete_by(self, server: ServerName, partial: Partial, join: Event) -> None:
        """Complete a room by what a server tells, or raise `FederationError`: it does not fit."""
        for number in range(1, _MOST_ROUNDS + 1):
            before = await self._state(server, partial, join)
            states = {join.event_id: before, **await self._gaps(server, partial)}
            if await self._settle(partial, states, is_last=number == _MOST_ROUNDS):
                return

    async def _settle(self, partial: Partial, states: States, *, is_last: bool) -> bool:
        """Judge all again and let it stand; whether it does, or the states are to be asked anew."""

        async def settle(conn: OwnConnection, _: RoomNid) -> bool:
            found = await self._rejudging.rejudge(conn, partial, states)
            if found is None:
                raise ResponseFormatError("by the state that we were told of, nobody here joined")
            if await self._rejudging.spread(conn, partial, found) and not is_last:
                return False
            await self._tell(conn, partial, found.group)
            await partial_rooms.settle(
                conn, partial, found.rows, found.groups, found.group.nid, found.tips
            )
            self._means.heads.drop(partial.room)
            size = found.group.size
            log.info("all members of a room are known", room=partial.room_id, size=size)
            return True

        return await self._claims.doing(partial.room_id, settle)

    async def _state(
        self, server: ServerName, partial: Partial, event: Event
    ) -> dict[tuple[str, str], EventID]:
        place = (partial.room_id, partial.room, event.version, event.event_id)
        state = await self._receiving.state_before(server, *place)
        if CREATE not in state:
            raise ResponseFormatError("a state without a beginning")
        return state

    async def _gaps(self, server: ServerName, partial: Partial) -> States:
        async with self._process.database.reader() as conn:
            nids = await partial_rooms.provisional(conn, partial.room, partial.join)
            stored = (await received.by_nids(conn, nids)).values()
            parents = {parent for one in stored for parent in one.event.prev_events}
            here = await received.places(conn, parents)
        missing = {parent for parent in parents if not here.get(parent)}
        gaps = [
            one.event
            for one in stored
            if missing & set(one.event.prev_events) and one.nid != partial.join
        ]
        found: dict[EventID, dict[tuple[str, str], EventID]] = {}
        for event in gaps[:_MOST_GAPS]:
            try:
                found[event.event_id] = await self._state(server, partial, event)
            except FederationError as error:
                log.debug("a state cannot be had", reason=str(error))
        return found

    async def _tell(self, conn: OwnConnection, partial: Partial, group: StateGroup) -> None:
        """Bring the current state as it is told to what it is now known to be."""
        now = await partial_rooms.current_state(conn, partial.room)
        known = group.entries()
        changed = [
            Entry(key, now.get(key), known.get(key))
            for key in {**now, **known}
            if now.get(key) != known.get(key)
        ]
        for start in range(0, len(changed), _TOLD_AT_ONCE):
            await self._tell_some(conn, partial.room, changed[start : start + _TOLD_AT_ONCE])

    async def _tell_some(
        self, conn: OwnConnection, room: RoomNid, entries: Sequence[Entry]
    ) -> None:
        numbers = self._process.numbers
        names = await received.state_keys(conn, [entry.key for entry in entries])
        people = {
            entry: UserID(names[entry.key][1])
            for entry in entries
            if names[entry.key][0] == "m.room.member"
        }
        users = await numbers.users.intern(conn, people.values())
        await numbers.servers.intern(conn, {domain_of(user) for user in people.values()})
        stored = await received.by_nids(conn, [entry.new for entry in people if entry.new])
        members = [
            Member(users[user], membership_of(stored[nid].event if entry.new else None), nid)
            for entry, user in people.items()
            if (nid := entry.new or entry.old)
        ]
        local = [users[u] for u in people.values() if domain_of(u) == self._process.server]
        self._process.committed(await partial_rooms.tell(conn, room, entries, members, local))
