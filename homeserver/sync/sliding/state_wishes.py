"""Which part of a room's state a client wants: `required_state`, and how wishes are combined.

https://github.com/matrix-org/matrix-spec-proposals/pull/4186, `RequiredStateRequest`
"""

from collections.abc import Iterable
from typing import NamedTuple

from federation.events import StateKey

MEMBER = "m.room.member"


class Element(NamedTuple):
    """Matches entries of a state; `None` stands for all types, or all state keys."""

    type: str | None
    state_key: str | None


_ALL = Element(None, None)


class StateWish(NamedTuple):
    """What one list or subscription wants."""

    include: frozenset[Element] = frozenset()
    exclude: frozenset[Element] = frozenset()
    lazy: bool = False
    """Whether members are told as they turn up, and not because of `include`'s wildcards."""

    def matches(self, key: StateKey) -> bool:
        """Whether the entry under this key is wanted, lazily loaded members apart."""
        include: frozenset[object] = self.include
        exclude: frozenset[object] = self.exclude
        meant = (key, (key[0], None), (None, key[1]), _ALL)
        if not exclude.isdisjoint(meant):
            return False
        if self.lazy and key[0] == MEMBER:
            return key in include
        return not include.isdisjoint(meant)

    @property
    def wants_all_members(self) -> bool:
        """Whether every membership is told anyway."""
        return not self.lazy and any(
            element.type in {None, MEMBER} and element.state_key is None for element in self.include
        )


Wishes = frozenset[StateWish]
"""All that is wanted of a room; what any of them matches is told."""


class RoomConfig(NamedTuple):
    """How much of a room is wanted."""

    limit: int
    """Events of the timeline."""
    wishes: Wishes

    @property
    def lazy(self) -> bool:
        """Whether members are told as they turn up."""
        return is_lazy(self.wishes)


def combined(configs: Iterable[RoomConfig]) -> RoomConfig:
    """The superset of what several rules want of one room; there is at least one."""
    given = list(configs)
    if len(given) == 1:
        return given[0]
    wishes = frozenset(wish for config in given for wish in config.wishes)
    return RoomConfig(max(config.limit for config in given), wishes)


def is_lazy(wishes: Wishes) -> bool:
    """Whether members are told as they turn up: not where all are told at once."""
    return any(w.lazy for w in wishes) and not any(w.wants_all_members for w in wishes)


def is_wanted(key: StateKey, wishes: Iterable[StateWish]) -> bool:
    """Whether any of the wishes is for the entry under this key."""
    return any(wish.matches(key) for wish in wishes)


class Reach(NamedTuple):
    """Where to look for what is wanted of a state."""

    keys: frozenset[StateKey]
    """Entries that are named."""
    types: frozenset[str] | None
    """Types of which there may be any; `None`: all."""
    is_without_members: bool
    """Whether memberships count only where they are named."""


def reach(wishes: Iterable[StateWish]) -> Reach:
    """What has to be read so that all that is wanted is among it."""
    keys: set[StateKey] = set()
    types: set[str] = set()
    is_wide, without_members = False, True
    for wish in wishes:
        for kind, state_key in wish.include:
            if kind is None:
                is_wide = True
                without_members = without_members and wish.lazy
            elif state_key is not None:
                keys.add((kind, state_key))
            elif kind != MEMBER or not wish.lazy:
                types.add(kind)
    without_members = without_members and MEMBER not in types
    return Reach(frozenset(keys), None if is_wide else frozenset(types), without_members)
