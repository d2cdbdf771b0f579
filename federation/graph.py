"""Walks over the event graph, by its two kinds of edges.

Everything here works on identifiers of any hashable kind (event IDs, or a database's integers) and
is iterative: a peer chooses how deep a graph is. Edges come from a function that is handed in.

https://spec.matrix.org/v1.19/server-server-api/#pdus
https://spec.matrix.org/v1.19/rooms/v12/#definitions
"""

import heapq
from collections import Counter
from collections.abc import (
    Callable,
    Collection,
    Container,
    Hashable,
    Iterable,
    Mapping,
    Sequence,
)
from collections.abc import Set as AbstractSet
from itertools import chain
from typing import Protocol, TypeVar

from federation.events import Event
from federation.identifiers import EventID

Id = TypeVar("Id", bound=Hashable)

Edges = Callable[[Id], Iterable[Id]]
"""From an event to those it cites; events that are not known are left out."""


class Graph(Protocol[Id]):
    """What state resolution asks about a room's events.

    A store answers the last two from an index; `EventGraph` walks.
    """

    def event(self, found: Id) -> Event:
        """The event itself."""

    def auth_events(self, of: Id) -> Collection[Id]:
        """Its auth events, as far as they are known."""

    def is_rejected(self, found: Id) -> bool:
        """Whether the event was rejected when it came in."""

    def auth_difference(self, states: Sequence[Collection[Id]]) -> set[Id]:
        """See `auth_difference`."""

    def conflicted_subgraph(self, conflicted: Collection[Id]) -> set[Id]:
        """See `conflicted_subgraph`."""


class EventGraph:
    """A room's events in memory, by event ID."""

    def __init__(
        self, events: Mapping[EventID, Event], rejected: Collection[EventID] = frozenset()
    ) -> None:
        self._events = events
        self._rejected = rejected

    def event(self, found: EventID) -> Event:
        """The event itself."""
        return self._events[found]

    def auth_events(self, of: EventID) -> Collection[EventID]:
        """Its auth events, as far as they are known."""
        return [cited for cited in self._events[of].auth_events if cited in self._events]

    def is_rejected(self, found: EventID) -> bool:
        """Whether the event was rejected when it came in."""
        return found in self._rejected

    def auth_difference(self, states: Sequence[Collection[EventID]]) -> set[EventID]:
        """See the function of this name."""
        return auth_difference(states, self.auth_events)

    def conflicted_subgraph(self, conflicted: Collection[EventID]) -> set[EventID]:
        """See the function of this name."""
        return conflicted_subgraph(conflicted, self.auth_events)


def reachable(starts: Iterable[Id], edges: Edges[Id]) -> set[Id]:
    """The starts, and everything that edges lead to from them."""
    seen = set(starts)
    pending = list(seen)
    while pending:
        for cited in edges(pending.pop()):
            if cited not in seen:
                seen.add(cited)
                pending.append(cited)
    return seen


def auth_chain(starts: Iterable[Id], edges: Edges[Id]) -> set[Id]:
    """The events reachable from `starts` by auth edges, themselves only where one cites another."""
    return reachable((cited for start in starts for cited in edges(start)), edges)


def auth_difference(
    states: Sequence[Collection[Id]], edges: Edges[Id], everywhere: Container[Id] | None = None
) -> set[Id]:
    """The events in the full auth chain of some of the states, but not of all.

    Each state counts as part of its own chain. That is a reading of the specification: an event
    that all states share is thereby never in the difference, even if only one of them cites it.

    Args:
        states: the events of each.
        edges: to what an event cites for its authority.
        everywhere: what all states share, and all that leads to; whoever knows that otherwise can
            leave out of the states what they share.

    """
    members = [set(state) for state in states]
    # What the shared events lead to is in every chain. Only below the others is there anything to
    # find out: which of the states lead to it, as a bit each.
    if everywhere is None:
        everywhere = reachable(set.intersection(*members), edges)
    masks = _masks(members, everywhere)
    _spread(masks, everywhere, edges)
    full = (1 << len(members)) - 1
    return {found for found, mask in masks.items() if mask != full}


def _masks(members: Sequence[AbstractSet[Id]], everywhere: Container[Id]) -> dict[Id, int]:
    """Which of the sets hold each of their events, a bit each; without what is everywhere.

    An event costs as many steps as the sets that hold it, or as those that do not if those are
    fewer: forks of a large room share almost all of it.
    """
    counts = Counter(chain.from_iterable(members))
    wanted = {found: count for found, count in counts.items() if found not in everywhere}
    often = {found for found, count in wanted.items() if 2 * count > len(members)}
    seldom = wanted.keys() - often
    masks: dict[Id, int] = dict.fromkeys(often, (1 << len(members)) - 1)
    for bit, state in enumerate(members):
        for found in often - state:
            masks[found] ^= 1 << bit
        for found in seldom & state:
            masks[found] = masks.get(found, 0) | 1 << bit
    return masks


def _spread(masks: dict[Id, int], stop: Container[Id], edges: Edges[Id]) -> None:
    """Give every event below the marked ones the union of the masks above it."""
    cited_by_count: dict[Id, int] = {}
    below: dict[Id, list[Id]] = {}
    pending = list(masks)
    while pending:
        found = pending.pop()
        if found in below:
            continue
        below[found] = [cited for cited in edges(found) if cited not in stop]
        for cited in below[found]:
            cited_by_count[cited] = cited_by_count.get(cited, 0) + 1
            pending.append(cited)
    ready = [found for found in below if found not in cited_by_count]
    while ready:
        found = ready.pop()
        for cited in below[found]:
            masks[cited] = masks.get(cited, 0) | masks[found]
            cited_by_count[cited] -= 1
            if not cited_by_count[cited]:
                ready.append(cited)


def conflicted_subgraph(conflicted: Collection[Id], edges: Edges[Id]) -> set[Id]:
    """All events on paths of auth edges from one conflicted event to another, ends included.

    https://spec.matrix.org/v1.19/rooms/v12/#definitions, "Conflicted state subgraph"
    """
    citing: dict[Id, list[Id]] = {}
    seen = set(conflicted)
    pending = list(seen)
    while pending:
        found = pending.pop()
        for cited in edges(found):
            citing.setdefault(cited, []).append(found)
            if cited not in seen:
                seen.add(cited)
                pending.append(cited)
    return reachable(conflicted, lambda found: citing.get(found, ()))


def forward_extremities(
    extremities: Collection[EventID], added: Iterable[Event]
) -> frozenset[EventID]:
    """The events that nothing cites as a parent, after accepted events were added.

    Neither rejected nor soft-failed events may be among `added`: new events must not cite them.
    """
    events = list(added)
    cited = {parent for event in events for parent in event.prev_events}
    return frozenset({*extremities, *(event.event_id for event in events)} - cited)


def in_causal_order(events: Iterable[Event]) -> list[Event]:
    """The events, each after those of them that it cites as parent or for its authority.

    Stable: otherwise the given order is kept. Events that cite each other in a circle, which no
    honest graph holds, are left out, and so is what builds on them.
    """
    given = {event.event_id: event for event in events}
    places = {event_id: place for place, event_id in enumerate(given)}
    waiting = {
        event_id: len({p for p in (*e.prev_events, *e.auth_events) if p in given})
        for event_id, e in given.items()
    }
    citing: dict[EventID, list[EventID]] = {}
    for event_id, event in given.items():
        for parent in {*event.prev_events, *event.auth_events} & given.keys():
            citing.setdefault(parent, []).append(event_id)
    ready = [(places[event_id], event_id) for event_id, count in waiting.items() if not count]
    order = []
    while ready:
        _, event_id = heapq.heappop(ready)
        order.append(given[event_id])
        for child in citing.get(event_id, ()):
            waiting[child] -= 1
            if not waiting[child]:
                heapq.heappush(ready, (places[child], child))
    return order
