"""What versions 2 and 2.1 of state resolution decide in rooms that forked, story by story."""

import pytest

from federation.auth import CREATE
from federation.auth.selection import JOIN_RULES, POWER_LEVELS
from federation.events import StateKey
from federation.graph import EventGraph
from federation.room_versions import V2, V11, V12, RoomVersion
from federation.state_resolution import resolve
from tests.federation.rooms import ANN, BOB, CAT, DAN, Room

V2_FAMILY = pytest.mark.parametrize("version", [V2, V11, V12], ids=lambda v: f"v{v.name}")
TOPIC = ("m.room.topic", "")
NAME = ("m.room.name", "")


def member(user: str) -> StateKey:
    return ("m.room.member", user)


def users(version: RoomVersion, **levels: int) -> dict[str, int]:
    """Ann's 100, where a creator's level can be given, and others'."""
    named = {"bob": BOB, "cat": CAT, "dan": DAN}
    creator = {} if version.privileged_creators else {str(ANN): 100}
    return creator | {str(named[name]): level for name, level in levels.items()}


# Bans, kicks, demotions


@V2_FAMILY
def test_a_ban_beats_what_the_banned_user_did_elsewhere(version: RoomVersion) -> None:
    """Ann bans Bob while he, on another branch, makes himself a new name and sets the topic."""
    room = Room(version, levels={"users": users(version, bob=50)})
    room.join(BOB)
    ban, evasion = room.fork(), room.fork()
    banned = ban.ban(ANN, BOB)
    evasion.send("m.room.topic", BOB, {"topic": "still here"}, "")
    evasion.join(BOB, displayname="Not Bob")
    found = room.resolve(ban, evasion)
    assert found[member(BOB)] == banned.event_id
    assert TOPIC not in found


@V2_FAMILY
def test_a_ban_beats_a_later_join(version: RoomVersion) -> None:
    """Bob's join has the later time; the ban is a power event and comes first nonetheless."""
    room = Room(version)
    ban, join = room.fork(), room.fork()
    banned = ban.ban(ANN, BOB, ts=2_000_000)
    join.join(BOB, ts=9_000_000)
    assert room.resolve(ban, join)[member(BOB)] == banned.event_id


@V2_FAMILY
def test_leaving_is_no_power_event(version: RoomVersion) -> None:
    """Bob leaves on one branch and takes a new name later on the other: he has come back."""
    room = Room(version)
    room.join(BOB)
    left, renamed = room.fork(), room.fork()
    left.leave(BOB, ts=8_000_000)
    back = renamed.join(BOB, displayname="Robert", ts=9_000_000)
    assert room.resolve(left, renamed)[member(BOB)] == back.event_id


@V2_FAMILY
def test_closing_the_door_beats_a_join(version: RoomVersion) -> None:
    """Ann makes the room invite-only while Bob, unaware, joins."""
    room = Room(version)
    closed, joined = room.fork(), room.fork()
    rule = closed.join_rule(ANN, "invite", ts=9_000_000)
    joined.join(BOB, ts=2_000_000)
    found = room.resolve(closed, joined)
    assert found[JOIN_RULES] == rule.event_id
    assert member(BOB) not in found


@V2_FAMILY
def test_the_more_powerful_of_two_changes_comes_first(version: RoomVersion) -> None:
    """Ann demotes Bob while Bob, elsewhere and earlier, promotes Cat: he no longer could."""
    before = users(version, bob=90)
    room = Room(version, levels={"users": before})
    room.join(BOB)
    room.join(CAT)
    demotion, promotion = room.fork(), room.fork()
    demoted = demotion.power_levels(ANN, {"users": {**before, BOB: 0}}, ts=9_000_000)
    promotion.power_levels(BOB, {"users": {**before, CAT: 50}}, ts=8_000_000)
    assert room.resolve(demotion, promotion)[POWER_LEVELS] == demoted.event_id


@V2_FAMILY
def test_a_demotion_undoes_what_was_done_elsewhere(version: RoomVersion) -> None:
    """Bob renames the room, is demoted on the other branch, and the name goes with his power."""
    before = users(version, bob=50)
    room = Room(version, levels={"users": before})
    room.join(BOB)
    demotion, renaming = room.fork(), room.fork()
    demotion.power_levels(ANN, {"users": {**before, BOB: 0}})
    renaming.send("m.room.name", BOB, {"name": "Bob's"}, "")
    assert NAME not in room.resolve(demotion, renaming)


@V2_FAMILY
@pytest.mark.parametrize(("bob_at", "cat_at"), [(1, 2), (2, 1), (1, 1)])
def test_equals_who_change_the_levels_at_once(
    version: RoomVersion, bob_at: int, cat_at: int
) -> None:
    """Both may, so the earlier goes first and the later over it; in one moment, by their IDs."""
    equal = users(version, bob=50, cat=50)
    room = Room(version, levels={"users": equal})
    room.join(BOB)
    room.join(CAT)
    by_bob, by_cat = room.fork(), room.fork()
    one = by_bob.power_levels(BOB, {"users": equal, "kick": 40}, ts=bob_at)
    two = by_cat.power_levels(CAT, {"users": equal, "kick": 30}, ts=cat_at)
    last = max((one, two), key=lambda e: (e.origin_server_ts, e.event_id))
    assert room.resolve(by_bob, by_cat)[POWER_LEVELS] == last.event_id


# What is left is ordered by the mainline


@V2_FAMILY
def test_of_equals_the_later_topic_stays(version: RoomVersion) -> None:
    """Mainline position being the same, the earlier is applied first and the later over it."""
    room = Room(version)
    early, late = room.fork(), room.fork()
    early.send("m.room.topic", ANN, {"topic": "early"}, "", ts=7_000_000)
    topic = late.send("m.room.topic", ANN, {"topic": "late"}, "", ts=7_000_001)
    assert room.resolve(early, late)[TOPIC] == topic.event_id


@V2_FAMILY
def test_of_topics_in_one_moment_the_greater_id_stays(version: RoomVersion) -> None:
    room = Room(version)
    left, right = room.fork(), room.fork()
    one = left.send("m.room.topic", ANN, {"topic": "one"}, "", ts=7_000_000)
    two = right.send("m.room.topic", ANN, {"topic": "two"}, "", ts=7_000_000)
    assert room.resolve(left, right)[TOPIC] == max(one.event_id, two.event_id)


@V2_FAMILY
def test_what_builds_on_newer_levels_stays(version: RoomVersion) -> None:
    """A topic with an old time, but set under newer power levels, wins."""
    room = Room(version)
    old, new = room.fork(), room.fork()
    new.power_levels(ANN, {"users": users(version), "kick": 60})
    topic = new.send("m.room.topic", ANN, {"topic": "new"}, "", ts=1)
    old.send("m.room.topic", ANN, {"topic": "old"}, "", ts=9_000_000)
    assert room.resolve(old, new)[TOPIC] == topic.event_id


@V2_FAMILY
def test_a_key_that_one_state_lacks_is_in_conflict(version: RoomVersion) -> None:
    """It is kept if it is allowed, and lost if it is not."""
    room = Room(version, levels={"users": users(version, bob=50)})
    room.join(BOB)
    without, with_topic = room.fork(), room.fork()
    topic = with_topic.send("m.room.topic", BOB, {"topic": "t"}, "")
    assert room.resolve(without, with_topic)[TOPIC] == topic.event_id
    without.kick(ANN, BOB)
    assert TOPIC not in room.resolve(without, with_topic)


# Where 2.1 keeps what 2 loses: the problems of MSC4297


@pytest.mark.parametrize(("version", "is_kept"), [(V11, False), (V12, True)])
def test_problem_a_join_rules_of_somebody_who_left(version: RoomVersion, is_kept: bool) -> None:
    """A server claims outdated join rules; all agree that Ann, who set both, has left since.

    Version 2 checks both join rules against what all agree on, in which Ann may set none. Version
    2.1 starts from nothing, so that they are checked against what they cite.
    """
    room = Room(version)
    old = room.state[JOIN_RULES]
    room.join(BOB)
    new = room.join_rule(ANN, "invite")
    room.leave(ANN)
    honest, claimed = room.fork(), room.fork()
    claimed.state[JOIN_RULES] = old
    assert room.resolve(honest, claimed).get(JOIN_RULES) == (new.event_id if is_kept else None)


@pytest.mark.parametrize(("version", "is_kept"), [(V11, False), (V12, True)])
def test_problem_b_a_promotion_by_the_promoted(version: RoomVersion, is_kept: bool) -> None:
    """Ann promotes Bob, Bob promotes Cat; then a server claims the levels before both.

    Both sides know all three power levels through what Cat did since, so Bob's promotion is not
    in the auth difference. Without it, he could not promote Cat: version 2 falls back to the first
    levels. The conflicted subgraph of version 2.1 holds what lies between.
    """
    room = Room(version)
    first = room.state[POWER_LEVELS]
    for user in (BOB, CAT):
        room.join(user)
    room.power_levels(ANN, {"users": users(version, bob=100)})
    last = room.power_levels(BOB, {"users": users(version, bob=100, cat=50)})
    room.join(CAT, displayname="Cat")
    honest, claimed = room.fork(), room.fork()
    claimed.state[POWER_LEVELS] = first
    kept = last if is_kept else first
    assert room.resolve(honest, claimed)[POWER_LEVELS] == kept.event_id


@pytest.mark.parametrize(("version", "is_kept"), [(V11, False), (V12, True)])
def test_a_join_that_one_state_never_knew(version: RoomVersion, is_kept: bool) -> None:
    """A server claims that Bob never joined; by today's join rules he could not have."""
    room = Room(version)
    joined = room.join(BOB)
    room.join(CAT)  # cites the old join rules in both states, so that they are not in conflict
    room.join_rule(ANN, "invite")
    honest, claimed = room.fork(), room.fork()
    del claimed.state[member(BOB)]
    found = room.resolve(honest, claimed)
    assert found.get(member(BOB)) == (joined.event_id if is_kept else None)


def test_what_all_agree_on_comes_back_in_the_end() -> None:
    """Version 2.1 forgets Ann's leave while it replays her join rules, but does not undo it."""
    room = Room(V12)
    room.join(BOB)
    left = room.leave(ANN)
    honest, claimed = room.fork(), room.fork()
    del claimed.state[JOIN_RULES]
    assert room.resolve(honest, claimed)[member(ANN)] == left.event_id


def test_the_subgraph_brings_in_what_lies_between() -> None:
    """All that leads from one conflicted event to another takes part."""
    room = Room(V12, levels={"users": {BOB: 100}})
    first = room.state[POWER_LEVELS]
    join = room.join(BOB)  # cites the first power levels, and is cited by the next
    between = room.power_levels(BOB, {"users": {BOB: 100}, "kick": 60})
    last = room.power_levels(BOB, {"users": {BOB: 100}, "kick": 70})
    subgraph = room.graph.conflicted_subgraph([first.event_id, last.event_id])
    rules = room.state[JOIN_RULES]  # cites them too, and is cited by the join
    assert subgraph == {e.event_id for e in (first, rules, join, between, last)}


@V2_FAMILY
def test_a_state_without_the_create_event(version: RoomVersion) -> None:
    """Where a state lacks it, the create event is the one that all events cite or imply."""
    room = Room(version)
    honest, claimed = room.fork(), room.fork()
    topic = honest.send("m.room.topic", ANN, {"topic": "t"}, "")
    del claimed.state[CREATE]
    found = room.resolve(honest, claimed)
    assert found[CREATE] == room.create.event_id
    assert found[TOPIC] == topic.event_id


# Rejected events


@V2_FAMILY
def test_rejected_auth_events_lend_no_authority(version: RoomVersion) -> None:
    """Bob's topic cites power levels that were rejected; without them he has no power.

    The states hold no power levels, and those that were Bob's own idea are not allowed in the
    resolution either, so the ones that the topic cites would decide.
    """
    room = Room(version)
    room.join(BOB)
    left, right = room.fork(), room.fork()
    forged = right.power_levels(BOB, {"users": users(version, bob=100)}, check=False)
    topic = right.send("m.room.topic", BOB, {"topic": "mine"}, "", check=False)
    for branch in (left, right):
        del branch.state[POWER_LEVELS]
    states = [left.ids, right.ids]
    trusting = resolve(states, EventGraph(room.events), version)
    wary = resolve(states, EventGraph(room.events, {forged.event_id}), version)
    assert trusting[TOPIC] == topic.event_id
    assert TOPIC not in wary


@V2_FAMILY
def test_rejected_events_are_handled_as_usual(version: RoomVersion) -> None:
    """Rejected for the state that one server saw, an event may be good in the resolution."""
    room = Room(version)
    left, right = room.fork(), room.fork()
    topic = right.send("m.room.topic", ANN, {"topic": "t"}, "")
    graph = EventGraph(room.events, {topic.event_id})
    assert resolve([left.ids, right.ids], graph, version)[TOPIC] == topic.event_id


# Branches that go on


def test_merging_is_seen_by_later_branches() -> None:
    """A merged branch goes on: its next event cites both sides' tips and the resolved state."""
    room = Room(V11)
    room.join(BOB)
    left, right = room.fork(), room.fork()
    one = left.send("m.room.message", BOB, {"body": "1"})
    two = right.ban(ANN, BOB)
    merged = room.merge(left, right)
    after = merged.send("m.room.message", ANN, {"body": "3"})
    assert set(after.prev_events) == {one.event_id, two.event_id}
    assert merged.ids[member(BOB)] == two.event_id
