"""The two orders in which version 2 tries conflicted events.

https://spec.matrix.org/v1.19/rooms/v12/#definitions
"""

import heapq
import math
from collections.abc import Collection, Iterable

from federation.auth.selection import CREATE, POWER_LEVELS
from federation.events import Event
from federation.graph import Graph, Id
from federation.identifiers import EventID
from federation.power_levels import Level, LevelError, PowerLevels


def reverse_topological_power_order(
    events: Collection[Id], graph: Graph[Id], create: Event | None
) -> list[Id]:
    """The events, auth events first, those of the powerful before others.

    "The reverse topological power ordering can be found by sorting the events using Kahn's
    algorithm for topological sorting, and at each step selecting, among all the candidate
    vertices, the smallest vertex."
    """
    cited = {found: {a for a in graph.auth_events(found) if a in events} for found in events}
    citing: dict[Id, list[Id]] = {}
    for found, below in cited.items():
        for event in below:
            citing.setdefault(event, []).append(found)

    def candidate(found: Id) -> tuple[Level, int, EventID, Id]:
        # "x's sender has greater power level than y's sender, when looking at their respective
        # auth_events; or [...] x's origin_server_ts is less [...]; or [...] x's event_id is less"
        event = graph.event(found)
        level = _sender_level(found, event, graph, create)
        return -level, event.origin_server_ts, event.event_id, found

    candidates = [candidate(found) for found, below in cited.items() if not below]
    heapq.heapify(candidates)
    order = []
    while candidates:
        found = heapq.heappop(candidates)[-1]
        order.append(found)
        for above in citing.get(found, ()):
            cited[above].discard(found)
            if not cited[above]:
                heapq.heappush(candidates, candidate(above))
    return order


def _sender_level(found: Id, event: Event, graph: Graph[Id], create: Event | None) -> Level:
    power_levels = None
    for cited in map(graph.event, graph.auth_events(found)):
        key = (cited.type, cited.state_key)
        if key == POWER_LEVELS:
            power_levels = cited
        elif key == CREATE:
            create = cited
    if create is None:
        return 0
    try:
        return PowerLevels(create, power_levels).of(event.sender)
    except LevelError:
        return 0


def mainline_order(events: Iterable[Id], power_levels: Id | None, graph: Graph[Id]) -> list[Id]:
    """The events by how old the power levels are that they build on, the oldest first."""
    positions: dict[Id, float] = {}
    while power_levels is not None and power_levels not in positions:
        positions[power_levels] = len(positions)
        power_levels = _power_levels_of(power_levels, graph)

    def order(found: Id) -> tuple[float, int, EventID]:
        # "the mainline position of x is greater than the mainline position of y; or [...] x's
        # origin_server_ts is less [...]; or [...] x's event_id is less"
        event = graph.event(found)
        position = _mainline_position(found, positions, graph)
        return -position, event.origin_server_ts, event.event_id

    return sorted(events, key=order)


def _mainline_position(found: Id, positions: dict[Id, float], graph: Graph[Id]) -> float:
    """Where the event's own line of power levels meets the mainline; infinity if nowhere.

    What is found out is added to `positions`, so that each line is walked once.
    """
    walked: list[Id] = []
    at = _power_levels_of(found, graph)
    while at is not None and at not in positions:
        walked.append(at)
        positions[at] = math.inf  # ends the walk, should a store hold a circle
        at = _power_levels_of(at, graph)
    position = math.inf if at is None else positions[at]
    positions.update(dict.fromkeys(walked, position))
    return position


def _power_levels_of(found: Id, graph: Graph[Id]) -> Id | None:
    """The power levels among the event's auth events."""
    for cited in graph.auth_events(found):
        event = graph.event(cited)
        if (event.type, event.state_key) == POWER_LEVELS:
            return cited
    return None
