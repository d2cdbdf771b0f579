"""Whether a redaction takes effect.

https://spec.matrix.org/v1.19/rooms/v12/#handling-redactions
"""

import itertools

import msgspec
import pytest

from federation.decision import ALLOWED, Decision
from federation.events import Event
from federation.identifiers import EventID
from federation.power_levels import PowerLevels
from federation.redactions import check_redaction
from federation.room_versions import V1, V2, V3, V10, V11, RoomVersion
from tests.federation.auth_cases import broken_rule, since, until
from tests.federation.rooms import ALL_VERSIONS, ANN, BOB, CAT, Branch, Room

BEN = "@ben:two.test"
"""Of Bob's server."""

EVERY_VERSION = pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda v: f"v{v.name}")


def _room(version: RoomVersion, redact: object = 50) -> Room:
    users = {CAT: 50} if version.privileged_creators else {ANN: 100, CAT: 50}
    room = Room(version, levels={"users": users, "redact": redact})
    for user in (BOB, BEN, CAT):
        room.join(user)
    return room


def _redact(room: Branch, sender: str, target: Event) -> Event:
    """A redaction, be it allowed or not."""
    return room.send("m.room.redaction", sender, {}, redacts=target.event_id, check=False)


def _check(room: Branch, redaction: Event, target: Event) -> Decision:
    levels = PowerLevels(room.room.create, room.state[("m.room.power_levels", "")])
    return check_redaction(redaction, target, levels, room.room.events.get)


# "1. The power level of the redaction event's sender is greater than or equal to the redact level."
# "2. The domain of the redaction event's sender matches that of the original event's sender."
TABLE = [
    (BOB, BOB, 50, None),
    (BEN, BOB, 50, None),
    (CAT, BOB, 50, None),
    (CAT, BOB, 51, "redaction.level"),
    (CAT, CAT, 51, None),
    (BOB, CAT, 50, "redaction.level"),
    (BOB, CAT, 0, None),
    (BOB, ANN, 50, "redaction.level"),
]


@pytest.mark.parametrize("version", since(V3), ids=lambda v: f"v{v.name}")
@pytest.mark.parametrize(("sender", "author", "level", "broken"), TABLE)
def test_who_may(
    version: RoomVersion, sender: str, author: str, level: int, broken: str | None
) -> None:
    room = _room(version, level)
    said = room.send("m.room.message", author, {"body": "so"})
    assert broken_rule(_check(room, _redact(room, sender, said), said)) == broken


@pytest.mark.parametrize("version", until(V2), ids=lambda v: f"v{v.name}")
def test_settled_by_authorisation(version: RoomVersion) -> None:
    """In versions 1 and 2 an accepted redaction takes effect: rule 11 has asked for the level."""
    room = _room(version)
    said = room.send("m.room.message", ANN, {"body": "so"})
    assert _check(room, _redact(room, BOB, said), said) is ALLOWED


@EVERY_VERSION
def test_level_of_the_type_does_not_matter(version: RoomVersion) -> None:
    """ "Note that the first condition holds true even when the sender doesn't have a high enough
    power level to send the type of event that they're redacting." """
    room = _room(version)
    content = room.state[("m.room.power_levels", "")].content
    room.power_levels(ANN, {**content, "events": {"m.room.name": 100}})
    name = room.send("m.room.name", ANN, {"name": "ours"}, "")
    assert _check(room, _redact(room, CAT, name), name) is ALLOWED


@EVERY_VERSION
def test_names_another(version: RoomVersion) -> None:
    room = _room(version)
    said, other = (room.send("m.room.message", ANN, {"body": b}) for b in "ab")
    redaction = _redact(room, ANN, said)
    assert broken_rule(_check(room, redaction, other)) == "redaction.target"
    nothing = room.send("m.room.redaction", ANN, {}, check=False)
    assert broken_rule(_check(room, nothing, said)) == "redaction.target"


@pytest.mark.parametrize(("version", "elsewhere"), [(V10, True), (V11, False)])
def test_where_it_names(version: RoomVersion, elsewhere: bool) -> None:
    """Until version 10 `redacts` in the content means nothing; since 11 it is what counts."""
    room = _room(version)
    said = room.send("m.room.message", ANN, {"body": "so"})
    redaction = room.send("m.room.redaction", ANN, {"redacts": said.event_id})
    broken = "redaction.target" if elsewhere else None
    assert broken_rule(_check(room, redaction, said)) == broken


@EVERY_VERSION
def test_another_rooms(version: RoomVersion) -> None:
    room, other = _room(version), Room(version, creator=BOB)
    said = other.send("m.room.message", BOB, {"body": "so"})
    assert broken_rule(_check(room, _redact(room, ANN, said), said)) == "redaction.room"


@EVERY_VERSION
def test_create_event(version: RoomVersion) -> None:
    """A room's create event stays whole, whoever redacts it."""
    room = _room(version)
    assert broken_rule(_check(room, _redact(room, ANN, room.create), room.create)) == (
        "redaction.create"
    )


@EVERY_VERSION
def test_redaction_of_a_redaction(version: RoomVersion) -> None:
    room = _room(version)
    said = room.send("m.room.message", BOB, {"body": "so"})
    first = _redact(room, BOB, said)
    second = _redact(room, BOB, first)
    assert _check(room, second, first) is ALLOWED


def _circle(room: Room, size: int) -> list[Event]:
    """Redactions of which each redacts the next, and the last the first."""
    made = [_redact(room, ANN, room.create) for _ in range(size)]
    targets = [*made[1:], made[0]]
    circle = [
        msgspec.structs.replace(event, redacts=target.event_id)
        for event, target in zip(made, targets, strict=True)
    ]
    room.events.update({event.event_id: event for event in circle})
    return circle


@EVERY_VERSION
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_circle(version: RoomVersion, size: int) -> None:
    """Redactions that redact each other have no effect: itself, a pair, and more."""
    room = _room(version)
    circle = _circle(room, size)
    for redaction, target in itertools.pairwise([*circle, circle[0]]):
        assert broken_rule(_check(room, redaction, target)) == "redaction.circle"


@EVERY_VERSION
def test_someone_elses_circle(version: RoomVersion) -> None:
    """From outside, one of a circle can be redacted, and the walk ends."""
    room = _room(version)
    target = _circle(room, 3)[0]
    assert _check(room, _redact(room, ANN, target), target) is ALLOWED


def test_circle_in_version_1() -> None:
    """There, event IDs are chosen freely: a circle is really made."""
    room = _room(V1)
    upcoming = EventID(f"$e{room.next_number() + 2}:one.test")
    first = room.send("m.room.redaction", ANN, {}, redacts=upcoming)
    second = _redact(room, ANN, first)
    assert second.event_id == upcoming
    assert broken_rule(_check(room, second, first)) == "redaction.circle"
    assert broken_rule(_check(room, first, second)) == "redaction.circle"


def test_only_redactions_redact() -> None:
    """A message that has `redacts` in its content is none, so there is no circle."""
    room = _room(V11)
    said = room.send("m.room.message", BOB, {"body": "so"})
    redaction = _redact(room, BOB, said)
    back = msgspec.structs.replace(said, redacts=redaction.event_id)
    assert _check(room, redaction, back) is ALLOWED


def test_unknown_on_the_way() -> None:
    """A chain that leads to an event nobody knows is no circle."""
    room = _room(V11)
    first = room.send("m.room.redaction", ANN, {}, redacts="$unknown")
    assert _check(room, _redact(room, ANN, first), first) is ALLOWED


def test_malformed_levels() -> None:
    """Levels that cannot be read permit nothing, but one's own server's events stay one's own."""
    room = _room(V3, redact="a lot")
    said = room.send("m.room.message", BOB, {"body": "so"})
    assert broken_rule(_check(room, _redact(room, CAT, said), said)) == "power_levels.malformed"
    assert _check(room, _redact(room, BEN, said), said) is ALLOWED
