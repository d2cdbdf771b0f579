"""Rule 1: `m.room.create`."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pytest

from federation.auth import authorise
from federation.decision import ALLOWED, Decision
from federation.room_versions import V10, V11, V12, RoomVersion
from tests.federation.auth_cases import (
    ANN,
    BOB,
    Case,
    broken_rule,
    create_event,
    rows,
    since,
    until,
)
from tests.federation.rooms import ALL_VERSIONS, Room

OURS = "!room:one.test"


def _create(
    version: RoomVersion,
    *,
    room_id: str | None = OURS,
    has_parent: bool = False,
    without: str = "",
    **content: Any,
) -> Decision:
    """Judge a create event that is right but for what the keywords say."""
    if version.room_id_is_create_id and room_id == OURS:
        room_id = None
    full = {"creator": ANN, "room_version": version.name, **content}
    full.pop(without, None)
    parents = [Room(version, bare=True).create] if has_parent else []
    return authorise(create_event(version, full, room_id=room_id, prev_events=parents), {})


def _allow(
    rule: str, story: str, versions: Sequence[RoomVersion] = ALL_VERSIONS, **how: Any
) -> Case:
    return Case(rule, True, story, partial(_create, **how), versions)


def _deny(
    rule: str, story: str, versions: Sequence[RoomVersion] = ALL_VERSIONS, **how: Any
) -> Case:
    return Case(rule, False, story, partial(_create, **how), versions)


ADDED = "create.additional_creators"
CASES = [
    # "If it has any prev_events, reject."
    _deny("create.prev_events", "has a parent", has_parent=True),
    _allow("create.prev_events", "has none"),
    # "If the domain of the room_id does not match the domain of the sender, reject."
    _deny("create.room_id", "another server's", until(V11), room_id="!room:two.test"),
    _deny("create.room_id", "another port", until(V11), room_id="!room:one.test:8448"),
    _deny("create.room_id", "no domain", until(V11), room_id="!room"),
    _allow("create.room_id", "the sender's", until(V11)),
    # Since v12: "If the event has a room_id, reject."
    _deny("create.room_id", "has one", since(V12), room_id="!mine:one.test"),
    _deny("create.room_id", "has a hash", since(V12), room_id="!" + "A" * 43),
    _allow("create.room_id", "has none", since(V12)),
    # "If content.room_version is present and is not a recognised version, reject."
    _deny("create.room_version", "unknown", room_version="org.example.unheard-of"),
    _deny("create.room_version", "a number", room_version=1),
    _deny("create.room_version", "null", room_version=None),
    _deny("create.room_version", "empty", room_version=""),
    _deny("create.room_version", "padded", room_version=" 1"),
    _deny("create.room_version", "a list", room_version=["1"]),
    _allow("create.room_version", "absent", without="room_version"),
    _allow("create.room_version", "known"),
    # Before v11: "If content has no creator property, reject."
    _deny("create.creator", "absent", until(V10), without="creator"),
    _allow("create.creator", "somebody else", until(V10), creator=BOB),
    _allow("create.room_version", "needs no creator", since(V11), without="creator"),
    # Since v12: "If additional_creators is present in content and is not an array of strings where
    # each string passes the same user ID validation applied to sender, reject."
    _deny(ADDED, "null", since(V12), additional_creators=None),
    _deny(ADDED, "a string", since(V12), additional_creators=BOB),
    _deny(ADDED, "an object", since(V12), additional_creators={BOB: 100}),
    _deny(ADDED, "a number in it", since(V12), additional_creators=[BOB, 7]),
    _deny(ADDED, "a list in it", since(V12), additional_creators=[[BOB]]),
    _deny(ADDED, "a name in it", since(V12), additional_creators=[BOB, "cat"]),
    _deny(ADDED, "a room ID in it", since(V12), additional_creators=["!cat:three.test"]),
    _deny(ADDED, "no domain", since(V12), additional_creators=["@cat"]),
    _deny(ADDED, "a bad domain", since(V12), additional_creators=["@cat:three test"]),
    _deny(ADDED, "too long", since(V12), additional_creators=["@" + "c" * 255 + ":three.test"]),
    _allow(ADDED, "absent", since(V12)),
    _allow(ADDED, "empty", since(V12), additional_creators=[]),
    _allow(ADDED, "somebody", since(V12), additional_creators=[BOB]),
    _allow(ADDED, "the sender, twice", since(V12), additional_creators=[ANN, ANN]),
    _allow(ADDED, "a historical name", since(V12), additional_creators=["@C A!t:three.test"]),
    _allow("create.room_version", "of no meaning yet", until(V11), additional_creators=7),
]  # fmt: skip


@rows(CASES)
def test_create(case: Case) -> None:
    assert case.found == case.expected


@pytest.mark.parametrize(
    ("content", "known", "broken"),
    [
        ({"room_version": "org.example.new"}, {"org.example.new"}, None),
        ({"room_version": "11"}, {"org.example.new"}, "create.room_version"),
        ({}, {"1"}, None),
    ],
)
def test_known_versions(content: Mapping[str, Any], known: set[str], broken: str | None) -> None:
    """Which versions are recognised is the caller's to say."""
    create = create_event(V11, content)
    assert broken_rule(authorise(create, {}, known)) == broken


def test_asks_no_state() -> None:
    """A create event is judged by itself: what stands in the room's state changes nothing."""
    for version in ALL_VERSIONS:
        room = Room(version)
        assert authorise(room.create, room.state) is ALLOWED


@pytest.mark.parametrize("state_key", [None, "x"])
def test_lookalike(state_key: str | None) -> None:
    """In version 12 an event of this type that is no create event has a room ID, and is denied."""
    room = Room(V12)
    fake = create_event(V12, {}, room_id=room.room_id, state_key=state_key)
    assert broken_rule(authorise(fake, room.state)) == "create.room_id"
