"""A room while events of other servers are judged in it, and the states before and after them.

An event is judged by the state before it, which is the state after its parents, resolved if they
differ.

https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

from federation.auth import auth_events_for
from federation.decision import ALLOWED, Decision, Denied
from federation.events import Event, StateKey
from federation.identifiers import EventID
from federation.room_versions import RoomVersion
from federation.verdict import Evidence, Outcome, Ruling, judge
from homeserver.rooms import relating
from homeserver.rooms.heads import Head
from homeserver.rooms.intake import Means
from homeserver.rooms.interning import Nids
from homeserver.rooms.resolving import Resolving
from homeserver.storage import received
from homeserver.storage.batch import EventRow, Fate, GroupRow, RelationRow
from homeserver.storage.pool import Connection
from homeserver.storage.received import Stored
from homeserver.storage.state_groups import (
    GONE,
    EventNid,
    GroupNid,
    KeyNid,
    NewGroup,
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
_PLACED = -1
"""Stands for the order of an event that gets one with the batch."""

States = Mapping[EventID, Mapping[StateKey, EventID]]
"""The states before events whose parents are not all here; all of their events are stored."""


AS_NOW: Mapping[StateKey, EventID] = MappingProxyType({("", ""): EventID("")})
"""Given as a state before an event: the room's, as nobody tells another."""


class Judging:
    """Judges events in causal order, and makes the rows that they become.

    Args:
        conn: on which the room is claimed.
        means: as the intake has them.
        resolving: resolves states.
        head: of the room, which has a version.
        known: the events that those to be judged cite, as far as they are stored.
        policy: what the room's policy server says of events to be judged, if it does not agree.
        left_out: events that were left out before those to be judged; more are added. See `take`.

    """

    def __init__(
        self,
        conn: Connection,
        means: Means,
        resolving: Resolving,
        head: Head,
        known: dict[EventID, Stored],
        policy: Mapping[EventID, Decision] | None = None,
        left_out: set[EventID] | None = None,
    ) -> None:
        self._conn = conn
        self._policy = policy or {}
        self._means = means
        self._resolving = resolving
        self._head = head
        self.known = known
        """Events that were looked at, new ones too."""
        self.rows: list[EventRow] = []
        """Of the events that were judged."""
        self.groups: list[GroupRow] = []
        """Of the states that were made, which are written with the events."""
        self._new_groups: dict[GroupNid, StateGroup] = {}
        self._left_out = set() if left_out is None else left_out

    @property
    def until(self) -> int | None:
        """How long what is redacted now is kept, if it is."""
        return self._means.until

    @property
    def current(self) -> StateGroup | None:
        """The state of the room when judging began."""
        return self._head.group

    def is_placed(self, event_id: EventID) -> bool:
        """Whether the event has its place in the room, or gets one with this batch."""
        stored = self.known.get(event_id)
        return stored is not None and stored.order is not None

    def _is_elsewhere(self, event_id: EventID) -> bool:
        """Whether the event is known, and of another room."""
        stored = self.known.get(event_id)
        return stored is not None and stored.room != self._head.room

    async def take(
        self, nids: Nids, event: Event, states: States, current: StateGroup | None
    ) -> Ruling | None:
        """Judge an event that came; `None` if what it builds on was left out.

        Whoever is refused by a state that another server told us is left out: perhaps the server
        lied. The event may come again, by a server that tells another state. So may one whose state
        nobody was asked for because not all members were known, if they are by now.
        """
        is_told = bool(states.get(event.event_id))
        builds_on = (*event.prev_events, *event.auth_events)
        builds_on_left_out = not self._left_out.isdisjoint(builds_on)
        if not is_told and (builds_on_left_out or self.is_overtaken([event], states)):
            self._left_out.add(event.event_id)
            return None
        before = await self.state_before(event, states)
        if is_told:
            ruling = await self._ruling(event, before, current)
            if ruling.outcome is Outcome.REJECTED:
                self._left_out.add(event.event_id)
                return ruling
        return await self.judge(nids, event, before, current)

    def is_overtaken(self, events: Iterable[Event], states: States) -> bool:
        """Whether any of the events was to be judged by what was known, and more is by now."""
        return self._head.partial is None and any(states.get(e.event_id) == {} for e in events)

    async def judge(
        self, nids: Nids, event: Event, before: StateGroup | None, current: StateGroup | None
    ) -> Ruling:
        """Judge an event by the state before it and, unless it is of the past, the current one."""
        ruling = await self._ruling(event, before, current)
        fate = FATES[ruling.outcome]
        key = None if event.state_key is None else nids.keys[(event.type, event.state_key)]
        nid = nids.events[event.event_id]
        group = before.nid if before else None
        room = self._head.room
        self.known[event.event_id] = Stored(nid, room, _PLACED, key, group, fate, event)
        is_member = event.type == "m.room.member" and event.state_key is not None
        self.rows.append(
            EventRow(
                room=room,
                event=nid,
                key=key,
                group=group,
                ts=event.origin_server_ts,
                depth=event.depth,
                fate=fate,
                member=nids.users.get(event.state_key or "") if is_member else None,
                auth=[nids.events[cited] for cited in event.auth_events],
                json=event.json,
            )
        )
        return ruling

    def relations(self, nids: Nids) -> list[RelationRow]:
        """What those of the events that were accepted are to others."""
        return list(relating.rows(self.accepted(), nids.events))

    def accepted(self) -> list[Event]:
        """Those of the events that were accepted, in their order."""
        events = {stored.nid: stored.event for stored in self.known.values()}
        return [events[row.event] for row in self.rows if row.fate is Fate.ACCEPTED]

    async def _ruling(
        self, event: Event, before: StateGroup | None, current: StateGroup | None
    ) -> Ruling:
        if any(map(self._is_elsewhere, event.prev_events)):
            # Its state would be the other room's, with whoever rules there.
            denial = Denied("prev_events.room", "builds on an event of another room")
            return Ruling(event, Outcome.REJECTED, denial)
        if current is not None:
            current = await self._with_cited_members(event, current)
        return judge(event, await self._evidence(event, before, current))

    async def _evidence(
        self, event: Event, before: StateGroup | None, current: StateGroup | None
    ) -> Evidence:
        auth = [self.known[cited] for cited in event.auth_events if cited in self.known]
        keys = [*auth_events_for(event), CREATE]
        create = next((self.known[i] for i in creates(self._head) if i in self.known), None)
        return Evidence(
            auth_events=[stored.event for stored in auth],
            create=create.event if create else None,
            rejected={s.event.event_id for s in auth if s.fate is Fate.REJECTED},
            state_before=await self.entries(before, keys),
            current_state=await self.entries(current, keys) if current is not None else None,
            policy=self._policy.get(event.event_id, ALLOWED),
        )

    async def state_before(self, event: Event, states: States) -> StateGroup | None:
        """The state after the parents, or the one that was given."""
        if event.event_id in states:
            before = await self._given(states[event.event_id])
        else:
            before = await self.after_all(event.prev_events)
        if before is None and self._head.partial is not None:
            join = (await self.stored([self._head.partial]))[self._head.partial]
            before = await self._group(join.group)
        return before and await self._with_cited_members(event, before)

    async def _with_cited_members(self, event: Event, group: StateGroup) -> StateGroup:
        """As long as not all members are known, those are believed whom the event cites.

        It is judged again when they are.
        """
        if self._head.partial is None:
            return group
        cited = {
            (s.event.type, s.event.state_key or ""): s.nid
            for s in (self.known[i] for i in event.auth_events if i in self.known)
            if s.event.type == "m.room.member" and s.fate is Fate.ACCEPTED
        }
        keys = await self._means.numbers.state_keys.intern(self._conn, cited)
        new = {keys[name]: nid for name, nid in cited.items() if group.find(keys[name]) is None}
        return await self._changed(group, new) if new else group

    async def after_all(self, events: Iterable[EventID]) -> StateGroup | None:
        """The one state after several events."""
        groups = [
            group
            for event_id in dict.fromkeys(events)
            if (group := await self._after(event_id)) is not None
        ]
        different = list({group.digest: group for group in groups}.values())
        if len(different) < 2:
            return different[0] if different else None
        return await self._resolved(different)

    async def _resolved(self, groups: Sequence[StateGroup]) -> StateGroup:
        # State resolution reads events from the disk: those of this batch go there before it.
        await received.add_outliers(self._conn, self.rows)
        version, room = version_of(self._head), self._head.room
        base = max(groups, key=lambda group: group.size)
        others = [group for group in groups if group is not base]
        entries = await self._resolving.resolve(self._conn, room, [base, *others], version)
        differing = {key for group in others for key in changes_between(base, group)}
        return await self._changed(base, {key: entries.get(key, GONE) for key in differing})

    async def _given(self, state: Mapping[StateKey, EventID]) -> StateGroup | None:
        if state is AS_NOW:
            return self._head.group
        if not state:
            return None
        keys = await self._means.numbers.state_keys.intern(self._conn, state)
        events = await self._means.numbers.events.intern(self._conn, state.values())
        entries = {keys[key]: events[event] for key, event in state.items()}
        now = self._head.group
        if now is None:
            return await self._keep(first_group(entries, self._means.hash_key), None)
        changes = {key: GONE for key in now.entries() if key not in entries}
        return await self._changed(now, changes | entries)

    async def _after(self, event_id: EventID) -> StateGroup | None:
        """The state after an event that is here; a rejected one changes nothing."""
        stored = self.known.get(event_id)
        if stored is None or stored.order is None or self._is_elsewhere(event_id):
            return None
        group = await self._group(stored.group)
        if stored.key is None or stored.fate is Fate.REJECTED:
            return group
        entry = {stored.key: stored.nid}
        if group is None:
            return await self._keep(first_group(entry, self._means.hash_key), None)
        return await self._changed(group, entry)

    async def _group(self, nid: GroupNid | None) -> StateGroup | None:
        if nid is None:
            return None
        if nid in self._new_groups:
            return self._new_groups[nid]
        return (await self._means.states.load(self._conn, [nid]))[nid]

    async def _changed(self, group: StateGroup, changes: Mapping[KeyNid, EventNid]) -> StateGroup:
        new = group.after(changes, self._means.hash_key)
        return group if new is None else await self._keep(new, group)

    async def _keep(self, new: NewGroup, group: StateGroup | None) -> StateGroup:
        """Number a new group, or take an equal one: forks are often joined twice."""
        now = self._head.group
        if now is not None and now.digest == new.digest:
            return now
        digest = new.digest.to_bytes(16, "little")
        for other in self.groups:
            if other.digest == digest:
                return self._new_groups[other.group]
        (nid,) = await self._means.states.number(self._conn, 1)
        made = group.grown(new, nid) if group else numbered(new, nid)
        self._new_groups[nid] = made
        room = self._head.room
        self.groups.append(
            GroupRow(room, nid, new.parent, new.step, made.size, digest, new.records)
        )
        return made

    async def entries(
        self, group: StateGroup | None, keys: Collection[StateKey]
    ) -> dict[StateKey, Event]:
        """Entries of a state."""
        if group is None:
            return {}
        numbers = await self._means.numbers.state_keys.find(self._conn, keys)
        named = {
            key: event for key, nid in numbers.items() if (event := group.find(nid)) is not None
        }
        here = await self.stored(named.values())
        return {key: here[nid].event for key, nid in named.items() if nid in here}

    async def stored(self, wanted: Iterable[EventNid]) -> dict[EventNid, Stored]:
        """Those of the events that are stored, or in this batch; what is read becomes known."""
        here = {stored.nid: stored for stored in self.known.values()}
        missing = [nid for nid in wanted if nid not in here]
        if missing:
            more = await received.by_nids(self._conn, missing)
            here |= more
            self.known |= {stored.event.event_id: stored for stored in more.values()}
        return here


def version_of(head: Head) -> RoomVersion:
    """The room's version, which has to be known."""
    if head.version is None:
        raise ValueError("events for a room whose version is not known")
    return head.version


def cited_by(head: Head, events: Iterable[Event]) -> set[EventID]:
    """All that has to be looked up before the events can be judged."""
    wanted = {i for e in events for i in (e.event_id, *e.prev_events, *e.auth_events)}
    return wanted | {tip.event.event_id for tip in head.tips} | creates(head)


def creates(head: Head) -> set[EventID]:
    """The create event that the room's ID implies, in versions where it does."""
    if head.version is None or not head.version.room_id_is_create_id:
        return set()
    return {EventID("$" + head.room_id[1:])}
