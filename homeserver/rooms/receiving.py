"""Events that other servers send, with whatever is missing before them.

https://spec.matrix.org/v1.19/server-server-api/#pdus
https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache

from federation.errors import FederationError
from federation.events import Event, Pdu, StateKey
from federation.graph import in_causal_order
from federation.identifiers import EventID, RoomID, ServerName, UserID, domain_of, is_user_id
from federation.room_versions import ROOM_VERSIONS, RoomVersion
from federation.server_acl import ServerACL
from federation.verdict import Outcome, Ruling
from homeserver.logs import get_logger
from homeserver.rooms import outliers
from homeserver.rooms.absorbing import Absorbing
from homeserver.rooms.being_here import BeingHere
from homeserver.rooms.continuing import Continuing
from homeserver.rooms.current import Current
from homeserver.rooms.drafting import POLICIES
from homeserver.rooms.heads import Head
from homeserver.rooms.judging import AS_NOW, States, version_of
from homeserver.rooms.policing import Policing
from homeserver.rooms.remote_events import RemoteEvents
from homeserver.rooms.stripped import servers_shown
from homeserver.storage import invites, received
from homeserver.storage.events import get_rooms
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process
from homeserver.storage.received import Ground

log = get_logger(__name__)

ACL: StateKey = ("m.room.server_acl", "")
MOST_MISSING = 100
"""Events between what we have and what came that are fetched one after the other."""
_ROUNDS = 5
_MOST_CHAINS = 10
"""Auth chains that are asked for because of some events."""
_SECONDS = 120.0
"""For all that is asked for because of one transaction in one room."""
_MOST_STATES = 5
"""Events of one transaction before which a whole state is asked for."""
_ONE_BY_ONE = 30
"""Events of a state that are asked for singly; beyond, the whole state is."""

_BEFORE = "it was rejected before"

Results = dict[EventID, str | None]
"""What became of each event: why it was refused, or nothing."""


class Receiving:
    """Takes events of other servers.

    Args:
        process: the one that this is part of.
        remote: asks other servers.
        absorbing: judges and writes.
        policing: asks what policy servers say.
        current: tells the states of rooms.
        continuing: writes what goes on where a room ends.

    """

    def __init__(
        self,
        process: Process,
        remote: RemoteEvents,
        absorbing: Absorbing,
        policing: Policing,
        current: Current,
        continuing: Continuing,
    ) -> None:
        self._continuing = continuing
        self._current = current
        self._policing = policing
        self._process = process
        self._being_here = BeingHere(process.server, process.tail.log)
        self._remote = remote
        self._absorbing = absorbing

    async def receive(
        self, origin: ServerName, room_id: RoomID, raw: Iterable[object]
    ) -> Results | None:
        """Take events of one room that a server sent, as far as they are what they should be.

        Answers what became of all that are well formed; `None` if this server is not in the room.
        """
        head, pdus = await self._read(room_id, raw)
        if head is None:
            return None
        if await self._take_unseen(origin, head, pdus):
            return {pdu.event.event_id: None for pdu in pdus}
        found = await self._stand(head, pdus)
        return None if found is None else await self._take(origin, pdus, *found)

    async def _take(
        self, origin: ServerName, pdus: Sequence[Pdu], head: Head, ground: Ground
    ) -> Results:
        """Take events that were looked up."""
        known = ground.places
        if not may_speak(head, origin):
            return {pdu.event.event_id: "your server may not speak here" for pdu in pdus}
        results: Results = {pdu.event.event_id: "not signed as it must be" for pdu in pdus}
        events = await self._remote.checked(pdus, [origin])
        results |= {e.event_id: _BEFORE if e.event_id in ground.rejected else None for e in events}
        new = [event for event in events if not known.get(event.event_id)]
        is_whole = _is_whole(new, known)
        is_plain = is_whole and not ground.are_early and not _is_policed(head)
        if new and is_plain and await self._continuing.take(head, new, ground):
            return results
        if new:
            add = self._absorb if is_whole else self._add
            rulings = await add(origin, head, new)
            results |= {i: _word(ruling) for i, ruling in rulings.items() if i in results}
            results |= await self._lost({event.event_id for event in new} - rulings.keys())
        return results

    async def _read(self, room_id: RoomID, raw: Iterable[object]) -> tuple[Head | None, list[Pdu]]:
        """The room, as it was a moment ago, and what came and is well formed."""
        async with self._process.database.perhaps() as conn:
            head = await self._current.late_head(conn, room_id, [ACL, *POLICIES])
        if head is None:
            return None, []
        return head, await self._remote.read(version_of(head), raw, room_id)

    async def _take_unseen(self, origin: ServerName, head: Head, pdus: Sequence[Pdu]) -> bool:
        """Write what goes on where the room ends without looking anything up; whether it did."""
        named = {pdu.event.event_id for pdu in pdus}
        tips = {tip.event.event_id for tip in head.tips}
        if len(named) < len(pdus) or not any(set(p.event.prev_events) == tips for p in pdus):
            return False
        if any(map(self._process.numbers.events.knows, named)):
            return False
        if _is_policed(head) or not may_speak(head, origin):
            return False
        if not await self._being_here.is_sure(head.room):
            return False
        events = await self._remote.checked(pdus, [origin])
        return len(events) == len(pdus) and await self._continuing.take_unseen(head, events)

    async def _stand(self, head: Head, pdus: Sequence[Pdu]) -> tuple[Head, Ground] | None:
        """The room as it is now, and what is here of what came and of its cites."""
        named = [(e.event_id, *e.prev_events, *e.auth_events) for e in (p.event for p in pdus)]
        ids = {event_id for names in named for event_id in names}
        reached = self._being_here.reached
        async with self._process.database.reader() as conn:
            ground = await received.ground(conn, head.room, self._process.server, ids)
            now: Head | None = head
            if ground.head != head.number:
                now = await self._current.head(conn, head.room_id, [ACL, *POLICIES])
        if now is None or not ground.has_server:
            return None
        self._being_here.learn(head.room, reached)
        return now, ground

    async def _add(
        self, origin: ServerName, head: Head, new: Sequence[Event]
    ) -> dict[EventID, Ruling]:
        """Bring what is missing before some new events, and write them all.

        It is done again if all members of the room came to be known meanwhile.
        """
        able, states = await self._bring(origin, head, new)
        rulings = await self._absorb(origin, head, able, states)
        unjudged = {i for i, state in (states or {}).items() if not state} - rulings.keys()
        if unjudged:
            able, states = await self._bring(origin, head, new)
            rulings |= await self._absorb(origin, head, able, states)
        return rulings

    async def _bring(
        self, origin: ServerName, head: Head, new: Sequence[Event]
    ) -> tuple[list[Event], States | None]:
        """Those of some new events that can be judged, with what was missing before them."""
        place = (origin, head.room_id, head.room, version_of(head))
        timer = asyncio.timeout(_SECONDS)
        try:
            async with timer:
                events = await self._with_missing(*place, new)
                return await self.grounded(*place, events, is_live=True)
        except TimeoutError:
            if not timer.expired():
                raise
            return await self._as_they_are(new), None

    async def _as_they_are(self, events: Sequence[Event]) -> list[Event]:
        """Those of the events before which nothing is missing."""
        async with self._process.database.reader() as conn:
            groundless = await _unknown_auth_events(conn, events)
            missing = await _unknown_parents(conn, events)
        return _reachable(in_causal_order(events), (), missing, groundless)

    async def _absorb(
        self,
        origin: ServerName,  # noqa: ARG002 - as `_add`
        head: Head,
        events: Sequence[Event],
        states: States | None = None,
    ) -> dict[EventID, Ruling]:
        """Write events whose ancestors are all here, or are among them."""
        ordered = in_causal_order(events)
        policy = await self._policing.decisions(head.room_id, ordered) if _is_policed(head) else {}
        return await self._absorbing.absorb(head.room_id, ordered, states, policy=policy)

    async def _lost(self, unjudged: Collection[EventID]) -> Results:
        """Those of the events that cannot be judged; the others came another way meanwhile."""
        if not unjudged:
            return {}
        async with self._process.database.reader() as conn:
            known = await received.by_ids(conn, unjudged)
        lost = [i for i in unjudged if i not in known or known[i].order is None]
        return dict.fromkeys(lost, "what it builds on cannot be had")

    async def take_back_invitations(
        self, origin: ServerName, room_id: RoomID, raw: Iterable[object]
    ) -> Results:
        """Of a room that we are not in, all that concerns us is that an invitation stands no more.

        Only whoever invited can take it back: nobody here can judge what others may do there. A
        knock is denied by somebody of a server whose people made what the room was shown by. What
        cites something else as the user's membership was before: it may come late.
        """
        results: Results = {}
        for one in raw:
            user_id = one.get("state_key") if isinstance(one, dict) else None
            if not isinstance(user_id, str) or not is_user_id(user_id):
                continue
            async with self._process.database.reader() as conn:
                known = await invites.find(conn, room_id, UserID(user_id))
                if known is None or known.version not in ROOM_VERSIONS:
                    continue
                told = await invites.stripped_states(conn, [known.room], known.user)
            is_knock = known.sender == user_id
            shown = servers_shown(told.get(known.room, b"[]")) if is_knock else ()
            version = ROOM_VERSIONS[known.version]
            for event in await self._remote.verified(version, [one], room_id, [origin]):
                may = event.sender == known.sender or domain_of(event.sender) in shown
                ends = event.membership in {"leave", "ban"}
                if ends and may and known.event_id in event.auth_events:
                    async with self._process.database.reader() as conn:
                        nids = await self._process.numbers.events.intern(conn, [event.event_id])
                        gone = await invites.remove(conn, known, event, nids[event.event_id])
                    self._process.committed(gone)
                    results[event.event_id] = None
        return results

    async def grounded(
        self,
        server: ServerName,
        room_id: RoomID,
        room: RoomNid,
        version: RoomVersion,
        events: Sequence[Event],
        *,
        is_live: bool = False,
    ) -> tuple[list[Event], States]:
        """Bring what events rest on: their auth events, and states where parents stay missing.

        Answers those of the events that can be judged then; the others may come again. `is_live`:
        whether they come now.
        """
        await self._bring_auth_events(server, room_id, room, version, events)
        async with self._process.database.reader() as conn:
            groundless = await _unknown_auth_events(conn, events)
            missing = await _unknown_parents(conn, events)
            is_partial = (await get_rooms(conn, [room]))[room].partial is not None
        gaps = [event for event in events if missing & set(event.prev_events)]
        if is_partial:
            # They are judged by what is known, and again when all members are.
            states: dict[EventID, Mapping[StateKey, EventID]] = {e.event_id: {} for e in gaps}
        else:
            states = await self._states(server, room_id, room, version, gaps)
            lost = [event for event in gaps if is_live and event.event_id not in states]
            states |= {event.event_id: AS_NOW for event in lost if self._puts_out(event)}
        return _reachable(events, states, missing, groundless), states

    def _puts_out(self, event: Event) -> bool:
        """Whether somebody is put out who is of this server.

        If nobody else here is in the room, nobody tells us any more what was before that: unless
        the room as we know it is enough, they would be in it for ever.
        """
        user = event.state_key or ""
        is_out = event.type == "m.room.member" and event.membership in {"leave", "ban"}
        return is_out and is_user_id(user) and domain_of(user) == self._process.server

    async def _with_missing(
        self,
        origin: ServerName,
        room_id: RoomID,
        room: RoomNid,
        version: RoomVersion,
        new: Sequence[Event],
    ) -> list[Event]:
        """The events with their missing ancestors, as far as those are few; in causal order."""
        found = {event.event_id: event for event in new}
        for _ in range(_ROUNDS):
            async with self._process.database.reader() as conn:
                missing = await _unknown_parents(conn, found.values())
                if not missing or len(found) > MOST_MISSING:
                    break
                tips = (await get_rooms(conn, [room]))[room].extremities
                earliest = [s.event.event_id for s in (await received.by_nids(conn, tips)).values()]
                # What is before all that is here is not new: it is fetched when somebody reads it.
                depth = await received.first_depth(conn, room)
            latest = [e.event_id for e in found.values() if missing & set(e.prev_events)]
            try:
                raw = await self._remote.missing(
                    origin, room_id, earliest, latest, MOST_MISSING, depth
                )
            except FederationError as error:
                log.debug("missing events cannot be had", reason=str(error))
                break
            more = await self._remote.verified(version, raw, room_id, [origin])
            before = len(found)
            found |= {event.event_id: event for event in more if event.depth >= depth}
            if len(found) == before:
                break
        async with self._process.database.reader() as conn:
            known = await received.by_ids(conn, found)
        return in_causal_order(
            e for i, e in found.items() if i not in known or known[i].order is None
        )

    async def _bring_auth_events(
        self,
        origin: ServerName,
        room_id: RoomID,
        room: RoomNid,
        version: RoomVersion,
        events: Sequence[Event],
    ) -> None:
        """Store the auth events that are neither here nor among the events."""
        async with self._process.database.reader() as conn:
            unknown = await _unknown_auth_events(conn, events)
        groundless = [event for event in events if unknown & set(event.auth_events)]
        pairs = [(e, s) for e in groundless for s in dict.fromkeys([origin, domain_of(e.sender)])]
        asked = 0
        for event, server in pairs:
            wanted = unknown & set(event.auth_events)
            if not wanted or server == self._process.server:
                continue
            if asked == _MOST_CHAINS:
                break
            asked += 1
            chain = await self._auth_events(server, room_id, version, event, wanted)
            async with self._process.database.reader() as conn:
                await outliers.store(conn, self._process.numbers, room, chain)
                unknown = await _unknown_auth_events(conn, events)

    async def _auth_events(
        self,
        server: ServerName,
        room_id: RoomID,
        version: RoomVersion,
        event: Event,
        wanted: Collection[EventID],
    ) -> list[Event]:
        """The auth chain of an event; where it is not told, or not whole, what is of few events."""
        found: dict[EventID, Event] = {}
        try:
            chain = await self._remote.event_auth(server, room_id, version, event.event_id)
            found = {one.event_id: one for one in chain}
        except FederationError as error:
            log.debug("an auth chain cannot be had", reason=str(error))
        for _ in range(_ROUNDS):
            missing = sorted({*wanted} - found.keys())
            if not missing or len(missing) > _ONE_BY_ONE:
                break
            try:
                singly = [one for i in missing for one in await self._remote.event(server, i)]
            except FederationError as error:
                log.debug("an auth event cannot be had", reason=str(error))
                break
            more = await self._remote.verified(version, singly, room_id, [server])
            found |= {one.event_id: one for one in more}
            cited = {i for one in more for i in one.auth_events}
            async with self._process.database.reader() as conn:
                wanted = cited - (await received.places(conn, cited)).keys()
        return list(found.values())

    async def _states(
        self,
        origin: ServerName,
        room_id: RoomID,
        room: RoomNid,
        version: RoomVersion,
        events: Sequence[Event],
    ) -> dict[EventID, Mapping[StateKey, EventID]]:
        """The states before events whose parents stay missing, as far as they can be had."""
        states: dict[EventID, Mapping[StateKey, EventID]] = {}
        for event in events[:_MOST_STATES]:
            try:
                state = await self.state_before(origin, room_id, room, version, event.event_id)
            except FederationError as error:
                log.debug("a state cannot be had", reason=str(error))
                continue
            if state:  # there is none before the beginning alone, and that has no parents
                states[event.event_id] = state
        return states

    async def state_before(
        self,
        origin: ServerName,
        room_id: RoomID,
        room: RoomNid,
        version: RoomVersion,
        event_id: EventID,
    ) -> dict[StateKey, EventID]:
        """The state before an event as another server knows it; all of it is stored then.

        Raises:
            FederationError: the server does not tell.

        """
        ids, chain = await self._remote.state_ids(origin, room_id, event_id)
        wanted = {*ids, *chain}
        async with self._process.database.reader() as conn:
            missing = wanted - (await received.places(conn, wanted)).keys()
        if len(missing) > _ONE_BY_ONE:
            events = await self._remote.state(origin, room_id, version, event_id)
        else:
            raw = [one for i in missing for one in await self._remote.event(origin, i)]
            events = await self._remote.verified(version, raw, room_id, [origin])
        async with self._process.database.reader() as conn:
            await outliers.store(conn, self._process.numbers, room, events)
            return await received.state_of(conn, room, ids)


async def _unknown_parents(conn: Connection, events: Iterable[Event]) -> set[EventID]:
    listed = list(events)
    parents = {p for e in listed for p in e.prev_events} - {e.event_id for e in listed}
    known = await received.by_ids(conn, parents)
    return {p for p in parents if p not in known or known[p].order is None}


async def _unknown_auth_events(conn: Connection, events: Iterable[Event]) -> set[EventID]:
    listed = list(events)
    cited = {i for e in listed for i in e.auth_events} - {e.event_id for e in listed}
    return cited - (await received.by_ids(conn, cited)).keys()


def _reachable(
    events: Sequence[Event],
    states: Collection[EventID],
    missing: Collection[EventID],
    groundless: Collection[EventID],
) -> list[Event]:
    """The events, but those before which something is missing, and what builds on them.

    Whoever cites what nobody can show is not rejected for it: that would stand for ever, when
    perhaps only the server lied that told us of it. The event may come again.

    Args:
        events: in causal order.
        states: of which events the state before them is known.
        missing: parents that are not here.
        groundless: auth events that are not here.

    """
    unreachable, unknown, able = set(missing), set(groundless), []
    for event in events:
        is_placed = event.event_id in states or not unreachable & set(event.prev_events)
        if is_placed and not unknown & set(event.auth_events):
            able.append(event)
        else:
            unreachable.add(event.event_id)
            unknown.add(event.event_id)
    return able


def may_speak(head: Head, server: ServerName) -> bool:
    """Whether the room's ACL, which the head knows, lets a server take part.

    https://spec.matrix.org/v1.19/server-server-api/#server-access-control-lists-acls
    """
    acl = head.known.get(ACL)
    return acl is None or _read_acl(acl.event).permits(server)


@lru_cache(maxsize=100)
def _read_acl(event: Event) -> ServerACL:
    """The ACL of an event, which may hold thousands of globs."""
    return ServerACL.from_content(event.content)


def _is_policed(head: Head) -> bool:
    return any(head.known.get(key) for key in POLICIES)


def _is_whole(events: Sequence[Event], known: Mapping[EventID, bool]) -> bool:
    """Whether nothing is missing before the events; of those known it is told if they are placed.

    What they cite for their authority needs no place.
    """
    here = {event.event_id for event in events}
    parents = {i for event in events for i in event.prev_events} - here
    cited = {i for event in events for i in event.auth_events} - here
    return cited <= known.keys() and all(known.get(parent) for parent in parents)


def _word(ruling: Ruling) -> str | None:
    """Only what was rejected is told: of soft failure "the event should not be mentioned"."""
    if ruling.outcome is Outcome.REJECTED:
        return ruling.denial.reason if ruling.denial else "rejected"
    return None
