"""How levels are read, and whose is which."""

import contextlib
import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.events import Event
from federation.power_levels import (
    CREATOR_LEVEL,
    NAMED_LEVELS,
    LevelError,
    PowerLevels,
    creators_of,
    read_level,
    read_levels,
)
from federation.room_versions import V1, V9, V10, V11, V12, RoomVersion
from tests.federation.auth_cases import create_event, since, until
from tests.federation.rooms import ALL_VERSIONS, ANN, BOB, CAT, Room

EVERY_VERSION = pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda v: f"v{v.name}")

INTEGERS = [0, 1, -1, 50, 2**53 - 1, -(2**53) + 1]
READABLE_UNTIL_9: list[tuple[object, int]] = [
    ("100", 100),
    ("000100", 100),
    ("+100", 100),
    ("-100", -100),
    ("-0", 0),
    (" 100 ", 100),
    (" 00100 ", 100),
    (" +100 ", 100),
    (" -100 ", -100),
    ("\t\n\v\f\r 7 \r\f\v\n\t", 7),
    ("9" * 400, 10**400 - 1),
    # "First, exponential notation is applied: 5.114698E4 becomes 51146.98. Second, the value is
    # truncated at the decimal point: 51146.98 becomes 51146."
    (5.114698e4, 51146),
    (50.57, 50),
    (-50.57, -50),
    (0.999, 0),
    (-0.999, 0),
    (1e3, 1000),
    (2.0**60, 2**60),
]
UNREADABLE: list[object] = [
    *(None, True, False, [], {}, [1], {"a": 1}, b"1"),
    *(
        "",
        " ",
        "a",
        "1a",
        "1.0",
        "1e3",
        "0x10",
        "0b1",
        "1_000",
        "1 000",
        "1,000",
        "NaN",
        "Infinity",
    ),
    *("+", "-", "++1", "+-1", "- 1", "+ 1", "1+", "\u0661", "\xa01", "\u20031", "1\0", "\0001"),
    # "Values outside the range represented by [a double] cause the power level event to be
    # rejected, as do Infinity, -Infinity and NaN."
    *(math.inf, -math.inf, math.nan),
    # more digits than Python reads as a number
    *("9" * 5000, "-" + "9" * 5000),
]


@EVERY_VERSION
def test_integers(version: RoomVersion) -> None:
    assert [read_level(value, version) for value in INTEGERS] == INTEGERS


@pytest.mark.parametrize(("value", "level"), READABLE_UNTIL_9)
def test_strings_and_floats(value: object, level: int) -> None:
    """Until version 9 they are levels, since 10 they are not."""
    for version in until(V9):
        found = read_level(value, version)
        assert found == level
        assert type(found) is int
    for version in since(V10):
        with pytest.raises(LevelError):
            read_level(value, version)


@pytest.mark.parametrize("value", UNREADABLE, ids=lambda v: repr(v)[:20])
def test_unreadable(value: object) -> None:
    for version in ALL_VERSIONS:
        with pytest.raises(LevelError):
            read_level(value, version)


@given(
    st.integers(),
    st.text(" \t\n\v\f\r"),
    st.text("0", max_size=20),
    st.text(" \t\n\v\f\r"),
    st.sampled_from(["", "+"]),
)
def test_any_spelling(level: int, before: str, zeroes: str, after: str, plus: str) -> None:
    """Whitespace, leading zeroes and a plus sign never change a level."""
    sign = "-" if level < 0 else plus
    assert read_level(f"{before}{sign}{zeroes}{abs(level)}{after}", V1) == level


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_float(value: float) -> None:
    """Floats are cut towards zero."""
    level = read_level(value, V1)
    assert abs(level) <= abs(value) < abs(level) + max(1, abs(value) * 2**-52)


@given(st.text("0123456789+- .eE_\t\xa0\u0661"))
def test_any_text(text: str) -> None:
    """Other text is read as Python would read it, or refused with an error of ours."""
    with contextlib.suppress(LevelError):
        assert read_level(text, V1) == int(text)


@EVERY_VERSION
def test_groups(version: RoomVersion) -> None:
    assert read_levels({}, version) == {}
    assert read_levels({"a": 1, "b": -2}, version) == {"a": 1, "b": -2}
    for bad in (None, [], "x", 7, [1], {"a": None}, {"a": 1, "b": True}):
        with pytest.raises(LevelError):
            read_levels(bad, version)


def _create(version: RoomVersion, **content: Any) -> Event:
    room_id = None if version.room_id_is_create_id else "!room:one.test"
    return create_event(version, content, room_id=room_id)


def _levels(
    version: RoomVersion, content: Mapping[str, Any] | None = None, **create: Any
) -> PowerLevels:
    """The levels in force in a room of Ann's."""
    room = Room(version, bare=True, **create)
    event = None if content is None else room.power_levels(ANN, content, check=False)
    return PowerLevels(room.create, event)


@EVERY_VERSION
def test_creators(version: RoomVersion) -> None:
    """Until version 10 the creator is named; since 11 they are the sender; since 12 not alone."""
    create = _create(version, creator=BOB, additional_creators=[CAT, ANN])
    if version in until(V10):
        assert creators_of(create) == {BOB}
    else:
        assert creators_of(create) == ({ANN, CAT} if version is V12 else {ANN})


@pytest.mark.parametrize(
    ("version", "content", "creators"),
    [
        (V1, {}, set()),
        (V1, {"creator": 7}, set()),
        (V1, {"creator": [ANN]}, set()),
        (V11, {"creator": BOB}, {ANN}),
        (V12, {}, {ANN}),
        (V12, {"additional_creators": []}, {ANN}),
        (V12, {"additional_creators": BOB}, {ANN}),
        (V12, {"additional_creators": {BOB: 1}}, {ANN}),
        (V12, {"additional_creators": [[BOB], CAT]}, {ANN, CAT}),
    ],
)
def test_odd_creators(version: RoomVersion, content: dict[str, Any], creators: set[str]) -> None:
    """Nothing in a create event, even one that is to be rejected, makes this fail."""
    assert creators_of(_create(version, **content)) == creators


@EVERY_VERSION
def test_without_power_levels(version: RoomVersion) -> None:
    """ "If there is no m.room.power_levels event in the room, the room's creators have a power
    level of 100, and all other users have a power level of 0." Since 12 theirs is infinite."""
    levels = _levels(version)
    assert levels.of(ANN) == (CREATOR_LEVEL if version is V12 else 100)
    assert levels.of(BOB) == 0
    assert {name: levels.named(name) for name in NAMED_LEVELS} == NAMED_LEVELS
    assert levels.notification("room") == 50


@EVERY_VERSION
def test_empty_power_levels(version: RoomVersion) -> None:
    """Once there are power levels, a creator who is not in them has none, until version 12."""
    levels = _levels(version, {})
    assert levels.of(ANN) == (CREATOR_LEVEL if version is V12 else 0)
    assert levels.of(BOB) == 0
    assert {name: levels.named(name) for name in NAMED_LEVELS} == NAMED_LEVELS
    assert levels.notification("room") == 50


@EVERY_VERSION
@pytest.mark.parametrize("content", [None, {}])
def test_required_by_default(version: RoomVersion, content: Mapping[str, Any] | None) -> None:
    """50 for state, 0 for messages, whether or not there are power levels."""
    levels = _levels(version, content)
    assert levels.required("m.room.topic", is_state=True) == 50
    assert levels.required("m.room.power_levels", is_state=True) == 50
    assert levels.required("m.room.message", is_state=False) == 0


def test_defaults() -> None:
    """https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels"""
    assert NAMED_LEVELS == {
        "ban": 50,
        "events_default": 0,
        "invite": 0,
        "kick": 50,
        "redact": 50,
        "state_default": 50,
        "users_default": 0,
    }


CONTENT: Mapping[str, Any] = {
    "users": {BOB: 70},
    "users_default": 5,
    "events": {"m.room.topic": 20, "m.room.message": 30},
    "events_default": 2,
    "state_default": 60,
    "ban": 61,
    "kick": 62,
    "redact": 63,
    "invite": 64,
    "notifications": {"room": 65},
}


@EVERY_VERSION
def test_given_levels(version: RoomVersion) -> None:
    levels = _levels(version, CONTENT)
    assert levels.of(BOB) == 70
    assert levels.of(CAT) == 5
    named = {name: levels.named(name) for name in NAMED_LEVELS}
    assert named == {name: CONTENT[name] for name in NAMED_LEVELS}
    assert levels.required("m.room.topic", is_state=True) == 20
    assert levels.required("m.room.name", is_state=True) == 60
    assert levels.required("m.room.message", is_state=False) == 30
    assert levels.required("m.reaction", is_state=False) == 2
    assert levels.notification("room") == 65
    assert levels.notification("here") == 50


def test_creators_stand_above() -> None:
    """ "Room creators cannot be demoted to a lower power level": not even by such an event."""
    levels = _levels(V12, {"users": {ANN: 0, BOB: -5}}, additional_creators=[BOB])
    assert levels.of(ANN) == levels.of(BOB) == CREATOR_LEVEL
    assert CREATOR_LEVEL > 10**400


@pytest.mark.parametrize("version", until(V11), ids=lambda v: f"v{v.name}")
def test_creators_are_like_others(version: RoomVersion) -> None:
    levels = _levels(version, {"users": {ANN: 1}}, additional_creators=[BOB])
    assert levels.of(ANN) == 1
    assert levels.of(BOB) == 0


def test_read_when_asked() -> None:
    """What cannot be read is an error for whoever asks for it, and for nobody else."""
    broken = {"users": {BOB: "?"}, "ban": "?", "events": {"m.room.topic": "?"}, "notifications": 7}
    levels = _levels(V9, broken)
    assert levels.of(CAT) == 0
    assert levels.named("kick") == 50
    assert levels.required("m.room.name", is_state=True) == 50
    with pytest.raises(LevelError):
        levels.of(BOB)
    with pytest.raises(LevelError):
        levels.named("ban")
    with pytest.raises(LevelError):
        levels.required("m.room.topic", is_state=True)
    with pytest.raises(LevelError):
        levels.notification("room")


def test_words_for_levels() -> None:
    """Until version 9 the words of old clients count."""
    levels = _levels(V9, {"users": {BOB: " +070 "}, "ban": "61", "events": {"m.room.topic": "-1"}})
    assert levels.of(BOB) == 70
    assert levels.named("ban") == 61
    assert levels.required("m.room.topic", is_state=True) == -1
