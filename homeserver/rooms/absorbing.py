"""Live events of other servers into a room: judged, placed at its end, and written.

Whoever calls has verified the signatures and brought the ancestors. The room is claimed while its
events are judged, so that nobody else writes to it.

https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from federation.auth import auth_events_for
from federation.decision import Decision, Denied
from federation.events import Event, StateKey
from federation.identifiers import EventID, RoomID, domain_of
from federation.power_levels import PowerLevels
from federation.verdict import Outcome, Ruling
from homeserver.errors import NotFound
from homeserver.rooms import (
    clearing,
    lifetimes,
    notices,
    searchable,
    sticking,
    vanishing,
)
from homeserver.rooms.claims import Claims
from homeserver.rooms.drafting import Submission
from homeserver.rooms.heads import Head, Known, Tip
from homeserver.rooms.intake import Means
from homeserver.rooms.interning import Nids, intern
from homeserver.rooms.judging import CREATE, Judging, States, cited_by, version_of
from homeserver.rooms.mentions import calls_room
from homeserver.rooms.redacting_late import redacted_by
from homeserver.rooms.resolving import Resolving
from homeserver.rooms.rows import membership_of
from homeserver.rooms.sticking_late import accept_late
from homeserver.storage import invites, memberships, partial_rooms, received, redactions, sticky
from homeserver.storage.batch import (
    Batch,
    ChangeRow,
    Fate,
    LifetimeRow,
    MemberRow,
    Membership,
    MissingRow,
    MoveRow,
    RoomRow,
    SentRow,
    ServerRow,
    append,
)
from homeserver.storage.clearings import note_clearings
from homeserver.storage.events import get_sent
from homeserver.storage.numbers import RoomNid, ServerNid, UserNid
from homeserver.storage.pool import OwnConnection
from homeserver.storage.received import Stored
from homeserver.storage.state_groups import GONE, EventNid, KeyNid, StateGroup, changes_between

POWER_LEVELS: StateKey = ("m.room.power_levels", "")
_AT_ONCE = 50
_TRIES = 5
_MOST_OVERTAKEN = 100
"""Soft failed events in a row, about, through which it is seen what an event builds on."""


@dataclass(slots=True)
class _Room:
    """A room while events are added to its end."""

    head: Head
    judging: Judging
    group: StateGroup | None
    tips: dict[EventID, Tip]
    changed: Mapping[StateKey, EventNid] = field(default_factory=dict)
    """What is otherwise in the state than it was, by now."""
    batch: Batch = field(default_factory=Batch)
    awaited: Collection[EventNid] = ()
    """Events that redactions waited for."""
    policed: Collection[EventID] = ()
    """What the policy server of the room does not agree with."""


class _Facts(NamedTuple):
    """What is known of events beside themselves; see `Absorbing.absorb`."""

    states: States
    policy: Mapping[EventID, Decision]
    submission: Submission | None
    is_fresh: bool
    is_partial: bool
    left_out: set[EventID]
    """Those of the events that may come again, and what builds on them; see `Judging.take`."""


class Absorbing:
    """Writes other servers' events."""

    def __init__(self, claims: Claims, means: Means, resolving: Resolving) -> None:
        self._claims = claims
        self._means = means
        self._resolving = resolving

    async def absorb(
        self,
        room_id: RoomID,
        events: Sequence[Event],
        states: States | None = None,
        *,
        policy: Mapping[EventID, Decision] | None = None,
        submission: Submission | None = None,
        is_fresh: bool = False,
        is_partial: bool = False,
    ) -> dict[EventID, Ruling]:
        """Judge events, in causal order, and write them; those that are here already are left out.

        Args:
            room_id: the room of all of them, which we are in.
            events: whose signatures are good.
            states: before those of them whose parents are not all here.
            policy: what the room's policy server says of them, if it does not agree.
            submission: what they are made of; nothing is written if it is a repeat.
            is_fresh: whether the room begins anew with them, whatever it was when we left it;
                unless somebody here came into it meanwhile.
            is_partial: whether it is noted of the first one that not all members are known: it
                has to be so still.

        """
        rulings: dict[EventID, Ruling] = {}
        left_out: set[EventID] = set()
        for start in range(0, len(events), _AT_ONCE):
            part = events[start : start + _AT_ONCE]
            fresh = (is_fresh and not start, is_partial)
            facts = _Facts(states or {}, policy or {}, submission, *fresh, left_out)
            rulings |= await self._absorb(room_id, part, facts)
        return rulings

    async def _absorb(
        self, room_id: RoomID, events: Sequence[Event], facts: "_Facts"
    ) -> dict[EventID, Ruling]:
        async def absorb(conn: OwnConnection, room: RoomNid) -> dict[EventID, Ruling] | None:
            return await self._try(conn, room, events, facts)

        for _ in range(_TRIES):
            rulings = await self._claims.doing(room_id, absorb)
            if rulings is not None:
                return rulings
        raise TimeoutError("the room was written to by somebody else all the time")

    async def _try(
        self, conn: OwnConnection, nid: RoomNid, events: Sequence[Event], facts: "_Facts"
    ) -> dict[EventID, Ruling] | None:
        """Judge and write; `None` if somebody else wrote to the room meanwhile.

        If it is known when it is done again, nothing is left to do: all is written at once.
        """
        once = facts.submission.once if facts.submission else None
        if once and await get_sent(conn, {once}):
            return {}
        numbers = self._means.numbers
        nids = await intern(conn, numbers, events)
        await numbers.events.intern(conn, {p for e in events for p in e.prev_events})
        room = await self._room(conn, nid, events, facts)
        if facts.is_fresh and not await memberships.has_server(
            conn, nid, self._means.signer.server
        ):
            join = nids.events[events[0].event_id]
            if facts.is_partial and not await partial_rooms.is_noted(conn, nid, join):
                raise TimeoutError("it took so long that others take it to have failed")
            room.tips, room.group = {}, None
        elif room.group is None:
            return _too_late(facts)
        rulings = await self._add_all(conn, room, nids, events, facts.states)
        if not room.batch.events:
            return rulings
        if facts.submission:
            _add_sent(room.batch, facts.submission)
        return rulings if await self._write(conn, room, is_fresh=facts.is_fresh) else None

    async def _write(self, conn: OwnConnection, room: _Room, *, is_fresh: bool) -> bool:
        """Write all of it, or nothing."""
        batch = room.batch
        if batch.sticky:
            await sticky.note(conn, batch.sticky)
        await note_clearings(conn, batch, self._means.now())
        written = await (_begin if is_fresh else append)(conn, batch)
        self._means.heads.drop(room.head.room)
        if not written:
            return False
        if not (is_fresh or batch.redacted or batch.late):
            self._means.heads.put(_new_head(room))
        self._means.committed(max(written.values()) + len(batch.moves))
        if batch.clearings:
            self._means.clearing.set()
        if room.awaited:
            await redactions.forget_early(conn, room.awaited)
        await self._let_stick(conn, room)
        return True

    async def _room(
        self,
        conn: OwnConnection,
        nid: RoomNid,
        events: Sequence[Event],
        facts: "_Facts",
    ) -> _Room:
        keys = {key for event in events for key in auth_events_for(event)}
        head = (await self._means.heads.get(conn, {nid: [*keys, CREATE]}))[nid]
        known = await received.by_ids(conn, cited_by(head, events))
        given = (facts.policy, facts.left_out)
        judging = Judging(conn, self._means, self._resolving, head, known, *given)
        tips = {tip.event.event_id: tip for tip in head.tips}
        return _Room(head, judging, head.group, tips, policed=facts.policy.keys())

    async def _add_all(
        self,
        conn: OwnConnection,
        room: _Room,
        nids: Nids,
        events: Sequence[Event],
        states: States,
    ) -> dict[EventID, Ruling]:
        rulings = {}
        for event in events:
            if not room.judging.is_placed(event.event_id):
                ruling = await room.judging.take(nids, event, states, room.group)
                if ruling is not None:
                    rulings[event.event_id] = ruling
                    self._note_sticking(room, nids, ruling)
                    await self._place(conn, room, nids, ruling)
        # Without a group nothing was accepted that a room could begin with.
        if room.group is not None and room.judging.rows:
            room.batch.events += room.judging.rows
            room.batch.groups += room.judging.groups
            room.batch.relations += room.judging.relations(nids)
            await self._add_notable(room, nids)
            await self._add_clearings(room, nids)
            accepted = room.judging.accepted()
            room.batch.searchable += searchable.rows(accepted, nids.events)
            await self._add_missing(conn, room)
            await self._finish(conn, room, room.group)
        return rulings

    async def _add_notable(self, room: _Room, nids: Nids) -> None:
        accepted = room.judging.accepted()
        may: set[EventID] = set()
        if any(calls_room(event) for event in accepted):
            state = await room.judging.entries(room.group, [CREATE, POWER_LEVELS])
            levels = PowerLevels(state[CREATE], state.get(POWER_LEVELS))
            may = {e.event_id for e in accepted if notices.may_call_room(e, levels)}
        room.batch.notable += notices.rows(
            accepted, nids, self._means.signer.server, lambda event: event.event_id in may
        )

    def _note_sticking(self, room: _Room, nids: Nids, ruling: Ruling) -> None:
        """Add the row of an event that sticks, or may once it is judged again."""
        event = ruling.event
        if ruling.outcome is not Outcome.REJECTED and event.event_id not in room.policed:
            server, now = self._means.signer.server, self._means.now()
            room.batch.sticky += sticking.rows(room.head.room, [event], nids.events, server, now)
        if self._means.lets_vanish:
            room.batch.vanishing += vanishing.rows({nids.events[event.event_id]: event})

    async def _add_clearings(self, room: _Room, nids: Nids) -> None:
        asking = [event for event in room.judging.accepted() if clearing.asks(event)]
        if asking:
            state = await room.judging.entries(room.group, [CREATE, POWER_LEVELS])
            room.batch.clearings += clearing.rows(
                room.head.room, asking, nids.events, nids.users, state
            )

    async def _place(self, conn: OwnConnection, room: _Room, nids: Nids, ruling: Ruling) -> None:
        """Let the room end with an event, if it was accepted."""
        event = ruling.event
        if ruling.outcome is Outcome.ACCEPTED:
            for parent in await _overtaken(conn, room, event):
                room.tips.pop(parent, None)
            room.tips[event.event_id] = Tip(nids.events[event.event_id], event)
            room.group = await room.judging.after_all(room.tips)

    async def _finish(self, conn: OwnConnection, room: _Room, group: StateGroup) -> None:
        """Add the rows of what the room has become, with all that differs from what it was."""
        head, batch = room.head, room.batch
        last = batch.events[-1].event
        changes = changes_between(head.group, group) if head.group else group.entries()
        if changes:
            names = await received.state_keys(conn, changes)
            room.changed = {names[key]: nid for key, nid in changes.items()}
            await self._add_changes(conn, room, changes, names, last)
        await self._add_redacted(conn, room, group)
        await self._add_lifetime(room, group)
        extremities = [tip.nid for tip in room.tips.values()]
        version = version_of(head).name
        batch.rooms.append(RoomRow(head.room, head.number, version, group.nid, extremities))

    async def _add_redacted(self, conn: OwnConnection, room: _Room, group: StateGroup) -> None:
        """Add what is left of what is redacted by now, in whatever order it came."""
        judging, means = room.judging, self._means
        found = await redacted_by(conn, means.numbers, judging, group)
        events = {stored.nid: stored.event for stored in judging.known.values()}
        cleared = await clearing.late_rows(conn, means, room.head.room, judging.rows, events)
        room.batch.redacted += found.before
        room.batch.late += [*found.new, *cleared]
        room.awaited = found.awaited

    async def _add_lifetime(self, room: _Room, group: StateGroup) -> None:
        gone = {row.event for row in (*room.batch.redacted, *room.batch.late)}
        stored = await room.judging.stored(gone)
        types = {kind for kind, _ in room.changed} | {stored[nid].event.type for nid in gone}
        if any(map(lifetimes.is_about_lifetimes, types)):
            ids = {stored[nid].event.event_id for nid in gone}
            state = await room.judging.entries(group, lifetimes.KEYS)
            state = {key: event for key, event in state.items() if event.event_id not in ids}
            asked = lifetimes.asked_for(state.get)
            room.batch.lifetimes.append(LifetimeRow(room.head.room, asked))

    async def _add_changes(
        self,
        conn: OwnConnection,
        room: _Room,
        changes: Mapping[KeyNid, EventNid],
        names: Mapping[KeyNid, StateKey],
        last: EventNid,
    ) -> None:
        """Rows of changed entries, memberships and counts, each with an event of the batch."""
        head, batch = room.head, room.batch
        mine = {row.event for row in batch.events}
        members = {key for key, name in names.items() if name[0] == "m.room.member"}
        old = {key: head.group.find(key) if head.group else None for key in changes}
        wanted = {e for key in members for e in (changes[key], old[key]) if e}
        stored = await room.judging.stored(wanted)
        users = await self._means.numbers.users.intern(conn, {names[key][1] for key in members})
        servers = await self._means.numbers.servers.intern(
            conn, {domain_of(names[key][1]) for key in members}
        )
        counts: dict[ServerNid, int] = {}
        for key, new in changes.items():
            came_with = new if new in mine else last
            now = None if new == GONE else new
            batch.changes.append(ChangeRow(head.room, came_with, key, old[key], now))
            if key in members:
                user_id = names[key][1]
                after, before = _event(stored, now), _event(stored, old[key])
                membership = membership_of(after)
                own = now or came_with
                row = MemberRow(head.room, came_with, users[user_id], membership, own)
                batch.members.append(row)
                delta = _is_joined(after) - _is_joined(before)
                server = servers[domain_of(user_id)]
                counts[server] = counts.get(server, 0) + delta
        batch.servers += [ServerRow(head.room, s, delta) for s, delta in counts.items() if delta]
        ours = {users[names[key][1]] for key in members if self._is_ours(names[key][1])}
        batch.moves += moves_of(batch, ours)

    def _is_ours(self, user_id: str) -> bool:
        return domain_of(user_id) == self._means.signer.server

    async def _add_missing(self, conn: OwnConnection, room: _Room) -> None:
        """Add the parents that are not here, each with the first event that cites it."""
        events = {stored.nid: stored.event for stored in room.judging.known.values()}
        absent: dict[EventID, EventNid] = {}
        for row in room.judging.rows:
            parents = events[row.event].prev_events if row.fate is Fate.ACCEPTED else ()
            for parent in parents:
                if not room.judging.is_placed(parent):
                    absent.setdefault(parent, row.event)
        if absent:
            numbers = await self._means.numbers.events.find(conn, absent)
            room.batch.missing += [
                MissingRow(room.head.room, numbers[parent], nid) for parent, nid in absent.items()
            ]

    async def _let_stick(self, conn: OwnConnection, room: _Room) -> None:
        """Judge again what was soft failed and would stick, if somebody came into the room."""
        joins = any(row.membership is Membership.JOIN for row in room.batch.members)
        if joins and room.group is not None:
            now = self._means.now()
            pos = await accept_late(conn, room.judging, room.group, room.head.room, now)
            if pos is not None:
                self._means.committed(pos)


async def _begin(conn: OwnConnection, batch: Batch) -> dict[EventNid, int]:
    """Write what a room begins with: with that, and not without it, invitations are forgotten.

    Its state tells what was only told before.
    """
    transaction = conn.transaction()
    await transaction.start()
    for row in batch.rooms:
        await invites.forget(conn, row.room)
    # The clock comes last: it is everybody's. What fails ends the connection, as of each claim.
    written = await append(conn, batch)
    await (transaction.commit() if written else transaction.rollback())
    return written


def moves_of(batch: Batch, ours: Collection[UserNid]) -> list[MoveRow]:
    """Rows for the memberships that changed without an event of theirs in the batch.

    People of this server have one each, all the others none but the room's.
    """
    told = {(row.event, row.member) for row in batch.events}
    moved = [row for row in batch.members if (row.event, row.user) not in told]
    if not moved:
        return []
    room = moved[0].room
    return [MoveRow(room, None), *(MoveRow(room, m.user) for m in moved if m.user in ours)]


async def _overtaken(conn: OwnConnection, room: _Room, event: Event) -> set[EventID]:
    """What the event builds on, be it through events that are no part of the room's end."""
    found = set(event.prev_events)
    pending = list(found)
    while pending and len(found) < _MOST_OVERTAKEN:
        unknown = [i for i in pending if i not in room.judging.known]
        known = await received.by_ids(conn, unknown) if unknown else {}
        known |= {i: room.judging.known[i] for i in pending if i in room.judging.known}
        hidden = [stored for stored in known.values() if stored.fate is not Fate.ACCEPTED]
        pending = [i for s in hidden for i in s.event.prev_events if i not in found]
        found.update(pending)
    return found


def _too_late(facts: _Facts) -> dict[EventID, Ruling]:
    """The room was deleted meanwhile: nothing can happen in it. Raise if somebody here wants it."""
    if facts.submission:
        raise NotFound("there is no such room here")
    return {}


def refusal_of(ruling: Ruling | None) -> Denied | None:
    """Why an event is not part of the room as everybody sees it; `None` if it is."""
    if ruling is None or ruling.outcome is Outcome.ACCEPTED:
        return None
    return ruling.denial or Denied("event.refused", "the event was refused")


def _new_head(room: _Room) -> Head:
    """The room as it is once the batch is written."""
    head = room.head
    stored = {stored.nid: stored for stored in room.judging.known.values()}
    known: Known = dict(head.known)
    for key in known.keys() & room.changed.keys():
        nid = room.changed[key]
        if nid == GONE:
            known[key] = None
        elif nid in stored:
            known[key] = Tip(nid, stored[nid].event)
        else:
            del known[key]
    tips = tuple(room.tips.values())
    return replace(head, number=head.number + 1, group=room.group, tips=tips, known=known)


def _add_sent(batch: Batch, submission: Submission) -> None:
    last = batch.events[-1]
    if submission.once is not None and last.fate is Fate.ACCEPTED:
        row = SentRow(last.room, *submission.once, last.event, last.ts, submission.txn_id)
        batch.sent.append(row)


def _event(stored: Mapping[EventNid, Stored], nid: EventNid | None) -> Event | None:
    return stored[nid].event if nid is not None and nid in stored else None


def _is_joined(event: Event | None) -> int:
    return int(event is not None and event.membership == "join")
