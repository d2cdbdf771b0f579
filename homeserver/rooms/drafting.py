"""From what people want to say to events, one after the other, on top of a room's head.

Pure: the facts are gathered before, rows are made of the outcome after. A submission is written
whole or not at all; its events, and those of the submissions before it, chain on each other.

https://spec.matrix.org/v1.19/server-server-api/#pdus
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from federation.auth import auth_events_for, authorise, check_auth_events, select
from federation.building import Draft, Place, Signer, build
from federation.decision import Denied
from federation.events import MAX_PREV_EVENTS, Event, StateKey
from federation.identifiers import EventID
from federation.policy_server import (
    POLICY,
    UNSTABLE_POLICY,
    needs_policy_signature,
    read_policy_server,
)
from federation.room_versions import RoomVersion
from homeserver.rooms import lifetimes
from homeserver.rooms.heads import Head

POLICIES: tuple[StateKey, ...] = ((POLICY, ""), (UNSTABLE_POLICY, ""))
"""What names a room's policy server: the first of them that the room has, whatever it says."""
"""Which server is asked about everything that is sent in the room."""
_LIFETIMES = frozenset({"m.room.redaction", *(kind for kind, _ in lifetimes.KEYS)})
"""Types of events after which a room's messages may be kept for longer or shorter."""
ROOM_EXISTS = "room.exists"
"""The rule that is broken by creating a room twice."""
CONTINUES = "received.continues"
"""The rule that is broken by a received event that does not go on where the room ends."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What is to happen in one room, all of it or nothing."""

    drafts: Sequence[Draft]
    created: Event | None = None
    """The create event that comes before the drafts, of a room that does not exist yet."""
    received: Sequence[Event] = ()
    """Events of other servers, in causal order, with good signatures; instead of drafts."""
    unheard: frozenset[EventID] = frozenset()
    """The IDs of those of them that no event here named a moment ago."""
    once: tuple[int, bytes] | None = None
    """The device and the hash of path and transaction ID; a repeat answers the first's events."""
    txn_id: str | None = None
    """The transaction ID, which the device is told with the event."""
    ts: int | None = None
    """When it happened, in milliseconds since the epoch; by default now."""

    def needs(self, version: RoomVersion) -> set[StateKey]:
        """The entries of the state that judging it may ask for."""
        keys = {(d.type, d.state_key) for d in self.drafts if d.state_key is not None}
        types = {draft.type for draft in self.drafts} | {event.type for event in self.received}
        if types & _LIFETIMES:
            keys.update(lifetimes.KEYS)
        for draft in self.drafts:
            keys.update(select(draft.type, draft.sender, draft.state_key, draft.content, version))
        for event in self.received:
            keys.update(auth_events_for(event))
            if event.state_key is not None:
                keys.add((event.type, event.state_key))
        return {*keys, ("m.room.create", ""), *POLICIES}


@dataclass(frozen=True, slots=True)
class Written:
    """A submission that became events."""

    submission: Submission
    events: tuple[Event, ...]


@dataclass(slots=True)
class Work:
    """A room while a batch is put together."""

    head: Head
    version: RoomVersion
    signer: Signer
    now: int
    """Milliseconds since the epoch: the time of all events of the batch."""
    opaque_ids: Iterator[str]
    """Endless; for event IDs in room versions 1 and 2."""
    tips: tuple[Event, ...] = field(init=False)
    changed: dict[StateKey, Event] = field(default_factory=dict)
    """The state where it is no longer the head's."""
    made: list[Event] = field(default_factory=list)
    """The new events, in their order."""

    def __post_init__(self) -> None:
        self.tips = tuple(tip.event for tip in self.head.tips)

    def add(self, submission: Submission) -> Written | Denied:
        """Make the submission's events, or say which rule the first bad one breaks."""
        before = self.tips, dict(self.changed), list(self.made)
        found: Written | Denied | None = None
        try:
            found = self._add(submission)
        finally:
            if not isinstance(found, Written):
                self.tips, self.changed, self.made = before
        return found

    def _add(self, submission: Submission) -> Written | Denied:
        events = []
        for event in self._events(submission):
            if isinstance(event, Denied):
                return event
            events.append(event)
        return Written(submission, tuple(events))

    def is_policed(self, submission: Submission) -> bool:
        """Whether the room names a policy server that would have to be asked.

        It is one if it has a joined user; whoever asks it looks for that.
        """
        policy = next(filter(None, map(self.entry, POLICIES)), None)
        if policy is None:
            return False
        via, kind = policy.content.get("via"), policy.type
        if not isinstance(via, str) or read_policy_server(policy.content, {via}, kind) is None:
            return False
        return any(needs_policy_signature(d.type, d.state_key, kind) for d in submission.drafts)

    def make(self, draft: Draft) -> Event | Denied:
        """Make one event that somebody else signs too, before it is submitted."""
        return self._accept(self._build(draft))

    def _events(self, submission: Submission) -> Iterator[Event | Denied]:
        if submission.created is not None:
            yield self._begin(submission.created)
        for event in submission.received:
            yield self._continue(event)
        for draft in submission.drafts:
            yield self._same(draft) or self._accept(self._build(draft, submission.ts))

    def _begin(self, create: Event) -> Event | Denied:
        """The first event; a room begins once."""
        if self.tips:
            return Denied(ROOM_EXISTS, "there is such a room already")
        return self._accept(create)

    def _continue(self, event: Event) -> Event | Denied:
        """An event from elsewhere, made of just what we would have made it of."""
        if set(event.prev_events) != {tip.event_id for tip in self.tips}:
            return Denied(CONTINUES, "builds on something else")
        state = (self.entry(key) for key in auth_events_for(event))
        due = sorted(entry.event_id for entry in state if entry)
        if sorted(event.auth_events) != due:  # nor anything twice
            return Denied(CONTINUES, "cites something else")
        return self._accept(event)

    def _same(self, draft: Draft) -> Event | None:
        """The current entry, if the draft would only repeat it: it answers for a new event."""
        if draft.state_key is None or draft.sticky is not None:
            return None
        now = self.entry((draft.type, draft.state_key))
        is_same = now and now.sender == draft.sender and now.content == draft.content
        return now if is_same else None

    def _build(self, draft: Draft, ts: int | None = None) -> Event:
        keys = select(draft.type, draft.sender, draft.state_key, draft.content, self.version)
        auth_events = [event for key in keys if (event := self.entry(key))]
        place = Place(parents_of(self.tips), auth_events)
        opaque_id = next(self.opaque_ids)
        now = self.now if ts is None else ts
        return build(draft, place, self.version, self.signer, now=now, opaque_id=opaque_id)

    def _accept(self, event: Event) -> Event | Denied:
        keys = [*auth_events_for(event), ("m.room.create", "")]
        state = {key: found for key in keys if (found := self.entry(key))}
        cited = [state[key] for key in auth_events_for(event) if key in state]
        for decision in (check_auth_events(event, cited), authorise(event, state)):
            if isinstance(decision, Denied):
                return decision
        self.tips = (*(t for t in self.tips if t.event_id not in event.prev_events), event)
        self.made.append(event)
        if event.state_key is not None:
            self.changed[(event.type, event.state_key)] = event
        return event

    def entry(self, key: StateKey) -> Event | None:
        """An entry of the state as it is by now, if the head knows it."""
        if key in self.changed:
            return self.changed[key]
        tip = self.head.known.get(key)
        return tip.event if tip else None


def parents_of(tips: Sequence[Event]) -> Sequence[Event]:
    """What a new event cites of a room's extremities: as many as it may, the newest among them.

    What is left over waits for the next events, the oldest first.
    """
    if len(tips) <= MAX_PREV_EVENTS:
        return tips
    return [*tips[: MAX_PREV_EVENTS - 1], tips[-1]]
