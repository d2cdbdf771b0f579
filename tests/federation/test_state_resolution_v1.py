"""What version 1 of state resolution decides: by depth, then by hash, in passes."""

import hashlib

import pytest

from federation.auth.selection import JOIN_RULES, POWER_LEVELS
from federation.events import Event, StateKey
from federation.room_versions import V1
from tests.federation.rooms import ANN, BOB, CAT, Branch, Room

TOPIC = ("m.room.topic", "")


def member(user: str) -> StateKey:
    return ("m.room.member", user)


def levels(ann: int = 100, bob: int = 0, cat: int = 0) -> dict[str, dict[str, int]]:
    return {"users": {str(ANN): ann, str(BOB): bob, str(CAT): cat}}


def room_of_three(bob: int = 0, cat: int = 0) -> Room:
    room = Room(V1, levels=levels(bob=bob, cat=cat))
    room.join(BOB)
    room.join(CAT)
    return room


def deepen(branch: Branch, by: int) -> None:
    """Let the branch's next event be deeper."""
    for _ in range(by):
        branch.send("m.room.message", ANN, {"body": "?"})


def sha1(event: Event) -> str:
    return hashlib.sha1(event.event_id.encode(), usedforsecurity=False).hexdigest()


# Power levels, join rules and members: from the shallowest on, while they are allowed


@pytest.mark.parametrize("depth", [0, 2])
def test_who_demotes_and_who_is_demoted(depth: int) -> None:
    """Ann's demotion of Bob stands, be it before his promotion of Cat or after."""
    room = room_of_three(bob=90)
    demotion, promotion = room.fork(), room.fork()
    deepen(demotion, depth)
    deepen(promotion, 1)
    demoted = demotion.power_levels(ANN, levels(bob=0))
    promotion.power_levels(BOB, levels(bob=90, cat=50))
    assert room.resolve(demotion, promotion)[POWER_LEVELS] == demoted.event_id


def test_the_first_that_is_not_allowed_ends_the_pass() -> None:
    """Bob's change is not allowed after Ann's first; her second is not even looked at."""
    room = room_of_three(bob=90)
    first, second, third = room.fork(), room.fork(), room.fork()
    deepen(second, 1)
    deepen(third, 2)
    demoted = first.power_levels(ANN, levels(bob=0))
    second.power_levels(BOB, levels(bob=90, cat=50))
    third.power_levels(ANN, levels(bob=0, cat=10))
    assert room.resolve(first, second, third)[POWER_LEVELS] == demoted.event_id


def test_the_first_needs_no_permission() -> None:
    """Bob may not set join rules, but his come first, and Ann, who left, may not replace them."""
    room = room_of_three()
    by_bob, by_ann = room.fork(), room.fork()
    deepen(by_ann, 1)
    rule = by_bob.send("m.room.join_rules", BOB, {"join_rule": "invite"}, "", check=False)
    by_ann.join_rule(ANN, "knock")
    left = room.leave(ANN)
    for branch in (by_bob, by_ann):
        branch.state[member(ANN)] = left
    assert room.resolve(by_bob, by_ann)[JOIN_RULES] == rule.event_id


def test_of_the_same_depth_the_lower_hash_comes_last() -> None:
    """ "ascending depth then descending sha1(event_id)": both are allowed, so the last stays."""
    room = room_of_three()
    branches = [room.fork() for _ in range(4)]
    events = [b.join_rule(ANN, "public", number=n) for n, b in enumerate(branches)]
    assert room.resolve(*branches)[JOIN_RULES] == min(events, key=sha1).event_id


def test_members_are_judged_by_the_resolved_join_rules() -> None:
    """The rules are settled first: by them Bob may come back; by none he would need an invite."""
    room = room_of_three()
    left, right = room.fork(), room.fork()
    left.join_rule(ANN, "public", number=1)
    left.leave(BOB)
    deepen(right, 2)
    right.join_rule(ANN, "public", number=2)
    back = right.join(BOB, displayname="B")
    assert room.resolve(left, right)[member(BOB)] == back.event_id


def test_members_do_not_see_each_others_conflicts() -> None:
    """Bob, kicked, came back and banned Cat; yet he counts as absent, for he is in conflict too."""
    room = room_of_three(bob=50)
    left, right = room.fork(), room.fork()
    left.kick(ANN, BOB)
    renamed = left.join(CAT, displayname="C")
    deepen(right, 1)
    back = right.join(BOB, displayname="B")
    deepen(right, 1)
    right.ban(BOB, CAT)
    found = room.resolve(left, right)
    assert found[member(BOB)] == back.event_id
    assert found[member(CAT)] == renamed.event_id


# All others: from the deepest on, the first that is allowed


def test_the_deepest_topic_stays() -> None:
    room = room_of_three()
    shallow, deep = room.fork(), room.fork()
    shallow.send("m.room.topic", ANN, {"topic": "late"}, "", ts=9_000_000)
    deepen(deep, 1)
    topic = deep.send("m.room.topic", ANN, {"topic": "deep"}, "", ts=1)
    assert room.resolve(shallow, deep)[TOPIC] == topic.event_id


def test_of_the_same_depth_the_lower_hash_stays() -> None:
    room = room_of_three()
    branches = [room.fork() for _ in range(4)]
    topics = [b.send("m.room.topic", ANN, {"topic": str(n)}, "") for n, b in enumerate(branches)]
    assert room.resolve(*branches)[TOPIC] == min(topics, key=sha1).event_id


def test_the_deepest_topic_that_is_allowed_stays() -> None:
    """Bob's is deeper, but Ann's demotion of him is settled before topics are."""
    room = room_of_three(bob=50)
    demotion, naming = room.fork(), room.fork()
    deepen(demotion, 1)
    demotion.power_levels(ANN, levels(bob=0))
    topic = demotion.send("m.room.topic", ANN, {"topic": "hers"}, "")
    deepen(naming, 5)
    naming.power_levels(BOB, levels(bob=50, cat=1))
    naming.send("m.room.topic", BOB, {"topic": "his"}, "")
    assert room.resolve(demotion, naming)[TOPIC] == topic.event_id


def test_where_no_topic_is_allowed_the_shallowest_stays() -> None:
    room = room_of_three(bob=50)
    shallow, deep = room.fork(), room.fork()
    deepen(deep, 1)
    topic = shallow.send("m.room.topic", BOB, {"topic": "1"}, "")
    deep.send("m.room.topic", BOB, {"topic": "2"}, "")
    ban = room.ban(ANN, BOB)
    for branch in (shallow, deep):
        branch.state[member(BOB)] = ban
    assert room.resolve(shallow, deep)[TOPIC] == topic.event_id


# What is no conflict


def test_a_key_that_one_state_lacks_is_no_conflict() -> None:
    """The known weakness of version 1: a banned user's topic goes through unseen."""
    room = room_of_three(bob=50)
    ban, evasion = room.fork(), room.fork()
    ban.ban(ANN, BOB)
    topic = evasion.send("m.room.topic", BOB, {"topic": "still here"}, "")
    assert room.resolve(ban, evasion)[TOPIC] == topic.event_id
