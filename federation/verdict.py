"""What becomes of an event that came in: checks 4 to 7 on receipt of a PDU.

Checks 1 to 3 are `events.parse` and `signatures.verified`: what fails those is dropped and never
gets here. The caller has gathered the evidence; nothing is fetched.

https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from enum import Enum

from federation.auth import CREATE, authorise, check_auth_events
from federation.decision import ALLOWED, Decision, Denied
from federation.events import Event, StateKey, StateMap
from federation.identifiers import EventID
from federation.room_versions import ROOM_VERSIONS


class Outcome(Enum):
    """The three fates of an event that was not dropped."""

    ACCEPTED = "accepted"
    SOFT_FAILED = "soft failed"
    """Part of the graph, but kept from clients and not cited by new events."""
    REJECTED = "rejected"
    """Part of the graph, but it changes no state; only state resolution may still admit it."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known when an event is judged."""

    auth_events: Sequence[Event]
    """The events it cites for its authority, as far as they are known."""
    create: Event | None = None
    """The room's create event; needed where the room ID implies it."""
    rejected: Container[EventID] = frozenset()
    """Tells which of the above were rejected."""
    state_before: StateMap | None = None
    """The state before the event; `None` for outliers, whose place in the graph is unknown."""
    current_state: StateMap | None = None
    """The state at the room's forward extremities; `None` for outliers and history."""
    policy: Decision = ALLOWED
    """What the room's policy server says, if it has one."""
    known_versions: Container[str] = frozenset(ROOM_VERSIONS)
    """The room versions that a create event may name."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """The fate of one event."""

    event: Event
    outcome: Outcome
    denial: Denied | None = None
    """The rule it broke, unless it was accepted."""
    blamed: frozenset[EventID] = frozenset()
    """Cited events that are unknown or were rejected, if those are the reason for rejecting this
    one. When one of them turns out good, this event is to be judged again."""


def judge(event: Event, evidence: Evidence) -> Ruling:
    """Judge an event by the checks from the fourth on, in their order."""
    unfit = _unfit_auth_events(event, evidence)
    if unfit:
        reason = "cites events that are unknown or were rejected"
        return Ruling(event, Outcome.REJECTED, Denied("auth_events.unfit", reason), unfit)
    # "4. Passes authorisation rules based on the event's auth events, otherwise it is rejected."
    # "5. Passes authorisation rules based on the state before the event, otherwise it is rejected."
    denial = _denial(check_auth_events(event, evidence.auth_events, evidence.rejected))
    denial = denial or _denial(authorise(event, _auth_state(evidence), evidence.known_versions))
    denial = denial or _against(event, evidence.state_before, evidence)
    if denial:
        return Ruling(event, Outcome.REJECTED, denial)
    # "6. Passes authorisation rules based on the current state of the room, otherwise it is soft
    # failed." "7. Is validated by the Policy Server [...] otherwise it is soft failed."
    denial = _against(event, evidence.current_state, evidence) or _denial(evidence.policy)
    if denial:
        return Ruling(event, Outcome.SOFT_FAILED, denial)
    return Ruling(event, Outcome.ACCEPTED)


def _unfit_auth_events(event: Event, evidence: Evidence) -> frozenset[EventID]:
    cited = set(event.auth_events)
    if event.version.room_id_is_create_id and event.type != "m.room.create":
        cited.add(EventID("$" + event.room_id[1:]))
    known = {e.event_id for e in evidence.auth_events}
    if evidence.create:
        known.add(evidence.create.event_id)
    return frozenset(e for e in cited if e not in known or e in evidence.rejected)


def _auth_state(evidence: Evidence) -> dict[StateKey, Event]:
    state: dict[StateKey, Event] = {CREATE: evidence.create} if evidence.create else {}
    for event in evidence.auth_events:
        if event.state_key is not None:
            state[(event.type, event.state_key)] = event
    return state


def _against(event: Event, state: StateMap | None, evidence: Evidence) -> Denied | None:
    return None if state is None else _denial(authorise(event, state, evidence.known_versions))


def _denial(decision: Decision) -> Denied | None:
    return decision if isinstance(decision, Denied) else None
