"""From new events to the rows that are written with them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from federation.events import Event, StateKey
from federation.identifiers import EventID, domain_of
from federation.power_levels import PowerLevels
from homeserver.rooms import (
    clearing,
    lifetimes,
    notices,
    redacting,
    relating,
    searchable,
    sticking,
)
from homeserver.rooms.drafting import Work, Written
from homeserver.rooms.heads import Head, Known, Tip
from homeserver.rooms.interning import Nids
from homeserver.storage.batch import (
    Batch,
    ChangeRow,
    EventRow,
    Fate,
    GroupRow,
    LifetimeRow,
    MemberRow,
    Membership,
    RoomRow,
    SentRow,
    ServerRow,
)
from homeserver.storage.numbers import ServerNid
from homeserver.storage.received import Stored
from homeserver.storage.state_groups import (
    EventNid,
    GroupNid,
    KeyNid,
    first_group,
    numbered,
)

_MEMBERSHIPS = {
    "leave": Membership.LEAVE,
    "join": Membership.JOIN,
    "invite": Membership.INVITE,
    "knock": Membership.KNOCK,
    "ban": Membership.BAN,
}


def membership_of(event: Event | None) -> Membership:
    """What a membership event says; nothing is as good as having left."""
    said = event.membership if event is not None else None
    return _MEMBERSHIPS.get(said or "leave", Membership.LEAVE)


class RoomRows:
    """Fills the rows of one room, and knows the head that results from them."""

    def __init__(
        self,
        batch: Batch,
        work: Work,
        nids: Nids,
        groups: Iterator[GroupNid],
        hash_key: bytes,
        until: int | None,
    ) -> None:
        self._batch = batch
        self._redacted: set[EventID] = set()
        self._until = until
        self._work = work
        self._nids = nids
        self._groups = groups
        self._hash_key = hash_key
        self._room = work.head.room
        self._group = work.head.group
        self._lifetime = work.head.lifetime

    def fill(self, written: Iterable[Written], targets: Mapping[EventID, Stored]) -> Head:
        """Add the rows; answer the head of the room once they are written.

        `targets` are the events that are to be redacted.
        """
        for event in self._work.made:
            self._add_event(event)
        self._batch.relations += relating.rows(self._work.made, self._nids.events)
        self._batch.searchable += searchable.rows(self._work.made, self._nids.events)
        self._batch.notable += notices.rows(
            self._work.made, self._nids, self._work.signer.server, self._may_call
        )
        self._batch.sticky += sticking.rows(
            self._room, self._work.made, self._nids.events, self._work.signer.server, self._work.now
        )
        self._add_redacted(targets)
        self._add_lifetime(targets)
        self._batch.clearings += clearing.rows(
            self._room, self._work.made, self._nids.events, self._nids.users, self._state()
        )
        self._batch.servers += [ServerRow(self._room, *count) for count in self._joined().items()]
        for submission in written:
            self._add_sent(submission)
        return self._add_room()

    def _may_call(self, event: Event) -> bool:
        """Whether the sender may call the whole room: their message cites the power levels."""
        create = self._work.entry(("m.room.create", ""))
        if create is None:
            return False
        levels = PowerLevels(create, self._work.entry(("m.room.power_levels", "")))
        return notices.may_call_room(event, levels)

    def _add_redacted(self, targets: Mapping[EventID, Stored]) -> None:
        if targets:
            state = self._state()
            rows = list(
                redacting.rows(
                    self._room, self._work.made, self._nids.events, targets, state, self._until
                )
            )
            self._batch.redacted += rows
            names = {stored.nid: event_id for event_id, stored in targets.items()}
            self._redacted = {names[row.event] for row in rows}

    def _state(self) -> dict[StateKey, Event]:
        """The state as far as it is known."""
        known = {key: tip.event for key, tip in self._work.head.known.items() if tip}
        return known | self._work.changed

    def _add_lifetime(self, targets: Mapping[EventID, Stored]) -> None:
        redacted = [targets[event_id].event for event_id in self._redacted]
        if any(lifetimes.is_about_lifetimes(e.type) for e in (*self._work.made, *redacted)):
            self._lifetime = lifetimes.asked_for(self._unredacted)
            self._batch.lifetimes.append(LifetimeRow(self._room, self._lifetime))

    def _unredacted(self, key: StateKey) -> Event | None:
        event = self._work.entry(key)
        return None if event is None or event.event_id in self._redacted else event

    def _add_event(self, event: Event) -> None:
        nid = self._nids.events[event.event_id]
        before = self._group.nid if self._group else None
        key = self._change_state(event, nid, event.state_key)
        member = None if event.state_key is None else self._nids.users.get(event.state_key)
        self._batch.events.append(
            EventRow(
                room=self._room,
                event=nid,
                key=key,
                group=before,
                ts=event.origin_server_ts,
                depth=event.depth,
                fate=Fate.ACCEPTED,
                member=member if event.type == "m.room.member" else None,
                auth=[self._nids.events[cited] for cited in event.auth_events],
                json=event.json,
                new_id=event.event_id if event.event_id in self._nids.new else None,
            )
        )

    def _change_state(self, event: Event, nid: EventNid, state_key: str | None) -> KeyNid | None:
        if state_key is None:
            return None
        key = self._nids.keys[(event.type, state_key)]
        old = self._group.find(key) if self._group else None
        self._batch.changes.append(ChangeRow(self._room, nid, key, old, nid))
        self._grow_group({key: nid})
        if event.type == "m.room.member":
            membership = _MEMBERSHIPS[event.membership or "leave"]
            user = self._nids.users[state_key]
            self._batch.members.append(MemberRow(self._room, nid, user, membership, nid))
        return key

    def _grow_group(self, changes: Mapping[KeyNid, EventNid]) -> None:
        group = self._group
        new = (
            group.after(changes, self._hash_key) if group else first_group(changes, self._hash_key)
        )
        if new is None:
            return
        nid = next(self._groups)
        self._group = group.grown(new, nid) if group else numbered(new, nid)
        digest = new.digest.to_bytes(16, "little")
        self._batch.groups.append(
            GroupRow(self._room, nid, new.parent, new.step, new.size, digest, new.records)
        )

    def _joined(self) -> dict[ServerNid, int]:
        """How many more users of each server are joined than were."""
        counts: dict[ServerNid, int] = {}
        for (kind, user), event in self._work.changed.items():
            if kind == "m.room.member":
                old = self._work.head.known[(kind, user)]
                server = self._nids.servers[domain_of(user)]
                delta = (event.membership == "join") - (
                    old is not None and old.event.membership == "join"
                )
                counts[server] = counts.get(server, 0) + delta
        return {server: delta for server, delta in counts.items() if delta}

    def _add_sent(self, written: Written) -> None:
        once = written.submission.once
        event = self._nids.events.get(written.events[-1].event_id)
        # State that is as it was before is no new event: asked again, it is the same answer.
        if once is not None and event is not None:
            txn_id = written.submission.txn_id
            self._batch.sent.append(SentRow(self._room, *once, event, self._work.now, txn_id))

    def _add_room(self) -> Head:
        head, work = self._work.head, self._work
        if self._group is None:
            raise ValueError("a batch that leaves a room without state")
        known = {tip.event.event_id: tip.nid for tip in head.tips} | {**self._nids.events}
        tips = tuple(Tip(known[tip.event_id], tip) for tip in work.tips)
        extremities = [tip.nid for tip in tips]
        self._batch.rooms.append(
            RoomRow(self._room, head.number, work.version.name, self._group.nid, extremities)
        )
        changed: Known = {
            key: Tip(self._nids.events[event.event_id], event)
            for key, event in work.changed.items()
        }
        # What is redacted says less than it did: it is looked up again.
        unchanged = {
            key: tip
            for key, tip in head.known.items()
            if tip is None or tip.event.event_id not in self._redacted
        }
        return replace(
            head,
            number=head.number + 1,
            version=work.version,
            group=self._group,
            tips=tips,
            known=unchanged | changed,
            lifetime=self._lifetime,
        )
