"""State resolution: against a second implementation, and by its properties."""

import os
import random
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.auth import CREATE
from federation.auth.selection import POWER_LEVELS
from federation.errors import StateResolutionError
from federation.events import Event, StateKey
from federation.graph import EventGraph, auth_difference, conflicted_subgraph
from federation.identifiers import EventID
from federation.room_versions import V1, V2, V11, V12, RoomVersion
from federation.state_resolution import resolve
from federation.state_resolution.v2 import separate
from tests.federation.forked_rooms import claimed_states, forked_room, mistakes, steps
from tests.federation.reference_resolution import Reference, resolve_v1
from tests.federation.rooms import ANN, BOB, CAT, DAN, Room, bare_event

ONE_OF_EACH = pytest.mark.parametrize("version", [V1, V11, V12], ids=lambda v: f"v{v.name}")
FEWER = settings(max_examples=settings().max_examples // 2)
TOPIC = ("m.room.topic", "")


class Fork(NamedTuple):
    """What several servers believe the state of one room to be."""

    version: RoomVersion
    events: Mapping[EventID, Event]
    states: list[dict[StateKey, EventID]]
    rejected: frozenset[EventID]

    @property
    def graph(self) -> EventGraph:
        return EventGraph(self.events, self.rejected)

    @property
    def reference(self) -> Reference:
        return Reference(self.events, from_empty=self.version is V12, rejected=self.rejected)

    def resolve(self) -> dict[StateKey, EventID]:
        return resolve(self.states, self.graph, self.version)


@st.composite
def forks(draw: st.DrawFn, version: RoomVersion) -> Fork:
    """Some branches of a random room; half of the time with mistakes and rejected events."""
    room, branches = forked_room(version, draw(st.lists(steps, min_size=1, max_size=2)))
    branches = branches[: draw(st.integers(2, 4))]
    wrong, rejected = [], frozenset[EventID]()
    if draw(st.booleans()):
        wrong = draw(mistakes)
        later = sorted(room.events.keys() - {room.create.event_id})
        rejected = frozenset(draw(st.lists(st.sampled_from(later), max_size=2)))
    return Fork(version, room.events, claimed_states(room, branches, wrong), rejected)


class NumberGraph:
    """A room's events by number, as a database has them."""

    def __init__(self, fork: Fork) -> None:
        # Numbers in the order of the hashes: no relation to when anything happened.
        self.numbers = {event_id: n for n, event_id in enumerate(sorted(fork.events), start=1)}
        self._events = {self.numbers[event_id]: event for event_id, event in fork.events.items()}
        self._rejected = {self.numbers[event_id] for event_id in fork.rejected}

    def event(self, found: int) -> Event:
        return self._events[found]

    def auth_events(self, of: int) -> Collection[int]:
        return [self.numbers[cited] for cited in self._events[of].auth_events]

    def is_rejected(self, found: int) -> bool:
        return found in self._rejected

    def auth_difference(self, states: Sequence[Collection[int]]) -> set[int]:
        return auth_difference(states, self.auth_events)

    def conflicted_subgraph(self, conflicted: Collection[int]) -> set[int]:
        return conflicted_subgraph(conflicted, self.auth_events)


# Against the second implementation


@pytest.mark.parametrize("version", [V2, V11, V12], ids=lambda v: f"v{v.name}")
@given(data=st.data())
def test_v2_is_what_the_specification_says(version: RoomVersion, data: st.DataObject) -> None:
    fork = data.draw(forks(version))
    assert fork.resolve() == fork.reference.resolve(fork.states)


@given(forks(V1))
def test_v1_is_what_the_specification_says(fork: Fork) -> None:
    assert fork.resolve() == resolve_v1(fork.states, fork.events)


# Properties


@ONE_OF_EACH
@FEWER
@given(data=st.data(), shuffled=st.randoms(use_true_random=False))
def test_order_does_not_matter(
    version: RoomVersion, data: st.DataObject, shuffled: random.Random
) -> None:
    """Neither that of the states, nor that of the keys in them."""
    fork = data.draw(forks(version))
    others = [dict(shuffled.sample(list(s.items()), len(s))) for s in fork.states]
    shuffled.shuffle(others)
    assert fork.resolve() == resolve(others, fork.graph, version)


@ONE_OF_EACH
@FEWER
@given(data=st.data())
def test_numbers_serve_as_well_as_names(version: RoomVersion, data: st.DataObject) -> None:
    fork = data.draw(forks(version))
    graph = NumberGraph(fork)
    states = [{key: graph.numbers[e] for key, e in state.items()} for state in fork.states]
    found = resolve(states, graph, version)
    assert {key: graph.event(n).event_id for key, n in found.items()} == fork.resolve()


@ONE_OF_EACH
@FEWER
@given(data=st.data())
def test_nothing_comes_from_nowhere(version: RoomVersion, data: st.DataObject) -> None:
    """What all agree on stays; the rest was in some state, or in what some state builds on."""
    fork = data.draw(forks(version))
    found = fork.resolve()
    first, *others = fork.states
    assert found.items() >= {i for i in first.items() if all(i in o.items() for o in others)}
    chains = set().union(*map(fork.reference.full_auth_chain, fork.states))
    assert chains.issuperset(found.values())
    for key, event_id in found.items():
        assert (fork.events[event_id].type, fork.events[event_id].state_key) == key


@ONE_OF_EACH
@FEWER
@given(data=st.data())
def test_what_is_agreed_resolves_to_itself(version: RoomVersion, data: st.DataObject) -> None:
    fork = data.draw(forks(version))
    for state in fork.states:
        assert resolve([state], fork.graph, version) == state
        assert resolve([state, dict(state)], fork.graph, version) == state
    assert resolve([*fork.states, *fork.states], fork.graph, version) == fork.resolve()


@ONE_OF_EACH
def test_no_states(version: RoomVersion) -> None:
    with pytest.raises(StateResolutionError):
        resolve([], EventGraph({}), version)


@ONE_OF_EACH
def test_the_given_states_are_left_alone(version: RoomVersion) -> None:
    """The resolution is a dict of its own, even if nothing is in conflict."""
    room = Room(version)
    state = room.ids
    found = resolve([state], room.graph, version)
    found.clear()
    assert state == room.ids


def test_hash_seeds_do_not_matter() -> None:
    """Servers differ in the order of their sets; the state may not."""
    first, second = (_resolved_with_seed(seed) for seed in ("1", "2"))
    assert first == second
    assert first.count("m.room.topic") == len((V1, V2, V12))


def _resolved_with_seed(seed: str) -> str:
    code = "from tests.federation.test_state_resolution import quarrels; print(quarrels())"
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def quarrels() -> list[list[tuple[StateKey, EventID]]]:
    """Four branches, and all of them change everything at the same moment."""
    return [sorted(_quarrel(version).items()) for version in (V1, V2, V12)]


def _quarrel(version: RoomVersion) -> dict[StateKey, EventID]:
    creator = {} if version is V12 else {ANN: 100}
    users = {**creator, BOB: 100, CAT: 100, DAN: 100}
    room = Room(version, levels={"users": users})
    for user in (BOB, CAT, DAN):
        room.join(user)
    branches = [room.fork() for _ in range(4)]
    for number, (branch, user) in enumerate(zip(branches, (ANN, BOB, CAT, DAN), strict=True)):
        branch.send("m.room.topic", user, {"topic": user}, "", ts=5_000_000)
        branch.power_levels(user, {"users": users, "kick": number}, ts=5_000_000)
        branch.member(user, user, "join", displayname=str(number), ts=5_000_000)
    return room.resolve(*branches)


def test_separating_what_is_agreed_from_what_is_not() -> None:
    a, b, c = EventID("$a"), EventID("$b"), EventID("$c")
    one, two, three = ("m.room.name", ""), ("m.room.topic", ""), ("m.room.avatar", "")
    unconflicted, conflicted = separate([{one: a, two: b}, {two: c, one: a, three: c}])
    assert unconflicted == {one: a}
    assert conflicted == {b, c}


# Depth


def test_twenty_thousand_power_levels_in_a_row() -> None:
    """Nothing recurses along a graph that a peer made."""
    create, join, *chain = _long_history(20_000)
    topic = bare_event("$topic", "m.room.topic", {}, "", auth=["$0", "$1", chain[-1].event_id])
    events = {e.event_id: e for e in (create, join, *chain, topic)}
    base = {CREATE: create.event_id, ("m.room.member", ANN): join.event_id}
    states = [
        {**base, POWER_LEVELS: chain[0].event_id},
        {**base, POWER_LEVELS: chain[-1].event_id, TOPIC: topic.event_id},
    ]
    for version in (V1, V2, V12):
        found = resolve(states, EventGraph(events), version)
        assert found[POWER_LEVELS] == chain[-1].event_id
        assert found[TOPIC] == topic.event_id


def _long_history(levels: int) -> list[Event]:
    """The create event, Ann's join, and her power levels, each citing those before."""
    users = {"users": {ANN: 100}}
    create = bare_event("$0", "m.room.create", {}, "")
    join = bare_event("$1", "m.room.member", {"membership": "join"}, ANN, auth=["$0"])
    cited = [["$0", "$1", f"${n - 1}"] if n > 2 else ["$0", "$1"] for n in range(2, levels + 2)]
    return [create, join] + [
        bare_event(f"${n}", "m.room.power_levels", users, "", auth=auth, ts=n, depth=n)
        for n, auth in enumerate(cited, start=2)
    ]
