"""Walks over graphs: against definitions taken literally, on random graphs."""

import random
from collections.abc import Collection, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.events import Event
from federation.graph import (
    EventGraph,
    auth_chain,
    auth_difference,
    conflicted_subgraph,
    forward_extremities,
    in_causal_order,
    reachable,
)
from federation.identifiers import EventID
from tests.federation.rooms import bare_event

Graph = Mapping[int, Sequence[int]]

graphs = st.lists(st.lists(st.integers(0, 11), max_size=3), min_size=1, max_size=12).map(
    lambda cited: {n: sorted({c for c in edges if c < n}) for n, edges in enumerate(cited)}
)
"""Event to what it cites; events only cite older ones."""

tangles = st.lists(st.sets(st.integers(0, 8), max_size=2), min_size=1, max_size=9).map(
    lambda cited: {n: sorted(c for c in edges if c < len(cited)) for n, edges in enumerate(cited)}
)
"""The same where events may cite younger ones and themselves, as no honest graph does."""


def chain_of(graph: Graph, event: int) -> set[int]:
    return set(graph[event]).union(*(chain_of(graph, cited) for cited in graph[event]))


def difference(graph: Graph, states: Sequence[set[int]]) -> set[int]:
    """The union without the intersection, where a state is part of its own chain."""
    chains = [state.union(*(chain_of(graph, e) for e in state)) for state in states]
    return set().union(*chains) - chains[0].intersection(*chains)


def paths(graph: Graph, start: int) -> list[list[int]]:
    return [[start], *([start, *path] for cited in graph[start] for path in paths(graph, cited))]


def between(graph: Graph, ends: set[int]) -> set[int]:
    """What stands on any path from one end to another."""
    walked = (path for start in ends for path in paths(graph, start) if path[-1] in ends)
    return set().union(*walked)


def states_in(events: Collection[int]) -> st.SearchStrategy[list[set[int]]]:
    return st.lists(st.sets(st.sampled_from(sorted(events))), min_size=1, max_size=5)


# Walks along auth events


@given(graphs, st.data())
def test_auth_chain(graph: Graph, data: st.DataObject) -> None:
    starts = data.draw(st.sets(st.sampled_from(sorted(graph))))
    expected = set().union(*(chain_of(graph, start) for start in starts))
    assert auth_chain(starts, graph.__getitem__) == expected
    assert reachable(starts, graph.__getitem__) == expected | starts


@given(graphs, st.data())
def test_auth_difference(graph: Graph, data: st.DataObject) -> None:
    states = data.draw(states_in(graph))
    assert auth_difference(states, graph.__getitem__) == difference(graph, states)


@given(graphs, st.data())
def test_conflicted_subgraph(graph: Graph, data: st.DataObject) -> None:
    conflicted = data.draw(st.sets(st.sampled_from(sorted(graph))))
    assert conflicted_subgraph(conflicted, graph.__getitem__) == between(graph, conflicted)


@given(graphs, st.data())
def test_what_a_graph_does_not_know_is_left_out(graph: Graph, data: st.DataObject) -> None:
    """With some auth events missing, the walks see the graph of the others."""
    known = data.draw(st.sets(st.sampled_from(sorted(graph)), min_size=1))
    partial = {n: [c for c in graph[n] if c in known] for n in known}
    events = (bare_event(f"${n}", auth=[f"${c}" for c in graph[n]]) for n in known)
    found = EventGraph({event.event_id: event for event in events})
    states = data.draw(states_in(known))
    named = [ids_of(state) for state in states]
    assert found.auth_difference(named) == ids_of(difference(partial, states))
    assert found.conflicted_subgraph(named[0]) == ids_of(between(partial, states[0]))
    chain = set().union(*(chain_of(partial, start) for start in states[0]))
    assert auth_chain(named[0], found.auth_events) == ids_of(chain)


def ids_of(numbers: Collection[int]) -> set[EventID]:
    return {EventID(f"${n}") for n in numbers}


@given(tangles, st.data())
def test_walks_end_in_circles_too(graph: Graph, data: st.DataObject) -> None:
    """Whatever they find in such a graph, it is of the graph, and the same each time."""
    states = data.draw(states_in(graph))
    found = auth_difference(states, graph.__getitem__)
    assert found <= reachable(set().union(*states), graph.__getitem__)
    assert found == auth_difference(states, graph.__getitem__)
    subgraph = conflicted_subgraph(states[0], graph.__getitem__)
    assert states[0] <= subgraph <= reachable(states[0], graph.__getitem__)


def test_a_state_is_part_of_its_own_chain() -> None:
    """Both states hold event 1, but only one of them also leads to it: it is no difference."""
    graph = {1: [], 2: [1], 3: []}
    assert auth_difference([{1, 2}, {1, 3}], graph.__getitem__) == {2, 3}


def test_events_above_the_conflicted_do_not_lie_between() -> None:
    """Neither what cites both, nor what both cite."""
    graph = {0: [], 1: [0], 2: [1], 3: [2], 4: [1, 3]}
    assert conflicted_subgraph({1, 3}, graph.__getitem__) == {1, 2, 3}


def test_a_hundred_thousand_in_a_row() -> None:
    graph = {n: [n - 1] if n else [] for n in range(100_000)}
    assert len(auth_chain([99_999], graph.__getitem__)) == 99_999
    assert len(auth_difference([{0}, {99_999}], graph.__getitem__)) == 99_999
    assert len(conflicted_subgraph([0, 99_999], graph.__getitem__)) == 100_000


# Forward extremities


def event(name: str, *parents: str, cites: Sequence[str] = ()) -> Event:
    return bare_event(name, prev=parents, auth=cites)


@pytest.mark.parametrize(
    ("before", "added", "after"),
    [
        ({}, [event("$a")], {"$a"}),
        ({"$a"}, [event("$b", "$a")], {"$b"}),
        ({"$a"}, [event("$b", "$x")], {"$a", "$b"}),
        ({"$a", "$b"}, [event("$c", "$a", "$b")], {"$c"}),
        ({"$a"}, [event("$c", "$b"), event("$b", "$a")], {"$c"}),
        ({"$a"}, [event("$b", "$a"), event("$c", "$a")], {"$b", "$c"}),
        # To be cited for authority does not make a parent.
        ({"$a"}, [event("$b", "$x", cites=["$a"])], {"$a", "$b"}),
        ({"$a"}, [], {"$a"}),
    ],
)
def test_forward_extremities(before: set[str], added: list[Event], after: set[str]) -> None:
    assert forward_extremities({EventID(e) for e in before}, added) == after


@given(graphs, st.integers(0, 12))
def test_extremities_are_what_nothing_cites(graph: Graph, cut: int) -> None:
    """Added at once or in two parts: what stays is what has no children."""
    events = [event(f"${n}", *(f"${c}" for c in cited)) for n, cited in graph.items()]
    childless = ids_of(graph.keys() - {c for cited in graph.values() for c in cited})
    assert forward_extremities(frozenset(), events) == childless
    first = forward_extremities(frozenset(), events[:cut])
    assert forward_extremities(first, events[cut:]) == childless


# Causal order


def tangled(graph: Graph) -> list[Event]:
    """Its events; even ones cite as parents, odd ones for authority."""
    cited = {n: [f"${c}" for c in edges] for n, edges in graph.items()}
    return [event(f"${n}", cites=c) if n % 2 else event(f"${n}", *c) for n, c in cited.items()]


@given(graphs, st.randoms(use_true_random=False))
def test_causal_order(graph: Graph, shuffled: random.Random) -> None:
    """All are there, each after what it cites, however they are given."""
    events = tangled(graph)
    shuffled.shuffle(events)
    order = [found.event_id for found in in_causal_order(events)]
    assert sorted(order) == sorted(ids_of(graph))
    for found in events:
        for cited in (*found.prev_events, *found.auth_events):
            assert order.index(cited) < order.index(found.event_id)


@given(graphs, st.randoms(use_true_random=False))
def test_what_is_in_causal_order_stays_as_it_is(graph: Graph, shuffled: random.Random) -> None:
    """Sorted once in whatever way, the order is kept."""
    given_order: list[Event] = []
    waiting = tangled(graph)
    while waiting:
        shuffled.shuffle(waiting)
        left = {found.event_id for found in waiting}
        free = [e for e in waiting if left.isdisjoint((*e.prev_events, *e.auth_events))]
        given_order.append(free[0])
        waiting.remove(free[0])
    assert in_causal_order(given_order) == given_order


@given(tangles)
def test_circles_and_what_builds_on_them_are_left_out(graph: Graph) -> None:
    def is_on_a_circle(event: int) -> bool:
        return event in reachable(graph[event], graph.__getitem__)

    sound = {n for n in graph if not any(map(is_on_a_circle, reachable([n], graph.__getitem__)))}
    assert {found.event_id for found in in_causal_order(tangled(graph))} == ids_of(sound)


def test_unknown_parents_do_not_hold_up() -> None:
    one, two = event("$1", "$unknown", cites=["$elsewhere"]), event("$2", "$1", "$1")
    assert in_causal_order([two, one]) == [one, two]


def test_what_is_given_twice_comes_once() -> None:
    one, two = event("$1"), event("$2", "$1")
    assert in_causal_order([two, one, two, one]) == [one, two]


def test_causal_order_is_stable_and_heeds_auth_events() -> None:
    one, two, three = event("$1"), event("$2", cites=["$3"]), event("$3")
    assert in_causal_order([one, two, three]) == [one, three, two]
    assert in_causal_order([one, three]) == [one, three]
    assert in_causal_order([three, one]) == [three, one]


def test_circles_have_no_order() -> None:
    """Events that cite each other, and what builds on them, are left out; the rest is not."""
    a, b, after, free = event("$a", "$b"), event("$b", "$a"), event("$c", "$a"), event("$f")
    assert in_causal_order([a, b, after, free]) == [free]
    assert in_causal_order([event("$s", "$s")]) == []


def test_twenty_thousand_parents_in_a_row() -> None:
    row = [event("$0"), *(event(f"${n}", f"${n - 1}") for n in range(1, 20_000))]
    assert in_causal_order(reversed(row)) == row
