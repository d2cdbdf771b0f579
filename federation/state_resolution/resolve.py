"""The one entry to all algorithms of state resolution."""

from collections.abc import Mapping, Sequence

from federation.errors import StateResolutionError
from federation.events import StateKey
from federation.graph import Graph, Id
from federation.room_versions import RoomVersion, StateResolutionVersion
from federation.state_resolution import v1, v2


def resolve(
    states: Sequence[Mapping[StateKey, Id]], graph: Graph[Id], version: RoomVersion
) -> dict[StateKey, Id]:
    """The state that the given states resolve to; their order does not matter.

    Args:
        states: at least one; from type and state key to the event.
        graph: looks up the events, and how they cite each other.
        version: of the room.

    Raises:
        StateResolutionError: there are no states.

    """
    if not states:
        raise StateResolutionError("no states to resolve")
    if version.state_resolution is StateResolutionVersion.V1:
        return v1.resolve(states, graph)
    is_v2_1 = version.state_resolution is StateResolutionVersion.V2_1
    return v2.resolve(states, graph, from_empty=is_v2_1)
