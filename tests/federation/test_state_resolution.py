"""State resolution: against a second implementation, by its properties, and by stories."""

import os
import subprocess
import sys
from collections.abc import Collection, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.auth import CREATE
from federation.auth.selection import POWER_LEVELS
from federation.errors import StateResolutionError
from federation.events import Event, StateKey
from federation.graph import EventGraph, auth_difference, conflicted_subgraph
from federation.identifiers import EventID, RoomID, UserID
from federation.room_versions import V1, V2, V11, V12, RoomVersion
from federation.state_resolution import resolve
from federation.state_resolution.v2 import is_power_event, separate
from tests.federation.forked_rooms import Step, forked_room, steps
from tests.federation.reference_resolution import Reference, resolve_v1
from tests.federation.rooms import ANN, BOB, CAT, DAN, Branch, Room

ONE_OF_EACH = pytest.mark.parametrize("version", [V1, V2, V11, V12], ids=lambda v: f"v{v.name}")
V2_FAMILY = pytest.mark.parametrize("version", [V2, V11, V12], ids=lambda v: f"v{v.name}")
histories = st.lists(steps, min_size=1, max_size=2)
TOPIC = ("m.room.topic", "")


def member(user: str) -> StateKey:
    return ("m.room.member", user)


class NumberGraph:
    """A room's events by number, as a database has them."""

    def __init__(self, events: dict[EventID, Event]) -> None:
        # Numbers in the order of the hashes: no relation to when anything happened.
        self.numbers = {event_id: n for n, event_id in enumerate(sorted(events), start=1)}
        self._events = {self.numbers[event_id]: event for event_id, event in events.items()}

    def event(self, found: int) -> Event:
        return self._events[found]

    def auth_events(self, of: int) -> Collection[int]:
        return [self.numbers[cited] for cited in self._events[of].auth_events]

    def is_rejected(self, found: int) -> bool:
        return False

    def auth_difference(self, states: Sequence[Collection[int]]) -> set[int]:
        return auth_difference(states, self.auth_events)

    def conflicted_subgraph(self, conflicted: Collection[int]) -> set[int]:
        return conflicted_subgraph(conflicted, self.auth_events)


# Against the second implementation


@V2_FAMILY
@given(history=histories)
def test_v2_is_what_the_specification_says(
    version: RoomVersion, history: Sequence[Sequence[Step]]
) -> None:
    room, branches = forked_room(version, history)
    reference = Reference(room.events, from_empty=version is V12)
    assert room.resolve(*branches) == reference.resolve([b.ids for b in branches])
    assert room.resolve(*branches[:2]) == reference.resolve([b.ids for b in branches[:2]])


@given(history=histories)
def test_v1_is_what_the_specification_says(history: Sequence[Sequence[Step]]) -> None:
    room, branches = forked_room(V1, history)
    assert room.resolve(*branches) == resolve_v1([b.ids for b in branches], room.events)


# Properties


@ONE_OF_EACH
@given(history=histories, random=st.randoms(use_true_random=False))
def test_order_does_not_matter(
    version: RoomVersion, history: Sequence[Sequence[Step]], random: "object"
) -> None:
    room, branches = forked_room(version, history)
    states = [branch.ids for branch in branches]
    shuffled = [dict(reversed(state.items())) for state in reversed(states)]
    assert resolve(states, room.graph, version) == resolve(shuffled, room.graph, version)


@ONE_OF_EACH
@given(history=histories)
def test_numbers_serve_as_well_as_names(
    version: RoomVersion, history: Sequence[Sequence[Step]]
) -> None:
    room, branches = forked_room(version, history)
    graph = NumberGraph(room.events)
    states = [{key: graph.numbers[e] for key, e in b.ids.items()} for b in branches]
    found = resolve(states, graph, version)
    by_name = {key: graph.event(number).event_id for key, number in found.items()}
    assert by_name == room.resolve(*branches)


@ONE_OF_EACH
@given(history=histories)
def test_nothing_comes_from_nowhere(
    version: RoomVersion, history: Sequence[Sequence[Step]]
) -> None:
    """What all agree on stays; the rest was in some state, or in what some state builds on."""
    room, branches = forked_room(version, history)
    states = [branch.ids for branch in branches]
    found = resolve(states, room.graph, version)
    unconflicted, _ = separate(states)
    assert found.items() >= unconflicted.items()
    chains = set().union(
        *(Reference(room.events, from_empty=False).full_auth_chain(s) for s in states)
    )
    assert chains.issuperset(found.values())
    for key, event_id in found.items():
        assert (room.events[event_id].type, room.events[event_id].state_key) == key


@ONE_OF_EACH
@given(history=histories)
def test_one_state_resolves_to_itself(
    version: RoomVersion, history: Sequence[Sequence[Step]]
) -> None:
    room, branches = forked_room(version, history)
    for branch in branches:
        assert room.resolve(branch) == branch.ids == room.resolve(branch, branch)


def test_no_states() -> None:
    with pytest.raises(StateResolutionError):
        resolve([], EventGraph({}), V12)


def test_hash_seeds_do_not_matter() -> None:
    """Servers differ in the order of their sets; the state may not."""
    found = {_resolved_with_seed(seed) for seed in ("0", "1", "2")}
    assert len(found) == 1
    assert "m.room.topic" in found.pop()


def _resolved_with_seed(seed: str) -> str:
    code = (
        "from tests.federation.test_state_resolution import quarrel; "
        "print(sorted(quarrel().items()))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def quarrel() -> dict[StateKey, EventID]:
    """Four branches, and all of them change everything."""
    users = {BOB: 100, CAT: 100, DAN: 100}
    room = Room(V12, levels={"users": users})
    for user in users:
        room.join(user)
    branches = [room.fork() for _ in range(4)]
    for number, (branch, user) in enumerate(zip(branches, (ANN, BOB, CAT, DAN), strict=True)):
        branch.send("m.room.topic", user, {"topic": user}, "", ts=5_000_000)
        branch.power_levels(user, {"users": users, "kick": number}, ts=5_000_000)
        branch.member(user, user, "join", displayname=str(number), ts=5_000_000)
    return room.resolve(*branches)


# Stories


@V2_FAMILY
def test_a_ban_beats_what_the_banned_user_did_elsewhere(version: RoomVersion) -> None:
    """Ann bans Bob while he, on another branch, makes himself a new name and sets the topic."""
    room = Room(version, levels={"users": {BOB: 50} if version is V12 else {ANN: 100, BOB: 50}})
    room.join(BOB)
    ban, evasion = room.fork(), room.fork()
    banned = ban.ban(ANN, BOB)
    evasion.send("m.room.topic", BOB, {"topic": "still here"}, "")
    evasion.join(BOB, displayname="Not Bob")
    found = room.resolve(ban, evasion)
    assert found[member(BOB)] == banned.event_id
    assert TOPIC not in found


def test_v1_lets_a_topic_through_that_a_ban_should_stop() -> None:
    """The known weakness of version 1: what only one branch has is no conflict."""
    room = Room(V1, levels={"users": {ANN: 100, BOB: 50}})
    room.join(BOB)
    ban, evasion = room.fork(), room.fork()
    ban.ban(ANN, BOB)
    topic = evasion.send("m.room.topic", BOB, {"topic": "still here"}, "")
    assert room.resolve(ban, evasion)[TOPIC] == topic.event_id


@V2_FAMILY
def test_the_more_powerful_of_two_changes_comes_first(version: RoomVersion) -> None:
    """Ann demotes Bob while Bob, elsewhere, promotes Cat: he no longer could."""
    users = {BOB: 90} if version is V12 else {ANN: 100, BOB: 90}
    room = Room(version, levels={"users": users})
    room.join(BOB)
    room.join(CAT)
    demotion, promotion = room.fork(), room.fork()
    demoted = demotion.power_levels(ANN, {"users": {**users, BOB: 0}}, ts=9_000_000)
    promotion.power_levels(BOB, {"users": {**users, CAT: 50}}, ts=8_000_000)
    assert room.resolve(demotion, promotion)[POWER_LEVELS] == demoted.event_id


@V2_FAMILY
def test_of_equals_the_later_topic_stays(version: RoomVersion) -> None:
    """Mainline position being the same, the earlier is applied first and the later over it."""
    room = Room(version)
    early, late = room.fork(), room.fork()
    early.send("m.room.topic", ANN, {"topic": "early"}, "", ts=7_000_000)
    topic = late.send("m.room.topic", ANN, {"topic": "late"}, "", ts=7_000_001)
    assert room.resolve(early, late)[TOPIC] == topic.event_id


@V2_FAMILY
def test_what_builds_on_newer_levels_stays(version: RoomVersion) -> None:
    """A topic with an old time, but set under newer power levels, wins."""
    room = Room(version)
    old, new = room.fork(), room.fork()
    users = {} if version is V12 else {ANN: 100}
    new.power_levels(ANN, {"users": users, "kick": 60})
    topic = new.send("m.room.topic", ANN, {"topic": "new"}, "", ts=1)
    old.send("m.room.topic", ANN, {"topic": "old"}, "", ts=9_000_000)
    assert room.resolve(old, new)[TOPIC] == topic.event_id


@pytest.mark.parametrize(("version", "is_kept"), [(V11, False), (V12, True)])
def test_state_that_one_branch_never_knew(version: RoomVersion, is_kept: bool) -> None:
    """The reset that version 12 ends.

    A server claims a state in which Bob, who joined long ago, never did; so his join is conflicted.
    Version 2 starts from what both agree on and checks the join against today's join rules, under
    which he could not have come. Version 2.1 starts from nothing: the rules of his time count.
    """
    room = Room(version)
    joined = room.join(BOB)
    room.join(CAT)  # cites the old join rules in both states, so that they are not conflicted
    room.join_rule(ANN, "invite")
    honest, claimed = room.fork(), room.fork()
    del claimed.state[member(BOB)]
    found = room.resolve(honest, claimed)
    assert (found.get(member(BOB)) == joined.event_id) is is_kept


def test_the_subgraph_brings_in_what_lies_between() -> None:
    """All that leads from one conflicted event to another takes part."""
    room = Room(V12, levels={"users": {BOB: 100}})
    first = room.state[POWER_LEVELS]
    join = room.join(BOB)  # cites the first power levels, and is cited by the next
    between = room.power_levels(BOB, {"users": {BOB: 100}, "kick": 60})
    last = room.power_levels(BOB, {"users": {BOB: 100}, "kick": 70})
    subgraph = room.graph.conflicted_subgraph([first.event_id, last.event_id])
    rules = room.state[("m.room.join_rules", "")]  # cites them too, and is cited by the join
    assert subgraph == {e.event_id for e in (first, rules, join, between, last)}


@ONE_OF_EACH
def test_a_key_that_one_state_lacks(version: RoomVersion) -> None:
    """Version 1 sees no conflict, later ones do; where the event is allowed both keep it."""
    room = Room(version)
    without, with_topic = room.fork(), room.fork()
    topic = with_topic.send("m.room.topic", ANN, {"topic": "t"}, "")
    assert room.resolve(without, with_topic)[TOPIC] == topic.event_id
    _, conflicted = separate([without.ids, with_topic.ids])
    assert conflicted == {topic.event_id}


@V2_FAMILY
def test_rejected_auth_events_lend_no_authority(version: RoomVersion) -> None:
    """Bob's topic cites power levels that were rejected; without them he has no power."""
    room = Room(version)
    room.join(BOB)
    left, right = room.fork(), room.fork()
    users = {str(BOB): 100} if version is V12 else {str(ANN): 100, str(BOB): 100}
    forged = right.power_levels(BOB, {"users": users}, check=False)
    topic = right.send("m.room.topic", BOB, {"topic": "mine"}, "", check=False)
    left.send("m.room.topic", ANN, {"topic": "hers"}, "")
    del right.state[POWER_LEVELS]
    del left.state[POWER_LEVELS]
    states = [left.ids, right.ids]
    trusting = resolve(states, EventGraph(room.events), version)
    wary = resolve(states, EventGraph(room.events, {forged.event_id}), version)
    assert wary[TOPIC] != topic.event_id
    assert POWER_LEVELS not in wary or wary[POWER_LEVELS] != forged.event_id
    assert trusting[CREATE] == wary[CREATE]


@pytest.mark.parametrize(
    ("kind", "state_key", "membership", "is_power"),
    [
        ("m.room.power_levels", "", None, True),
        ("m.room.power_levels", "x", None, False),
        ("m.room.join_rules", "", None, True),
        ("m.room.member", BOB, "ban", True),
        ("m.room.member", BOB, "leave", True),
        ("m.room.member", BOB, "invite", False),
        ("m.room.member", ANN, "leave", False),
        ("m.room.topic", "", None, False),
    ],
)
def test_power_events(kind: str, state_key: str, membership: str | None, is_power: bool) -> None:
    content = {"membership": membership} if membership else {}
    event = Room(V11).fork().send(kind, ANN, content, state_key, check=False)
    assert is_power_event(event) is is_power


# Depth


def event_of(number: int, kind: str, cited: Sequence[int], *, ts: int = 0) -> Event:
    """A bare event: `$number`, by Ann, of a room whose create event is `$0`."""
    content = {"users": {ANN: 100}} if kind == "m.room.power_levels" else {}
    return Event(
        V11,
        EventID(f"${number}"),
        RoomID("!r:one.test"),
        kind,
        ANN if kind == "m.room.member" else "",
        UserID(ANN),
        {"membership": "join"} if kind == "m.room.member" else content,
        ts or number,
        number,
        (),
        tuple(EventID(f"${c}") for c in cited),
        None,
        b"",
    )


def test_twenty_thousand_power_levels_in_a_row() -> None:
    """Nothing recurses along a graph that a peer made."""
    create, join = event_of(0, "m.room.create", []), event_of(1, "m.room.member", [0])
    chain = [event_of(2, "m.room.power_levels", [0, 1])]
    chain += [event_of(n, "m.room.power_levels", [0, 1, n - 1]) for n in range(3, 20_003)]
    topic = event_of(30_000, "m.room.topic", [0, 1, 20_002])
    events = {e.event_id: e for e in (create, join, *chain, topic)}
    base = {CREATE: create.event_id, member(ANN): join.event_id}
    states = [
        {**base, POWER_LEVELS: chain[0].event_id},
        {**base, POWER_LEVELS: chain[-1].event_id, TOPIC: topic.event_id},
    ]
    for version in (V2, V12):
        found = resolve(states, EventGraph(events), version)
        assert found[POWER_LEVELS] == chain[-1].event_id
        assert found[TOPIC] == topic.event_id


def test_merging_is_seen_by_later_branches() -> None:
    """A merged branch goes on: its next event cites both sides' tips."""
    room = Room(V11)
    left, right = room.fork(), room.fork()
    one = left.send("m.room.message", ANN, {"body": "1"})
    two = right.send("m.room.message", ANN, {"body": "2"})
    merged: Branch = room.merge(left, right)
    after = merged.send("m.room.message", ANN, {"body": "3"})
    assert set(after.prev_events) == {one.event_id, two.event_id}
