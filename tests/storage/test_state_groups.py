"""The layers of state groups: whatever is changed, the state is what a plain dict would be."""

import time

from hypothesis import given
from hypothesis import strategies as st

from homeserver.storage.state_groups import (
    GONE,
    MAX_LAYERS,
    EventNid,
    GroupNid,
    KeyNid,
    NewGroup,
    StateGroup,
    changes_between,
    first_group,
    numbered,
    state_digest,
)

HASH_KEY = b"k" * 16
Changes = dict[KeyNid, EventNid]


class Table:
    """Rows of groups, as the database keeps them."""

    def __init__(self) -> None:
        self.groups: dict[GroupNid, StateGroup] = {}
        self.bytes = 0

    def add(self, new: NewGroup) -> StateGroup:
        return self._keep(new, numbered(new, self._next()))

    def after(self, group: StateGroup, changes: Changes) -> StateGroup:
        new = group.after(changes, HASH_KEY)
        return group if new is None else self._keep(new, group.grown(new, self._next()))

    def _next(self) -> GroupNid:
        return GroupNid(len(self.groups) + 1)

    def _keep(self, new: NewGroup, group: StateGroup) -> StateGroup:
        below = self.groups[new.parent].layers if new.parent else ()
        assert group.layers[:-1] == below
        self.groups[group.nid] = group
        self.bytes += len(new.records) + 60
        return group


def numbers(count: int, offset: int = 0) -> Changes:
    return {KeyNid(n): EventNid(n + 1 + offset) for n in range(count)}


entries = st.dictionaries(
    st.integers(1, 40).map(KeyNid), st.integers(0, 5).map(EventNid), min_size=1, max_size=6
)


def applied(state: Changes, changes: Changes) -> Changes:
    return {key: event for key, event in {**state, **changes}.items() if event != GONE}


@given(entries.map(lambda e: applied({}, e)), st.lists(entries, max_size=60))
def test_any_history_equals_a_dict(start: Changes, history: list[Changes]) -> None:
    table, state = Table(), start
    group = table.add(first_group(start, HASH_KEY))
    for changes in history:
        group, state = table.after(group, changes), applied(state, changes)
        assert group.entries() == state
        assert group.size == len(state)
        assert group.digest == state_digest(state, HASH_KEY)
        assert len(group.layers) <= MAX_LAYERS
    assert {key: group.find(key) for key in map(KeyNid, range(41))} == {
        key: state.get(key) for key in map(KeyNid, range(41))
    }


@given(st.lists(entries, max_size=30), st.lists(entries, max_size=30))
def test_differences_lead_from_one_to_the_other(left: list[Changes], right: list[Changes]) -> None:
    table = Table()
    one = other = table.add(first_group(numbers(20), HASH_KEY))
    for changes in left:
        one = table.after(one, changes)
    for changes in right:
        other = table.after(other, changes)
    changes = changes_between(one, other)
    assert applied(one.entries(), changes) == other.entries()
    assert all(one.find(key) != other.find(key) for key in changes)


def test_what_changes_nothing_is_the_same_group() -> None:
    group = Table().add(first_group(numbers(3), HASH_KEY))
    assert group.after(numbers(2), HASH_KEY) is None
    assert group.after({KeyNid(99): GONE}, HASH_KEY) is None


def test_equal_states_have_equal_digests_whatever_their_history() -> None:
    table = Table()
    start = table.add(first_group(numbers(10), HASH_KEY))
    there = table.after(start, {KeyNid(3): EventNid(77)})
    back = table.after(there, {KeyNid(3): EventNid(4)})
    assert back.digest == start.digest != there.digest


def test_a_large_room_is_cheap_to_change_and_to_ask() -> None:
    """20,000 members and 10,000 changes: some 5 MB, where a row for each entry takes 830."""
    table = Table()
    group = table.add(first_group(numbers(20_000), HASH_KEY))
    before = table.bytes
    for n in range(10_000):
        group = table.after(group, {KeyNid(n * 7919 % 20_000): EventNid(100_000 + n)})
    assert table.bytes - before < 6_000_000
    started = time.process_time()
    for n in range(1000):
        group.find(KeyNid(n))
    assert time.process_time() - started < 0.7
