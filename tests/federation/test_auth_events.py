"""Which events an event has to cite: the selection, and rule 3 of version 12, 2 of the others.

https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection
"""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from federation.auth import auth_events_for, authorise, check_auth_events, select
from federation.decision import ALLOWED, Decision
from federation.events import Event, StateKey
from federation.room_versions import V8, V11, V12, RoomVersion
from tests.federation import rooms
from tests.federation.auth_cases import (
    ANN,
    BOB,
    CAT,
    Case,
    Decide,
    Given,
    Send,
    broken_rule,
    event_of,
    joined,
    member,
    message,
    rows,
    since,
    until,
)
from tests.federation.rooms import ALL_VERSIONS, Branch, Room

CREATE = ("m.room.create", "")
LEVELS = ("m.room.power_levels", "")
RULES = ("m.room.join_rules", "")
TOKEN = ("m.room.third_party_invite", "t")
BY_CAT = {"join_authorised_via_users_server": CAT}


def _of(user: str) -> StateKey:
    return ("m.room.member", user)


def _signed(token: object) -> Mapping[str, Any]:
    return {"third_party_invite": {"signed": {"token": token}}}


INVITE_OF: Mapping[str, Any] = {"membership": "invite"}
FOR_INVITE = [LEVELS, _of(BOB), _of(CAT), RULES]

SELECTION: list[tuple[str, str, str | None, Mapping[str, Any], list[StateKey]]] = [
    # "The current m.room.power_levels event, if any. The sender's current m.room.member event"
    ("m.room.message", BOB, None, {}, [LEVELS, _of(BOB)]),
    ("m.room.topic", BOB, "", {}, [LEVELS, _of(BOB)]),
    ("m.room.power_levels", BOB, "", {}, [LEVELS, _of(BOB)]),
    ("m.room.third_party_invite", BOB, "t", {}, [LEVELS, _of(BOB)]),
    ("org.example.member", BOB, CAT, {"membership": "join", **BY_CAT}, [LEVELS, _of(BOB)]),
    # "The target's current m.room.member event, if any."
    ("m.room.member", BOB, CAT, {"membership": "leave"}, [LEVELS, _of(BOB), _of(CAT)]),
    ("m.room.member", BOB, CAT, {"membership": "ban"}, [LEVELS, _of(BOB), _of(CAT)]),
    ("m.room.member", BOB, BOB, {"membership": "leave"}, [LEVELS, _of(BOB)]),
    ("m.room.member", BOB, None, {"membership": "join"}, [LEVELS, _of(BOB)]),
    ("m.room.member", BOB, BOB, {}, [LEVELS, _of(BOB)]),
    # "If membership is join, invite or knock, the current m.room.join_rules event, if any."
    ("m.room.member", BOB, BOB, {"membership": "join"}, [LEVELS, _of(BOB), RULES]),
    ("m.room.member", BOB, BOB, {"membership": "knock"}, [LEVELS, _of(BOB), RULES]),
    ("m.room.member", BOB, CAT, INVITE_OF, FOR_INVITE),
    # "If membership is invite and content contains a third_party_invite property, the current
    # m.room.third_party_invite event with state_key matching [...] token, if any."
    ("m.room.member", BOB, CAT, {**INVITE_OF, **_signed("t")}, [*FOR_INVITE, TOKEN]),
    ("m.room.member", BOB, CAT, {**INVITE_OF, **_signed(["t"])}, FOR_INVITE),
    ("m.room.member", BOB, CAT, {**INVITE_OF, "third_party_invite": {}}, FOR_INVITE),
    ("m.room.member", BOB, CAT, {**INVITE_OF, "third_party_invite": 7}, FOR_INVITE),
    ("m.room.member", BOB, BOB, {"membership": "join", **_signed("t")}, [LEVELS, _of(BOB), RULES]),
    # of another membership, the authoriser does not matter
    ("m.room.member", BOB, BOB, {"membership": "leave", **BY_CAT}, [LEVELS, _of(BOB)]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "sender", "state_key", "content", "keys"), SELECTION)
def test_selection(
    kind: str, sender: str, state_key: str | None, content: Mapping[str, Any], keys: list[StateKey]
) -> None:
    """Until version 11 the create event comes on top."""
    for version in ALL_VERSIONS:
        found = select(kind, sender, state_key, content, version)
        expected = keys if version is V12 else [CREATE, *keys]
        assert sorted(found) == sorted(expected), version.name


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda v: f"v{v.name}")
@pytest.mark.parametrize(
    ("authoriser", "is_cited"),
    [(CAT, True), (BOB, False), (ANN, True), (7, False), ([CAT], False), (None, False)],
)
def test_authoriser(version: RoomVersion, authoriser: object, is_cited: bool) -> None:
    """ "[...] and the room version supports restricted rooms": since 8. Nobody is named twice."""
    content = {"membership": "join", "join_authorised_via_users_server": authoriser}
    found = select("m.room.member", BOB, BOB, content, version)
    expected = {*select("m.room.member", BOB, BOB, {"membership": "join"}, version)}
    if is_cited and version in since(V8):
        expected.add(_of(str(authoriser)))
    assert set(found) == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda v: f"v{v.name}")
def test_create_cites_nothing(version: RoomVersion) -> None:
    """ "The auth_events for the m.room.create event in a room is empty" """
    assert auth_events_for(Room(version, bare=True).create) == []


Cite = Callable[[Branch, list[Event]], list[Event]]
"""From the room and what should be cited to what is cited."""

THE_ROOM = Given("invite", {**joined(BOB), CAT: "leave"})
MESSAGE, INVITE = message(BOB), member(BOB, CAT, "invite")


def _citing(cite: Cite, send: Send = MESSAGE, rejected: StateKey | None = None) -> Decide:
    def decide(version: RoomVersion) -> Decision:
        room = THE_ROOM.room(version).fork()
        event = event_of(send, room.fork())
        right = [room.state[key] for key in auth_events_for(event) if key in room.state]
        bad = {room.state[rejected].event_id} if rejected else set()
        return check_auth_events(event, cite(room, right), bad)

    return decide


def _right(room: Branch, right: list[Event]) -> list[Event]:
    return right


def _nothing(room: Branch, right: list[Event]) -> list[Event]:
    return []


def _only_create(room: Branch, right: list[Event]) -> list[Event]:
    return [room.room.create]


def _swapped(room: Branch, right: list[Event]) -> list[Event]:
    """With the power levels of another room of the same version."""
    others = Room(room.room.version, creator=rooms.BOB).state[LEVELS]
    return [others if event == room.state[LEVELS] else event for event in right]


def _with_older_levels(room: Branch, right: list[Event]) -> list[Event]:
    older = room.fork().power_levels(ANN, {}, check=False)
    return [*right, older]


def _without(key: StateKey) -> Cite:
    return lambda room, right: [event for event in right if event != room.state[key]]


def _and(*keys: StateKey) -> Cite:
    return lambda room, right: [*right, *(room.state[key] for key in keys)]


DUPLICATE, UNEXPECTED = "auth_events.duplicate", "auth_events.unexpected"
REJECTED, MISSING, FOREIGN = "auth_events.rejected", "auth_events.create", "auth_events.room"

CASES = [
    # "If there are duplicate entries for a given type and state_key pair, reject."
    Case(DUPLICATE, False, "the same twice", _citing(_and(LEVELS)), ALL_VERSIONS),
    Case(DUPLICATE, False, "two of a kind", _citing(_with_older_levels), ALL_VERSIONS),
    Case(DUPLICATE, True, "one of each", _citing(_right), ALL_VERSIONS),
    Case(DUPLICATE, True, "two members", _citing(_right, INVITE), ALL_VERSIONS),
    # "If there are entries whose type and state_key don't match those specified by the auth events
    # selection algorithm described in the server specification, reject."
    Case(UNEXPECTED, False, "join rules", _citing(_and(RULES)), ALL_VERSIONS),
    Case(UNEXPECTED, False, "another's membership", _citing(_and(_of(CAT))), ALL_VERSIONS),
    Case(UNEXPECTED, False, "the create event", _citing(_and(CREATE)), since(V12)),
    Case(UNEXPECTED, False, "the create event only", _citing(_only_create), since(V12)),
    Case(UNEXPECTED, True, "join rules for an invite", _citing(_right, INVITE), ALL_VERSIONS),
    Case(UNEXPECTED, True, "fewer than could be", _citing(_without(LEVELS)), ALL_VERSIONS),
    # "If there are entries which were themselves rejected [...], reject."
    Case(REJECTED, False, "levels", _citing(_right, rejected=LEVELS), ALL_VERSIONS),
    Case(REJECTED, False, "membership", _citing(_right, rejected=_of(BOB)), ALL_VERSIONS),
    Case(REJECTED, False, "create", _citing(_right, rejected=CREATE), until(V11)),
    Case(REJECTED, True, "not cited", _citing(_right, rejected=RULES), ALL_VERSIONS),
    # Until v11: "If there is no m.room.create event among the entries, reject."
    Case(MISSING, False, "all but it", _citing(_without(CREATE)), until(V11)),
    Case(MISSING, False, "nothing", _citing(_nothing), until(V11)),
    Case(MISSING, True, "it is there", _citing(_right), until(V11)),
    Case(UNEXPECTED, True, "nothing", _citing(_nothing), since(V12)),
    # "If any event in auth_events has a room_id which does not match that of the event being
    # authorised, reject."
    Case(FOREIGN, False, "levels", _citing(_swapped), ALL_VERSIONS),
    Case(FOREIGN, True, "the room's own", _citing(_right), ALL_VERSIONS),
]  # fmt: skip


@rows(CASES)
def test_auth_events(case: Case) -> None:
    assert case.found == case.expected


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda v: f"v{v.name}")
def test_state_of_no_room(version: RoomVersion) -> None:
    """A state without a create event allows nothing but one."""
    room = Room(version)
    state = {key: event for key, event in room.state.items() if key != CREATE}
    event = room.send("m.room.message", ANN, {})
    assert broken_rule(authorise(event, state)) == "state.create"
    assert authorise(event, room.state) is ALLOWED


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda v: f"v{v.name}")
def test_state_of_another_room(version: RoomVersion) -> None:
    """Since v12: "If the event's room_id is not an event ID for an accepted m.room.create event,
    with the sigil ! instead of $, reject." Elsewhere nobody's state serves another room either."""
    room, other = Room(version), Room(version, creator=rooms.BOB)
    other.join(ANN)
    event = room.send("m.room.message", ANN, {})
    assert broken_rule(authorise(event, other.state)) == "state.room"
    mixed = {**other.state, CREATE: room.create}
    assert authorise(event, mixed) is ALLOWED
