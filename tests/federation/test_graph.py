"""Walks over graphs: against definitions taken literally, on random graphs."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.events import Event
from federation.gap import Gap
from federation.graph import (
    auth_chain,
    auth_difference,
    conflicted_subgraph,
    forward_extremities,
    in_causal_order,
    reachable,
)
from federation.identifiers import EventID, RoomID, UserID
from federation.room_versions import V11

Graph = dict[int, list[int]]

graphs = st.lists(st.lists(st.integers(0, 11), max_size=3), min_size=1, max_size=12).map(
    lambda cited: {n: sorted({c for c in edges if c < n}) for n, edges in enumerate(cited)}
)
"""Event to what it cites; events only cite older ones."""


def chain_of(graph: Graph, event: int) -> set[int]:
    return set(graph[event]).union(*(chain_of(graph, cited) for cited in graph[event]))


def paths(graph: Graph, start: int) -> list[list[int]]:
    return [[start], *([start, *path] for cited in graph[start] for path in paths(graph, cited))]


@given(graphs, st.data())
def test_auth_chain(graph: Graph, data: st.DataObject) -> None:
    starts = data.draw(st.sets(st.sampled_from(sorted(graph))))
    expected = set().union(*(chain_of(graph, start) for start in starts))
    assert auth_chain(starts, graph.__getitem__) == expected
    assert reachable(starts, graph.__getitem__) == expected | starts


@given(graphs, st.data())
def test_auth_difference(graph: Graph, data: st.DataObject) -> None:
    """The union without the intersection, where a state is part of its own chain."""
    states = data.draw(st.lists(st.sets(st.sampled_from(sorted(graph))), min_size=1, max_size=5))
    chains = [state.union(*(chain_of(graph, e) for e in state)) for state in states]
    expected = set().union(*chains) - chains[0].intersection(*chains)
    assert auth_difference(states, graph.__getitem__) == expected


@given(graphs, st.data())
def test_conflicted_subgraph(graph: Graph, data: st.DataObject) -> None:
    conflicted = data.draw(st.sets(st.sampled_from(sorted(graph))))
    between = {
        event
        for start in conflicted
        for path in paths(graph, start)
        if path[-1] in conflicted
        for event in path
    }
    assert conflicted_subgraph(conflicted, graph.__getitem__) == between


def test_a_hundred_thousand_in_a_row() -> None:
    graph = {n: [n - 1] if n else [] for n in range(100_000)}
    assert len(auth_chain([99_999], graph.__getitem__)) == 99_999
    assert len(auth_difference([{0}, {99_999}], graph.__getitem__)) == 99_999
    assert len(conflicted_subgraph([0, 99_999], graph.__getitem__)) == 100_000


def event(name: str, *parents: str, cites: Sequence[str] = ()) -> Event:
    """A bare event."""
    return Event(
        V11,
        EventID(name),
        RoomID("!r:one.test"),
        "m.room.message",
        None,
        UserID("@ann:one.test"),
        {},
        0,
        1,
        tuple(map(EventID, parents)),
        tuple(map(EventID, cites)),
        None,
        b"",
    )


@pytest.mark.parametrize(
    ("before", "added", "after"),
    [
        ({}, [event("$a")], {"$a"}),
        ({"$a"}, [event("$b", "$a")], {"$b"}),
        ({"$a"}, [event("$b", "$x")], {"$a", "$b"}),
        ({"$a", "$b"}, [event("$c", "$a", "$b")], {"$c"}),
        ({"$a"}, [event("$c", "$b"), event("$b", "$a")], {"$c"}),
        ({"$a"}, [], {"$a"}),
    ],
)
def test_forward_extremities(before: set[str], added: list[Event], after: set[str]) -> None:
    assert forward_extremities({EventID(e) for e in before}, added) == after


@given(graphs, st.randoms(use_true_random=False))
def test_causal_order(graph: Graph, random: "object") -> None:
    events = [event(f"${n}", *(f"${c}" for c in cited)) for n, cited in graph.items()]
    random.shuffle(events)  # type: ignore[attr-defined]
    order = [found.event_id for found in in_causal_order(events)]
    assert sorted(order) == sorted(f"${n}" for n in graph)
    for found in events:
        for parent in found.prev_events:
            assert order.index(parent) < order.index(found.event_id)


def test_causal_order_is_stable_and_heeds_auth_events() -> None:
    one, two, three = event("$1"), event("$2", cites=["$3"]), event("$3")
    assert in_causal_order([one, two, three]) == [one, three, two]
    assert in_causal_order([one, three]) == [one, three]


def test_circles_have_no_order() -> None:
    """Events that cite each other, and what builds on them, are left out; the rest is not."""
    a, b, after, free = event("$a", "$b"), event("$b", "$a"), event("$c", "$a"), event("$f")
    assert in_causal_order([a, b, after, free]) == [free]
    assert in_causal_order([event("$s", "$s")]) == []


# Gaps


def test_a_gap_that_closes_step_by_step() -> None:
    last = event("$4", "$3")
    gap = Gap(last, {EventID("$1")})
    assert gap.wanted == {"$3"}
    assert not gap.is_closed
    gap.fill([event("$3", "$2")])
    assert gap.wanted == {"$2"}
    gap.fill([event("$2", "$1")])
    assert gap.wanted == frozenset()
    assert gap.is_closed
    assert [found.event_id for found in gap.events] == ["$2", "$3", "$4"]


def test_no_gap() -> None:
    gap = Gap(event("$2", "$1"), {EventID("$1")})
    assert gap.is_closed
    assert [found.event_id for found in gap.events] == ["$2"]


def test_one_answer_may_close_it_in_any_order() -> None:
    gap = Gap(event("$4", "$3"), {EventID("$1")})
    gap.fill([event("$2", "$1"), event("$3", "$2")])
    assert gap.is_closed


def test_what_nobody_asked_for_is_ignored() -> None:
    gap = Gap(event("$3", "$2"), set())
    gap.fill([event("$x", "$y"), event("$3", "$z")])
    assert gap.wanted == {"$2"}
    assert len(gap.events) == 1


def test_a_circle_keeps_no_gap_open() -> None:
    gap = Gap(event("$3", "$2"), set())
    gap.fill([event("$2", "$3")])
    assert gap.is_closed


def test_a_gap_too_wide_to_walk() -> None:
    """With more missing than the limit, nothing more is asked for; the state is fetched instead."""
    gap = Gap(event("$0", *(f"$p{n}" for n in range(5))), set(), limit=5)
    assert len(gap.wanted) == 5
    gap.fill([event("$p0", "$q0", "$q1")])
    assert gap.is_too_wide
    assert gap.wanted == frozenset()
    assert not gap.is_closed


def test_a_long_gap() -> None:
    gap = Gap(event("$20000", "$19999"), {EventID("$0")}, limit=20_000)
    gap.fill([event(f"${n}", f"${n - 1}") for n in range(1, 20_000)])
    assert gap.is_closed
    assert len(gap.events) == 20_000
