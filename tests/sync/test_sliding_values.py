"""The parts of sliding sync that are values in, values out.

https://github.com/matrix-org/matrix-spec-proposals/pull/4186
"""

from types import SimpleNamespace
from typing import Any

import pytest

from federation.identifiers import RoomID, UserID
from homeserver.errors import InvalidParam, UnknownPos
from homeserver.storage.batch import Membership
from homeserver.storage.memberships import RoomOf
from homeserver.storage.numbers import RoomNid
from homeserver.storage.state_groups import EventNid, KeyNid
from homeserver.storage.stream_tokens import StreamToken
from homeserver.storage.sync import Change
from homeserver.sync.sliding.due import Due, advanced, fallen_behind
from homeserver.sync.sliding.lines import Line
from homeserver.sync.sliding.lists import Match
from homeserver.sync.sliding.members import KnownMembers, Told
from homeserver.sync.sliding.positions import Position, Sent, decode, encode
from homeserver.sync.sliding.required_state import told_state
from homeserver.sync.sliding.state_wishes import (
    MEMBER,
    Element,
    RoomConfig,
    StateWish,
    combined,
    is_wanted,
    reach,
)
from homeserver.sync.sliding.wishes import SlidingToken
from homeserver.sync.timelines import News

ROOM = RoomNid(7)
ANN, BOB = UserID("@ann:one.test"), UserID("@bob:one.test")
TOPIC = ("m.room.topic", "")
ALL = StateWish(frozenset({Element(None, None)}))
ALL_BUT_MEMBERS = ALL._replace(lazy=True)
TOPICS = StateWish(frozenset({Element("m.room.topic", None)}))
ONLY_BOB = StateWish(frozenset({Element(MEMBER, BOB)}), lazy=True)


@pytest.mark.parametrize(
    ("wish", "key", "is_meant"),
    [
        (ALL, TOPIC, True),
        (ALL, (MEMBER, ANN), True),
        (ALL_BUT_MEMBERS, TOPIC, True),
        (ALL_BUT_MEMBERS, (MEMBER, ANN), False),
        (TOPICS, ("m.room.topic", "x"), True),
        (TOPICS, ("m.room.name", ""), False),
        (ONLY_BOB, (MEMBER, BOB), True),
        (ONLY_BOB, (MEMBER, ANN), False),
        (ALL._replace(exclude=TOPICS.include), TOPIC, False),
        (StateWish(frozenset({Element(None, "x")})), ("a", "x"), True),
        (StateWish(), TOPIC, False),
    ],
)
def test_what_a_wish_means(wish: StateWish, key: tuple[str, str], is_meant: bool) -> None:
    assert wish.matches(key) is is_meant
    # Whatever is wanted is among what is read.
    wide = reach([wish])
    types = wide.types is None or key[0] in wide.types
    is_read = types and not (wide.is_without_members and key[0] == MEMBER)
    assert is_read or key in wide.keys or not is_meant


def test_wishes_are_combined_to_a_superset() -> None:
    one, two = RoomConfig(3, frozenset({TOPICS})), RoomConfig(9, frozenset({ONLY_BOB}))
    both = combined([one, two])
    assert (both.limit, both.lazy) == (9, True)
    assert is_wanted(TOPIC, both.wishes)
    assert is_wanted((MEMBER, BOB), both.wishes)
    # "there are no configs that return all membership events"
    assert not combined([both, RoomConfig(0, frozenset({ALL}))]).lazy
    assert combined([both, RoomConfig(0, frozenset({ALL_BUT_MEMBERS}))]).lazy


def test_what_is_stored_is_what_was() -> None:
    sent = Sent(Membership.JOIN, frozenset({ALL, ONLY_BOB}), 20, is_dm=True, behind=5)
    other = Sent(Membership.BAN, frozenset({TOPICS}), 1)
    position = Position({ROOM: sent, RoomNid(8): other}, frozenset({"receipts"}))
    assert decode(encode(position)) == position
    assert decode(encode(Position())) == Position()


def test_rooms_fall_behind_once_and_nothing_else_is_a_change() -> None:
    sent = Sent(Membership.JOIN, frozenset(), 1)
    position = Position({ROOM: sent})
    behind = fallen_behind(position, 10, [ROOM])
    assert behind == {ROOM: sent._replace(behind=10)}
    after = advanced(position, behind, frozenset())
    assert fallen_behind(after, 20, [ROOM]) == {}
    assert advanced(after, {ROOM: after.rooms[ROOM]}, frozenset()) is after
    assert advanced(after, {}, frozenset({"receipts"})) != after


def test_only_what_the_client_got_counts_as_known() -> None:
    known = KnownMembers()

    def tell(answer: int, user: UserID, *, is_anew: bool = False) -> None:
        known.note(1, "", answer, {ROOM: Told(frozenset({user}), is_anew)})

    known.begin(1, "", None)
    tell(11, ANN)
    assert known.of(1, "", ROOM) == frozenset()
    known.begin(1, "", 11)
    assert known.of(1, "", ROOM) == {ANN}
    tell(12, BOB)
    # It asks again: the answer was lost, and will not be the one that it got later.
    known.begin(1, "", 11)
    known.begin(1, "", 12)
    assert known.of(1, "", ROOM) == {ANN}
    assert known.of(1, "other", ROOM) == frozenset()
    tell(13, BOB, is_anew=True)
    known.begin(1, "", 13)
    assert known.of(1, "", ROOM) == {BOB}
    known.begin(1, "", None)
    assert known.of(1, "", ROOM) == frozenset()


def test_what_no_client_asked_on_from_is_forgotten() -> None:
    known = KnownMembers(most=10)
    for device in range(1, 50):
        known.begin(device, "", None)
        known.note(device, "", 5, {ROOM: Told(frozenset({ANN, BOB}), is_anew=True)})
    for device, users in ((49, {ANN, BOB}), (1, set())):
        known.begin(device, "", 5)
        assert known.of(device, "", ROOM) == users


def line(changes: list[Change], sent: Sent) -> Line:
    room = RoomOf(ROOM, RoomID("!a:one.test"), Membership.JOIN, EventNid(1), 5, 0)
    config = RoomConfig(10, frozenset({TOPICS}))
    match = Match(room, config, (), is_subscribed=True, departure=None)
    return Line(Due(match, sent, 6, is_dm=False), 9, News((), False, changes))


def placed(kind: str, key: str) -> Any:
    return SimpleNamespace(event=SimpleNamespace(type=kind, state_key=key))


def test_an_entry_that_is_gone_is_told_as_such() -> None:
    """A state that is resolved anew may lose entries."""
    sent = Sent(Membership.JOIN, frozenset({TOPICS}), 10)
    old, new = EventNid(1), EventNid(2)
    events = {old: placed(*TOPIC), new: placed(*TOPIC)}
    gone = Change(ROOM, 7, KeyNid(1), old, None)
    back = Change(ROOM, 8, KeyNid(1), None, new)
    assert told_state(line([gone], sent), events, None) == ({}, [TOPIC])
    assert told_state(line([gone, back], sent), events, None) == ({TOPIC: events[new]}, [])
    assert told_state(line([back, gone], sent), events, None) == ({}, [TOPIC])


def test_tokens() -> None:
    token = SlidingToken(StreamToken(1, 22, 0, 333), 4, 5)
    assert SlidingToken.parse(str(token)) == token
    # One that stands in a room's history does as well.
    assert StreamToken.parse(str(token)) == token.stream
    for bad in ("", "h1.2.0.0", "h1.2.0.0~", "h1.2.0.0~1", "h1.2.0.0~1.x", "h1.2.0.0~1.2~3"):
        with pytest.raises(UnknownPos):
            SlidingToken.parse(bad)
    with pytest.raises(InvalidParam):
        StreamToken.parse("h1.2.0.0~1")
