"""The two orders of version 2: power events by topology, all others by the mainline."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.events import Event
from federation.graph import EventGraph
from federation.identifiers import EventID
from federation.room_versions import V12
from federation.state_resolution.ordering import mainline_order, reverse_topological_power_order
from federation.state_resolution.v2 import is_power_event
from tests.federation.rooms import ANN, BOB, CAT, bare_event

LEVELS = {ANN: 100, BOB: 50, CAT: 0}


def graph_of(*events: Event) -> EventGraph:
    return EventGraph({event.event_id: event for event in events})


def ids(*names: str) -> set[EventID]:
    return set(map(EventID, names))


def levels(name: str, *cited: str, **users: int) -> Event:
    content = {"users": {f"@{user}:x.test": level for user, level in users.items()}}
    return bare_event(name, "m.room.power_levels", content, "", auth=cited)


# Reverse topological power ordering

CREATED = bare_event("$create", "m.room.create", {}, "")
GRANTED = bare_event("$levels", "m.room.power_levels", {"users": LEVELS}, "", auth=["$create"])

small_sets = st.lists(
    st.tuples(
        st.sampled_from([ANN, BOB, CAT]), st.integers(0, 1), st.sets(st.integers(0, 5), max_size=2)
    ),
    min_size=1,
    max_size=6,
)
"""Sender, time, and which of the former events are cited."""


@given(small_sets, st.permutations("abcdef"))
def test_the_smallest_of_all_topological_orders(
    drawn: Sequence[tuple[str, int, set[int]]], names: list[str]
) -> None:
    """Of all orders with auth events first, the lexicographically smallest, found the slow way."""
    events = [
        bare_event(
            f"${names[n]}",
            sender=sender,
            ts=ts,
            auth=["$create", "$levels", *(f"${names[c]}" for c in sorted(cited) if c < n)],
        )
        for n, (sender, ts, cited) in enumerate(drawn)
    ]
    orders = [
        order
        for order in itertools.permutations(events)
        if not any(later.event_id in e.auth_events for e, later in itertools.combinations(order, 2))
    ]
    smallest = min(
        orders,
        key=lambda order: [(-LEVELS[e.sender], e.origin_server_ts, e.event_id) for e in order],
    )
    graph = graph_of(CREATED, GRANTED, *events)
    found = reverse_topological_power_order({e.event_id for e in events}, graph, CREATED)
    assert found == [e.event_id for e in smallest]


def test_the_senders_level_is_that_of_the_cited_power_levels() -> None:
    """Bob's level is looked up for each event anew, in what that event cites."""
    demoted = levels("$low", "$create", bob=0)
    before = bare_event("$z", sender="@bob:x.test", auth=["$create", "$high"])
    after = bare_event("$a", sender="@bob:x.test", auth=["$create", "$low"])
    graph = graph_of(CREATED, levels("$high", "$create", bob=100), demoted, before, after)
    found = reverse_topological_power_order(ids("$a", "$z"), graph, CREATED)
    assert found == ["$z", "$a"]


def test_without_power_levels_only_the_creator_has_a_level() -> None:
    create = bare_event("$create", "m.room.create", {}, "", sender=BOB)
    first = bare_event("$z", sender=BOB, auth=["$create"])
    second = bare_event("$a", sender=ANN, auth=["$create"])
    graph = graph_of(create, first, second)
    assert reverse_topological_power_order(ids("$a", "$z"), graph, create) == ["$z", "$a"]


def test_creators_stand_above_all_levels() -> None:
    """In version 12 the create event is not cited, and lifts its sender above any number."""
    create = bare_event("$create", "m.room.create", {}, "", version=V12, sender=BOB)
    given_levels = {"users": {CAT: 2**53 - 1}}
    granted = bare_event("$levels", "m.room.power_levels", given_levels, "", version=V12)
    creator = bare_event("$z", version=V12, sender=BOB, auth=["$levels"])
    mighty = bare_event("$a", version=V12, sender=CAT, auth=["$levels"])
    graph = graph_of(create, granted, creator, mighty)
    assert reverse_topological_power_order(ids("$a", "$z"), graph, create) == ["$z", "$a"]


@pytest.mark.parametrize("content", [{"users": {BOB: "many"}}, {"users": []}, {"users": {BOB: []}}])
def test_levels_that_cannot_be_read_count_as_none(content: dict[str, object]) -> None:
    unreadable = bare_event("$bad", "m.room.power_levels", content, "", auth=["$create"])
    lost = bare_event("$a", sender=BOB, auth=["$create", "$bad"])
    known = bare_event("$z", sender=BOB, auth=["$create", "$levels"])
    graph = graph_of(CREATED, GRANTED, unreadable, lost, known)
    assert reverse_topological_power_order(ids("$a", "$z"), graph, CREATED) == ["$z", "$a"]


def test_auth_events_outside_the_set_do_not_delay() -> None:
    after = bare_event("$a", auth=["$create", "$levels", "$unknown"])
    graph = graph_of(CREATED, GRANTED, after)
    assert reverse_topological_power_order(ids("$a"), graph, CREATED) == ["$a"]


# Mainline ordering


def mainline_graph() -> EventGraph:
    """Power levels 0 to 2 in a row, a side line from 1, and power levels that cite none."""
    row = [levels("$p0"), levels("$p1", "$p0"), levels("$p2", "$p1")]
    side = [levels("$s1", "$p1"), levels("$s2", "$s1"), levels("$alone")]
    cited = {"$on0": "$p0", "$on1": "$p1", "$on2": "$p2", "$lost": "$alone"}
    cited |= {"$side": "$s2", "$side_too": "$s2", "$side_below": "$s1"}
    built = [bare_event(name, ts=5, auth=[on]) for name, on in cited.items()]
    early = [bare_event("$early1", ts=4, auth=["$p1"]), bare_event("$early0", ts=9, auth=["$p0"])]
    return graph_of(*row, *side, *built, *early, bare_event("$free", ts=6))


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        # The older the power levels that an event builds on, the earlier.
        (["$on2", "$on1", "$on0"], ["$on0", "$on1", "$on2"]),
        # Those that meet the mainline nowhere come first.
        (["$on0", "$lost"], ["$lost", "$on0"]),
        (["$on0", "$free"], ["$free", "$on0"]),
        # Of a side line counts where it meets the mainline; then time, then ID.
        (["$side", "$on0", "$on2"], ["$on0", "$side", "$on2"]),
        (["$side", "$on1", "$early1"], ["$early1", "$on1", "$side"]),
        # Several on one side line meet the mainline in the same place.
        (
            ["$side_below", "$side", "$on0", "$side_too"],
            ["$on0", "$side", "$side_below", "$side_too"],
        ),
        # The mainline goes before time.
        (["$on1", "$early0"], ["$early0", "$on1"]),
        # Power levels are placed by those that they cite, not by themselves.
        (["$p2", "$on2", "$p1", "$p0", "$on0"], ["$p0", "$p1", "$on0", "$p2", "$on2"]),
        (["$s2", "$s1", "$on2"], ["$s1", "$s2", "$on2"]),
    ],
)
def test_mainline_order(events: list[str], expected: list[str]) -> None:
    for given_order in (events, events[::-1]):
        found = mainline_order(map(EventID, given_order), EventID("$p2"), mainline_graph())
        assert found == expected


def test_without_power_levels_time_decides() -> None:
    found = mainline_order(ids("$on2", "$early1", "$free"), None, mainline_graph())
    assert found == ["$early1", "$on2", "$free"]


def test_a_long_side_line() -> None:
    """Twenty thousand power levels that never meet the mainline are walked, once."""
    chain = [levels("$0"), *(levels(f"${n}", f"${n - 1}") for n in range(1, 20_000))]
    tops = [bare_event(f"$top{n}", ts=-n, auth=["$19999"]) for n in range(200)]
    on = bare_event("$on", auth=["$main"], ts=-999)
    graph = graph_of(*chain, *tops, levels("$main"), on)
    found = mainline_order([on.event_id, *(t.event_id for t in tops)], EventID("$main"), graph)
    assert found == [*(t.event_id for t in reversed(tops)), on.event_id]


def test_power_levels_in_a_circle_end_the_walk() -> None:
    """Under the event IDs of versions 1 and 2 a peer could make such events."""
    a, b, top = levels("$a", "$b"), levels("$b", "$a"), bare_event("$top", auth=["$a"])
    other = bare_event("$other", ts=-1)
    graph = graph_of(a, b, top, other)
    for start in (None, EventID("$a")):
        assert mainline_order(ids("$top", "$other"), start, graph) == ["$other", "$top"]


# Power events


@pytest.mark.parametrize(
    ("kind", "state_key", "membership", "is_power"),
    [
        ("m.room.power_levels", "", None, True),
        ("m.room.power_levels", "x", None, False),
        ("m.room.power_levels", None, None, False),
        ("m.room.join_rules", "", None, True),
        ("m.room.join_rules", "x", None, False),
        ("m.room.member", BOB, "ban", True),
        ("m.room.member", BOB, "leave", True),
        ("m.room.member", BOB, "invite", False),
        ("m.room.member", BOB, None, False),
        ("m.room.member", ANN, "leave", False),
        ("m.room.member", ANN, "ban", False),
        # "a state event with type m.room.member"
        ("m.room.member", None, "leave", False),
        ("m.room.create", "", None, False),
        ("m.room.topic", "", None, False),
    ],
)
def test_power_events(
    kind: str, state_key: str | None, membership: str | None, is_power: bool
) -> None:
    content = {"membership": membership} if membership else {}
    assert is_power_event(bare_event("$e", kind, content, state_key)) is is_power
