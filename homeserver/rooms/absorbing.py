"""Events of other servers into a room: judged, placed, and written.

Whoever calls has verified the signatures and brought the ancestors. The room is claimed while its
events are judged, so that nobody else writes to it; each event is judged by the state before it,
which is the state after its parents, resolved if they differ.

https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from federation.auth import auth_events_for
from federation.decision import Denied
from federation.events import Event, StateKey
from federation.identifiers import EventID, RoomID, domain_of
from federation.room_versions import RoomVersion
from federation.verdict import Evidence, Outcome, Ruling, judge
from homeserver.rooms import redacting
from homeserver.rooms.heads import Head, Tip
from homeserver.rooms.intake import Means
from homeserver.rooms.resolving import resolve_groups
from homeserver.rooms.rows import Nids, intern, membership_of
from homeserver.storage import received
from homeserver.storage.batch import (
    Batch,
    ChangeRow,
    EventRow,
    Fate,
    GroupRow,
    MemberRow,
    RoomRow,
    ServerRow,
    append,
)
from homeserver.storage.events import claim_rooms, release_rooms
from homeserver.storage.numbers import RoomNid, ServerNid
from homeserver.storage.pool import Connection, Database
from homeserver.storage.received import Stored
from homeserver.storage.state_groups import (
    GONE,
    EventNid,
    GroupNid,
    KeyNid,
    StateGroup,
    changes_between,
    first_group,
    numbered,
)

FATES = {
    Outcome.ACCEPTED: Fate.ACCEPTED,
    Outcome.SOFT_FAILED: Fate.SOFT_FAILED,
    Outcome.REJECTED: Fate.REJECTED,
}
CREATE: StateKey = ("m.room.create", "")
_AT_ONCE = 50
_TRIES = 5
_LOCK_TIMEOUT = "10s"

States = Mapping[EventID, Mapping[StateKey, EventID]]
"""The states before events whose parents are not all here; all of their events are stored."""


@dataclass(slots=True)
class _Room:
    """A room while events are added to it."""

    head: Head
    version: RoomVersion
    group: StateGroup | None
    tips: dict[EventID, Tip]
    known: dict[EventID, Stored]
    """Events that were looked at, new ones too."""
    batch: Batch = field(default_factory=Batch)
    new_groups: dict[GroupNid, StateGroup] = field(default_factory=dict)
    """Groups that are written with the batch."""


class Absorbing:
    """Writes other servers' events; with a connection of its own for as long as one is used."""

    def __init__(self, database: Database, means: Means) -> None:
        self._database = database
        self._means = means
        self._locks: dict[RoomID, asyncio.Lock] = {}

    async def absorb(
        self,
        room_id: RoomID,
        events: Sequence[Event],
        states: States | None = None,
        *,
        is_fresh: bool = False,
    ) -> dict[EventID, Ruling]:
        """Judge events, in causal order, and write them; those that are here already are left out.

        Args:
            room_id: the room of all of them, which we are in.
            events: whose signatures are good.
            states: before those of them whose parents are not all here.
            is_fresh: whether the room begins anew with them, whatever it was when we left it.

        """
        lock = self._locks.setdefault(room_id, asyncio.Lock())
        rulings: dict[EventID, Ruling] = {}
        async with lock:
            conn = await self._database.connect(lock_timeout=_LOCK_TIMEOUT)
            try:
                for start in range(0, len(events), _AT_ONCE):
                    part = events[start : start + _AT_ONCE]
                    rulings |= await self._absorb(
                        conn, room_id, part, states or {}, is_fresh=is_fresh and not start
                    )
            finally:
                await conn.close()
        if not lock.locked():
            self._locks.pop(room_id, None)
        return rulings

    async def _absorb(
        self,
        conn: Connection,
        room_id: RoomID,
        events: Sequence[Event],
        states: States,
        *,
        is_fresh: bool,
    ) -> dict[EventID, Ruling]:
        means = self._means
        nid = (await means.numbers.rooms.intern(conn, [room_id]))[room_id]
        nids = await intern(conn, means.numbers, events)
        parents = {parent for event in events for parent in event.prev_events}
        await means.numbers.events.intern(conn, parents)
        for _ in range(_TRIES):
            await claim_rooms(conn, [nid])
            try:
                await means.heads.drop_old(conn, [nid])
                room = await self._room(conn, nid, events)
                if is_fresh:
                    room.tips, room.group = {}, None
                rulings = await self._add_all(conn, room, nids, events, states)
                if not room.batch.events:
                    return rulings
                written = await append(conn, room.batch)
                if written:
                    means.committed(max(written.values()))
                    await self._settle(conn, room, nid, written)
                    return rulings
                means.heads.drop(nid)
            finally:
                await release_rooms(conn)
        raise TimeoutError("the room was written to by somebody else all the time")

    async def _room(self, conn: Connection, nid: RoomNid, events: Sequence[Event]) -> _Room:
        keys = {key for event in events for key in auth_events_for(event)}
        head = (await self._means.heads.get(conn, {nid: [*keys, CREATE]}))[nid]
        if head.version is None:
            raise ValueError("events for a room whose version is not known")
        wanted = {event.event_id for event in events}
        wanted |= {cited for e in events for cited in (*e.prev_events, *e.auth_events)}
        wanted |= {tip.event.event_id for tip in head.tips}
        wanted |= _creates(head)
        known = await received.by_ids(conn, wanted)
        tips = {tip.event.event_id: tip for tip in head.tips}
        return _Room(head, head.version, head.group, tips, known)

    async def _add_all(
        self,
        conn: Connection,
        room: _Room,
        nids: Nids,
        events: Sequence[Event],
        states: States,
    ) -> dict[EventID, Ruling]:
        rulings = {}
        for event in events:
            stored = room.known.get(event.event_id)
            if stored is None or stored.order is None:
                before = await self._state_before(conn, room, event, states)
                rulings[event.event_id] = await self._add(conn, room, nids, event, before)
        if room.group is None:
            room.batch.events.clear()  # nothing was accepted that a room could begin with
        elif room.batch.events:
            await self._finish(conn, room, room.group)
        return rulings

    async def _state_before(
        self, conn: Connection, room: _Room, event: Event, states: States
    ) -> StateGroup | None:
        """The state after the parents, or the one that was given."""
        if event.event_id in states:
            return await self._given(conn, room, states[event.event_id])
        groups = [
            group
            for parent in dict.fromkeys(event.prev_events)
            if (group := await self._after(conn, room, parent)) is not None
        ]
        return await self._merged(conn, room, groups)

    async def _given(
        self, conn: Connection, room: _Room, state: Mapping[StateKey, EventID]
    ) -> StateGroup | None:
        keys = await self._means.numbers.state_keys.intern(conn, state)
        events = await self._means.numbers.events.intern(conn, state.values())
        entries = {keys[key]: events[event] for key, event in state.items()}
        return await self._new_group(conn, room, entries) if entries else None

    async def _after(self, conn: Connection, room: _Room, event_id: EventID) -> StateGroup | None:
        """The state after an event that is here; a rejected one changes nothing."""
        stored = room.known.get(event_id)
        if stored is None or stored.order is None:
            return None
        group = await self._group(conn, room, stored.group)
        if stored.key is None or stored.fate is Fate.REJECTED:
            return group
        if group is None:
            return await self._new_group(conn, room, {stored.key: stored.nid})
        return await self._changed(conn, room, group, {stored.key: stored.nid})

    async def _group(
        self, conn: Connection, room: _Room, nid: GroupNid | None
    ) -> StateGroup | None:
        if nid is None:
            return None
        if nid in room.new_groups:
            return room.new_groups[nid]
        return (await self._means.states.load(conn, [nid]))[nid]

    async def _merged(
        self, conn: Connection, room: _Room, groups: Sequence[StateGroup]
    ) -> StateGroup | None:
        """One state of several."""
        different = list({group.digest: group for group in groups}.values())
        if len(different) < 2:
            return different[0] if different else None
        await self._store_waiting(conn, room)
        entries = await resolve_groups(conn, different, room.version)
        base = max(different, key=lambda group: group.size)
        now = base.entries()
        changes = {key: event for key, event in entries.items() if now.get(key) != event}
        changes |= {key: GONE for key in now if key not in entries}
        return await self._changed(conn, room, base, changes)

    async def _store_waiting(self, conn: Connection, room: _Room) -> None:
        """State resolution reads events from the disk: those of this batch go there before it."""
        await received.add_outliers(conn, room.batch.events)

    async def _changed(
        self,
        conn: Connection,
        room: _Room,
        group: StateGroup,
        changes: Mapping[KeyNid, EventNid],
    ) -> StateGroup:
        new = group.after(changes, self._means.hash_key)
        if new is None:
            return group
        (nid,) = await self._means.states.number(conn, 1)
        return self._keep(room, group.grown(new, nid), new.parent, new.records, new.step)

    async def _new_group(
        self, conn: Connection, room: _Room, entries: Mapping[KeyNid, EventNid]
    ) -> StateGroup:
        new = first_group(entries, self._means.hash_key)
        (nid,) = await self._means.states.number(conn, 1)
        return self._keep(room, numbered(new, nid), new.parent, new.records, new.step)

    def _keep(
        self,
        room: _Room,
        group: StateGroup,
        parent: GroupNid | None,
        records: bytes,
        step: int,
    ) -> StateGroup:
        digest = group.digest.to_bytes(16, "little")
        room.new_groups[group.nid] = group
        room.batch.groups.append(
            GroupRow(room.head.room, group.nid, parent, step, group.size, digest, records)
        )
        return group

    async def _add(
        self,
        conn: Connection,
        room: _Room,
        nids: Nids,
        event: Event,
        before: StateGroup | None,
    ) -> Ruling:
        auth = [room.known[cited] for cited in event.auth_events if cited in room.known]
        keys = [*auth_events_for(event), CREATE]
        create = next((room.known[i] for i in _creates(room.head) if i in room.known), None)
        evidence = Evidence(
            auth_events=[stored.event for stored in auth],
            create=create.event if create else None,
            rejected={s.event.event_id for s in auth if s.fate is Fate.REJECTED},
            state_before=await self._entries(conn, room, before, keys),
            current_state=await self._entries(conn, room, room.group, keys)
            if room.group is not None
            else None,
        )
        ruling = judge(event, evidence)
        fate = FATES[ruling.outcome]
        key = nids.keys.get((event.type, event.state_key)) if event.is_state else None  # type: ignore[arg-type]
        nid = nids.events[event.event_id]
        is_member = event.type == "m.room.member" and event.state_key is not None
        order = -1  # a place, which one is known once it is written
        room.known[event.event_id] = Stored(
            nid, room.head.room, order, key, before.nid if before else None, fate, event
        )
        room.batch.events.append(
            EventRow(
                room=room.head.room,
                event=nid,
                key=key,
                group=before.nid if before else None,
                ts=event.origin_server_ts,
                depth=event.depth,
                fate=fate,
                member=nids.users.get(event.state_key or "") if is_member else None,
                auth=[nids.events[cited] for cited in event.auth_events],
                json=event.json,
            )
        )
        if fate is Fate.ACCEPTED:
            for parent in event.prev_events:
                room.tips.pop(parent, None)
            room.tips[event.event_id] = Tip(nid, event)
            room.group = await self._current(conn, room)
        return ruling

    async def _entries(
        self, conn: Connection, room: _Room, group: StateGroup | None, keys: Iterable[StateKey]
    ) -> dict[StateKey, Event]:
        """Entries of a state."""
        if group is None:
            return {}
        numbers = await self._means.numbers.state_keys.find(conn, keys)
        named = {
            key: event for key, nid in numbers.items() if (event := group.find(nid)) is not None
        }
        here = {stored.nid: stored.event for stored in room.known.values()}
        missing = [nid for nid in named.values() if nid not in here]
        if missing:
            for nid, stored in (await received.by_nids(conn, missing)).items():
                here[nid] = stored.event
                room.known[stored.event.event_id] = stored
        return {key: here[nid] for key, nid in named.items() if nid in here}

    async def _current(self, conn: Connection, room: _Room) -> StateGroup | None:
        """The state after all tips."""
        groups = [
            group for tip in room.tips if (group := await self._after(conn, room, tip)) is not None
        ]
        return await self._merged(conn, room, groups)

    async def _finish(self, conn: Connection, room: _Room, group: StateGroup) -> None:
        """Add the rows of what the room has become, with all that differs from what it was."""
        head, batch = room.head, room.batch
        last = batch.events[-1].event
        changes = changes_between(head.group, group) if head.group else group.entries()
        names = await received.state_keys(conn, changes)
        await self._add_changes(conn, room, changes, names, last)
        await self._add_redacted(conn, room, group)
        batch.rooms.append(
            RoomRow(
                head.room,
                head.number,
                room.version.name,
                group.nid,
                [tip.nid for tip in room.tips.values()],
            )
        )

    async def _add_redacted(self, conn: Connection, room: _Room, group: StateGroup) -> None:
        accepted = [
            stored.event
            for row in room.batch.events
            if row.fate is Fate.ACCEPTED
            and (stored := next(s for s in room.known.values() if s.nid == row.event))
        ]
        named = redacting.targets_of(accepted)
        if named:
            targets = await received.by_ids(conn, named)
            keys = [CREATE, ("m.room.power_levels", "")]
            state = await self._entries(conn, room, group, keys)
            numbers = {s.event.event_id: s.nid for s in room.known.values()}
            room.batch.redacted += redacting.rows(room.head.room, accepted, numbers, targets, state)

    async def _add_changes(
        self,
        conn: Connection,
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
        stored = await self._stored(conn, room, wanted)
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
                after = stored[now].event if now is not None and now in stored else None
                before_nid = old[key]
                before = stored[before_nid].event if before_nid in stored else None
                membership = membership_of(after)
                batch.members.append(MemberRow(head.room, came_with, users[user_id], membership))
                delta = _is_joined(after) - _is_joined(before)
                server = servers[domain_of(user_id)]
                counts[server] = counts.get(server, 0) + delta
        batch.servers += [ServerRow(head.room, s, delta) for s, delta in counts.items() if delta]

    async def _stored(
        self, conn: Connection, room: _Room, wanted: Iterable[EventNid]
    ) -> dict[EventNid | None, Stored]:
        here: dict[EventNid | None, Stored] = {s.nid: s for s in room.known.values()}
        missing = [nid for nid in wanted if nid not in here]
        if missing:
            more = await received.by_nids(conn, missing)
            here.update((stored.nid, stored) for stored in more.values())
        return here

    async def _settle(
        self, conn: Connection, room: _Room, nid: RoomNid, written: Mapping[EventNid, int]
    ) -> None:
        """Note which parents are missing, and forget the head, which is of the past now."""
        self._means.heads.drop(nid)
        missing: dict[EventNid, int] = {}
        for row in room.batch.events:
            event = next(s.event for s in room.known.values() if s.nid == row.event)
            absent = [
                p for p in event.prev_events if p not in room.known or room.known[p].order is None
            ]
            if absent and row.fate is Fate.ACCEPTED:
                numbers = await self._means.numbers.events.find(conn, absent)
                missing |= dict.fromkeys(numbers.values(), written[row.event] << 24)
        if missing:
            await received.note_missing(conn, nid, missing)


def refusal_of(ruling: Ruling | None) -> Denied | None:
    """Why an event is not part of the room as everybody sees it; `None` if it is."""
    if ruling is None or ruling.outcome is Outcome.ACCEPTED:
        return None
    return ruling.denial or Denied("event.refused", "the event was refused")


def _creates(head: Head) -> set[EventID]:
    """The create event that the room's ID implies, in versions where it does."""
    if head.version is None or not head.version.room_id_is_create_id:
        return set()
    return {EventID("$" + head.room_id[1:])}


def _is_joined(event: Event | None) -> int:
    return int(event is not None and event.membership == "join")
