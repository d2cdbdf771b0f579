"""Checks 4 to 7 on receipt of a PDU.

https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

from collections.abc import Container
from dataclasses import replace
from typing import Any

import pytest

from federation.auth import CREATE
from federation.decision import Denied
from federation.events import Event, StateKey
from federation.identifiers import RoomID
from federation.room_versions import V1, V11, V12, RoomVersion
from federation.verdict import Evidence, Outcome, Ruling, judge
from tests.federation.auth_cases import create_event, until
from tests.federation.rooms import ALL_VERSIONS, ANN, BOB, CAT, Branch, Room

ACCEPTED, SOFT_FAILED, REJECTED = Outcome.ACCEPTED, Outcome.SOFT_FAILED, Outcome.REJECTED
EVERY_VERSION = pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda v: f"v{v.name}")
LEVELS: StateKey = ("m.room.power_levels", "")


def _evidence(room: Branch, event: Event, **more: Any) -> Evidence:
    """What a server that has all of the room's events knows about one of them."""
    known = room.room.events
    cited = [known[found] for found in event.auth_events if found in known]
    return Evidence(cited, room.room.create, **more)


def _fate(ruling: Ruling) -> tuple[Outcome, str | None]:
    return ruling.outcome, ruling.denial.rule if ruling.denial else None


def _room(version: RoomVersion) -> Room:
    room = Room(version)
    room.join(BOB)
    return room


@EVERY_VERSION
def test_accepted(version: RoomVersion) -> None:
    """Every event of an ordinary room, judged by the state before it and by that after all."""
    room = Room(version)
    room.join(BOB)
    room.invite(ANN, CAT)
    room.join(CAT)
    room.send("m.room.topic", ANN, {"topic": "all"}, "")
    room.send("m.room.message", BOB, {"body": "hello"})
    state: dict[StateKey, Event] = {}
    for event in room.events.values():
        ruling = judge(event, _evidence(room, event, state_before=dict(state)))
        assert ruling == Ruling(event, ACCEPTED)
        if event.state_key is not None:
            state[(event.type, event.state_key)] = event


# The state that an event of Bob's meets at each of the checks decides its fate.
JOINED, BANNED, LEFT = "join", "ban", "leave"
REFUSED = Denied("policy", "the room's policy server would not sign it")
IN_ORDER: list[tuple[str, str | None, str | None, bool, tuple[Outcome, str | None]]] = [
    # auth events, state before, current state, whether the policy server refuses
    (JOINED, JOINED, JOINED, False, (ACCEPTED, None)),
    (BANNED, JOINED, JOINED, False, (REJECTED, "sender.membership")),
    (JOINED, BANNED, JOINED, False, (REJECTED, "sender.membership")),
    (JOINED, BANNED, BANNED, True, (REJECTED, "sender.membership")),
    (JOINED, JOINED, BANNED, False, (SOFT_FAILED, "sender.membership")),
    (JOINED, JOINED, LEFT, True, (SOFT_FAILED, "sender.membership")),
    (JOINED, JOINED, JOINED, True, (SOFT_FAILED, "policy")),
    # an outlier: its place in the graph is unknown, and so are the states there
    (JOINED, None, None, False, (ACCEPTED, None)),
    (BANNED, None, None, False, (REJECTED, "sender.membership")),
    # history: what is the case today does not matter
    (JOINED, JOINED, None, False, (ACCEPTED, None)),
    (JOINED, LEFT, None, False, (REJECTED, "sender.membership")),
]


@EVERY_VERSION
@pytest.mark.parametrize(("cited", "before", "current", "refused", "fate"), IN_ORDER)
def test_in_order(
    version: RoomVersion,
    cited: str,
    before: str | None,
    current: str | None,
    refused: bool,
    fate: tuple[Outcome, str | None],
) -> None:
    room = _room(version)
    states: dict[str, Branch] = {JOINED: room, BANNED: room.fork(), LEFT: room.fork()}
    states[BANNED].ban(ANN, BOB)
    states[LEFT].leave(BOB)
    event = states[cited].fork().send("m.room.message", BOB, {"body": "hello"}, check=False)
    evidence = _evidence(
        room,
        event,
        state_before=states[before].state if before else None,
        current_state=states[current].state if current else None,
    )
    ruling = judge(event, replace(evidence, policy=REFUSED) if refused else evidence)
    assert _fate(ruling) == fate
    assert ruling.event is event
    assert not ruling.blamed


@EVERY_VERSION
def test_rejected_auth_event(version: RoomVersion) -> None:
    """An event that cites a rejected one is rejected and blames it; cleared of that, it stands."""
    room = _room(version)
    join = room.join(CAT)
    event = room.send("m.room.message", CAT, {"body": "hello"})
    states = {"state_before": room.state, "current_state": room.state}
    ruling = judge(event, _evidence(room, event, rejected={join.event_id}, **states))
    assert _fate(ruling) == (REJECTED, "auth_events.unfit")
    assert ruling.blamed == {join.event_id}
    again = judge(event, _evidence(room, event, rejected={"$another"}, **states))
    assert again == Ruling(event, ACCEPTED)


@EVERY_VERSION
def test_unknown_auth_event(version: RoomVersion) -> None:
    """An event that cites one nobody could find is rejected and blames it, until it is found."""
    room = _room(version)
    join = room.join(CAT)
    event = room.send("m.room.message", CAT, {"body": "hello"})
    del room.events[join.event_id]
    ruling = judge(event, _evidence(room, event, state_before=room.state))
    assert _fate(ruling) == (REJECTED, "auth_events.unfit")
    assert ruling.blamed == {join.event_id}
    room.events[join.event_id] = join
    assert judge(event, _evidence(room, event, state_before=room.state)).outcome is ACCEPTED


@EVERY_VERSION
def test_all_are_blamed(version: RoomVersion) -> None:
    room = _room(version)
    levels, join = room.state[LEVELS], room.join(CAT)
    event = room.send("m.room.message", CAT, {"body": "hello"})
    del room.events[levels.event_id]
    ruling = judge(event, _evidence(room, event, rejected={join.event_id}))
    assert ruling.blamed == {levels.event_id, join.event_id}


@EVERY_VERSION
def test_rejected_parent(version: RoomVersion) -> None:
    """ "Subsequent events from other servers that reference rejected events should be allowed if
    they still pass the auth rules." """
    room = _room(version)
    bad = room.fork().send("m.room.topic", BOB, {"topic": "mine"}, "", check=False)
    after = Branch(room, [bad], dict(room.state))
    event = after.send("m.room.message", BOB, {"body": "hello"})
    assert event.prev_events == (bad.event_id,)
    ruling = judge(event, _evidence(room, event, rejected={bad.event_id}, state_before=room.state))
    assert ruling.outcome is ACCEPTED


@EVERY_VERSION
def test_auth_events_of_another_room(version: RoomVersion) -> None:
    """Bob's power over his own room gives him none over Ann's."""
    room, own = _room(version), Room(version, creator=BOB)
    cited = [own.state[LEVELS], own.state[("m.room.member", BOB)]]
    if not version.room_id_is_create_id:
        cited.append(room.create)
    event = room.send("m.room.topic", BOB, {"topic": "mine"}, "", auth_events=cited, check=False)
    evidence = Evidence(cited, room.create, state_before=room.state)
    assert _fate(judge(event, evidence)) == (REJECTED, "auth_events.room")


@pytest.mark.parametrize("version", until(V11), ids=lambda v: f"v{v.name}")
def test_create_of_another_room(version: RoomVersion) -> None:
    room, own = _room(version), Room(version, creator=BOB)
    cited = [own.create, own.state[("m.room.member", BOB)]]
    event = room.send("m.room.message", BOB, {}, auth_events=cited, check=False)
    assert _fate(judge(event, Evidence(cited, own.create))) == (REJECTED, "auth_events.room")


@EVERY_VERSION
def test_uncited_create(version: RoomVersion) -> None:
    """That a server knows the create event does not mean that an event cites it."""
    room = _room(version)
    cited = [room.state[LEVELS], room.state[("m.room.member", BOB)]]
    event = room.send("m.room.message", BOB, {}, auth_events=cited)
    fate = _fate(judge(event, Evidence(cited, room.create, state_before=room.state)))
    assert fate == ((ACCEPTED, None) if version is V12 else (REJECTED, "auth_events.create"))


ROOT: list[tuple[str, Container[str], set[str]]] = [
    ("known", set(), set()),
    ("rejected", {"create"}, {"create"}),
    ("unknown", set(), {"create"}),
    ("another room's", set(), {"create"}),
]


@pytest.mark.parametrize(("story", "rejected", "blamed"), ROOT)
def test_implied_create(story: str, rejected: Container[str], blamed: set[str]) -> None:
    """Since v12: "If the event's room_id is not an event ID for an accepted (not rejected)
    m.room.create event, with the sigil ! instead of $, reject." """
    room, other = _room(V12), Room(V12, creator=BOB)
    create = {"unknown": None, "another room's": other.create}.get(story, room.create)
    bad = {room.create.event_id} if "create" in rejected else frozenset()
    for event in room.events.values():
        if event.type == "m.room.create":
            continue
        cited = [room.events[found] for found in event.auth_events]
        ruling = judge(event, Evidence(cited, create, bad))
        assert ruling.outcome is (REJECTED if blamed else ACCEPTED)
        assert ruling.blamed == ({room.create.event_id} if blamed else set())


def test_rejected_create_spoils_the_room() -> None:
    """In version 12 all events of a room fall with its create event, though none cites it."""
    create = create_event(V12, {"additional_creators": "@bob:two.test"}, room_id=None)
    assert _fate(judge(create, Evidence([]))) == (REJECTED, "create.additional_creators")
    room = Room(V12)
    room.room_id = RoomID("!" + create.event_id[1:])
    branch = Branch(room, [create], {CREATE: create})
    join = branch.join(ANN)
    message = branch.send("m.room.message", ANN, {"body": "hello"})
    for event, cited in ((join, ()), (message, (join,))):
        assert judge(event, Evidence(cited, create)).outcome is ACCEPTED
        ruling = judge(event, Evidence(cited, create, rejected={create.event_id}))
        assert _fate(ruling) == (REJECTED, "auth_events.unfit")
        assert ruling.blamed == {create.event_id}


@EVERY_VERSION
def test_create(version: RoomVersion) -> None:
    """The first event of a room needs no evidence at all."""
    room = Room(version)
    evidence = Evidence([], state_before={}, current_state={})
    assert judge(room.create, evidence) == Ruling(room.create, ACCEPTED)


def test_malformed_levels_are_a_verdict() -> None:
    """Levels that cannot be read do not stop the server: what asks for them is rejected."""
    room = Room(V1, levels={"users": {ANN: 100}, "ban": "a lot"})
    room.join(BOB)
    ban = room.ban(ANN, BOB, check=False)
    assert _fate(judge(ban, _evidence(room, ban))) == (REJECTED, "power_levels.malformed")
    kick = room.kick(ANN, BOB, check=False)
    assert judge(kick, _evidence(room, kick)).outcome is REJECTED


def test_experimental_version() -> None:
    """Rooms of a version that the caller has added are judged like others."""
    version = replace(V11, name="org.example.quiet")
    create = create_event(version, {"room_version": version.name})
    states: dict[str, Any] = {"state_before": {}, "current_state": {}}
    evidence = Evidence([], known_versions={version.name}, **states)
    assert judge(create, evidence).outcome is ACCEPTED
    assert _fate(judge(create, Evidence([]))) == (REJECTED, "create.room_version")
