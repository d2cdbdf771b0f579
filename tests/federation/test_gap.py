"""What is asked for until an event has its place in the graph."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.events import Event
from federation.gap import Gap
from federation.identifiers import EventID
from tests.federation.rooms import bare_event


def event(name: str, *parents: str, cites: tuple[str, ...] = ()) -> Event:
    return bare_event(name, prev=parents, auth=cites)


def known(*names: str) -> set[EventID]:
    return set(map(EventID, names))


def names(gap: Gap) -> list[str]:
    return [found.event_id for found in gap.events]


def test_no_gap() -> None:
    gap = Gap(event("$2", "$1"), known("$1"))
    assert gap.is_closed
    assert gap.wanted == frozenset()
    assert names(gap) == ["$2"]


def test_a_gap_that_closes_step_by_step() -> None:
    gap = Gap(event("$4", "$3"), known("$1"))
    assert gap.wanted == {"$3"}
    assert not gap.is_closed
    gap.fill([event("$3", "$2")])
    assert gap.wanted == {"$2"}
    assert not gap.is_closed
    gap.fill([event("$2", "$1")])
    assert gap.wanted == frozenset()
    assert gap.is_closed
    assert not gap.is_too_wide
    assert names(gap) == ["$2", "$3", "$4"]


def test_several_branches_are_asked_for_at_once() -> None:
    gap = Gap(event("$4", "$2", "$3", "$0"), known("$0"))
    assert gap.wanted == {"$2", "$3"}
    gap.fill([event("$2", "$1")])
    assert gap.wanted == {"$1", "$3"}
    gap.fill([event("$3", "$1"), event("$1", "$0")])
    assert gap.is_closed
    assert names(gap)[0] == "$1"
    assert names(gap)[-1] == "$4"


def test_an_answer_without_help_changes_nothing() -> None:
    gap = Gap(event("$4", "$3"), known("$1"))
    gap.fill([])
    assert gap.wanted == {"$3"}
    assert not gap.is_closed


def test_what_nobody_asked_for_is_ignored() -> None:
    """Strangers, the event itself in another form, and what is found or known already."""
    gap = Gap(event("$4", "$3"), known("$1"))
    gap.fill([event("$x", "$y"), event("$4", "$z"), event("$1", "$0")])
    assert gap.wanted == {"$3"}
    assert names(gap) == ["$4"]
    gap.fill([event("$3", "$2")])
    gap.fill([event("$3", "$w")])
    assert gap.wanted == {"$2"}
    assert names(gap) == ["$3", "$4"]


def test_children_of_the_wanted_are_not_wanted() -> None:
    """An answer may hold what happened beside the gap; nothing that is missing leads to it."""
    gap = Gap(event("$4", "$2"), known("$1"))
    gap.fill([event("$3", "$2"), event("$2", "$1")])
    assert names(gap) == ["$2", "$4"]


def test_auth_events_are_no_gap() -> None:
    """They are fetched in another way; but where they are found as parents, they come first."""
    gap = Gap(event("$3", "$1", "$2"), set())
    gap.fill([event("$1", cites=("$2", "$elsewhere")), event("$2")])
    assert gap.is_closed
    assert names(gap) == ["$2", "$1", "$3"]


def test_a_room_from_its_beginning() -> None:
    gap = Gap(event("$2", "$1"), set())
    gap.fill([event("$1", "$0"), event("$0")])
    assert gap.is_closed
    assert names(gap) == ["$0", "$1", "$2"]


@given(
    st.lists(st.sets(st.integers(0, 9), min_size=1, max_size=3), min_size=1, max_size=10),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
def test_answers_in_any_order(edges: list[set[int]], size: int, shuffled: random.Random) -> None:
    """However the answers are cut and mixed, what is found is the same, and the gap closes."""
    history = {n: sorted({min(c, n - 1) for c in cited}) for n, cited in enumerate(edges, start=1)}
    events = [event(f"${n}", *(f"${c}" for c in cited)) for n, cited in history.items()]
    last = events[-1]
    gap = Gap(last, known("$0"))
    rounds = 0
    while gap.wanted:
        rounds += 1
        assert rounds <= len(events)
        answer = [e for e in events if e.event_id in gap.wanted][:size]
        answer += shuffled.sample(events, min(size, len(events)))
        shuffled.shuffle(answer)
        gap.fill(answer)
    ancestors: set[int] = set()
    pending = [len(history)]
    while pending:
        found = pending.pop()
        ancestors.add(found)
        pending += [c for c in history[found] if c]
    assert gap.is_closed
    assert sorted(names(gap)) == sorted(f"${n}" for n in ancestors)


# Circles, which only event IDs of versions 1 and 2 make possible


def test_a_circle_keeps_no_gap_open() -> None:
    """It has no causal order, and so no place in the graph: nothing is left to work with."""
    gap = Gap(event("$3", "$2"), set())
    gap.fill([event("$2", "$3")])
    assert gap.is_closed
    assert gap.events == []


def test_an_event_that_cites_itself() -> None:
    gap = Gap(event("$1", "$1"), set())
    assert gap.wanted == frozenset()
    assert gap.is_closed
    assert gap.events == []


# Gaps that are too wide


@pytest.mark.parametrize(("parents", "is_too_wide"), [(5, False), (6, True)])
def test_more_parents_than_the_limit(parents: int, is_too_wide: bool) -> None:
    """With more missing than the limit, nothing is asked for; the state is fetched instead."""
    gap = Gap(event("$0", *(f"$p{n}" for n in range(parents))), set(), limit=5)
    assert gap.is_too_wide is is_too_wide
    assert len(gap.wanted) == (0 if is_too_wide else parents)
    assert not gap.is_closed


def test_a_gap_that_turns_out_too_wide() -> None:
    gap = Gap(event("$0", *(f"$p{n}" for n in range(5))), set(), limit=5)
    gap.fill([event("$p0", "$q0", "$q1")])
    assert gap.is_too_wide
    assert gap.wanted == frozenset()
    assert not gap.is_closed


def test_a_gap_of_the_limits_size_closes() -> None:
    gap = Gap(event("$6", "$5"), known("$0"), limit=5)
    gap.fill([event(f"${n}", f"${n - 1}") for n in range(1, 6)])
    assert gap.is_closed
    assert not gap.is_too_wide
    assert len(gap.events) == 6


def test_a_long_answer_does_not_pass_the_limit() -> None:
    """ "up to `limit` of them": a peer that sends more than it was asked for is not heeded."""
    gap = Gap(event("$50", "$49"), known("$0"), limit=5)
    gap.fill([event(f"${n}", f"${n - 1}") for n in range(1, 50)])
    assert len(gap.events) <= 6
    assert gap.is_too_wide
    assert not gap.is_closed


def test_a_long_gap() -> None:
    """Twenty thousand events close one gap, in one answer that holds them in reverse."""
    gap = Gap(event("$20000", "$19999"), known("$0"), limit=20_000)
    gap.fill([event(f"${n}", f"${n - 1}") for n in range(19_999, 0, -1)])
    assert gap.is_closed
    assert names(gap) == [f"${n}" for n in range(1, 20_001)]
