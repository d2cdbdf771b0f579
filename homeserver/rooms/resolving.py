"""Several states of a room to one, over the numbers of its events.

https://spec.matrix.org/v1.19/rooms/v12/#state-resolution
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence

from federation.events import Event, StateKey
from federation.graph import auth_difference, conflicted_subgraph
from federation.room_versions import RoomVersion
from federation.state_resolution import resolve
from homeserver.storage import received
from homeserver.storage.batch import Fate
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid, KeyNid, StateGroup


class _MissingError(LookupError):
    """An event is wanted that was not read yet."""

    def __init__(self, event: EventNid) -> None:
        super().__init__(event)
        self.event = event


class _StoredGraph:
    """See `federation.graph.Graph`: edges of all that matters, and events as they are wanted."""

    def __init__(self, edges: Mapping[EventNid, Sequence[EventNid]]) -> None:
        self.edges = edges
        self.events: dict[EventNid, Event] = {}
        self.rejected: set[EventNid] = set()

    def event(self, found: EventNid) -> Event:
        """The event itself."""
        if found not in self.events:
            raise _MissingError(found)
        return self.events[found]

    def auth_events(self, of: EventNid) -> Collection[EventNid]:
        """Its auth events, as far as they are known."""
        return [cited for cited in self.edges.get(of, ()) if cited in self.edges]

    def is_rejected(self, found: EventNid) -> bool:
        """Whether the event was rejected when it came in."""
        self.event(found)
        return found in self.rejected

    def auth_difference(self, states: Sequence[Collection[EventNid]]) -> set[EventNid]:
        """See the function of this name."""
        return auth_difference(states, self.auth_events)

    def conflicted_subgraph(self, conflicted: Collection[EventNid]) -> set[EventNid]:
        """See the function of this name."""
        return conflicted_subgraph(conflicted, self.auth_events)


async def resolve_groups(
    conn: Connection, groups: Sequence[StateGroup], version: RoomVersion
) -> dict[KeyNid, EventNid]:
    """The state that the groups resolve to."""
    states = [group.entries() for group in groups]
    if all(state == states[0] for state in states[1:]):
        return states[0]
    keys = {key for state in states for key in state}
    names = await received.state_keys(conn, keys)
    numbers = {name: nid for nid, name in names.items()}
    named = [{names[key]: event for key, event in state.items()} for state in states]
    everything = {event for state in states for event in state.values()}
    graph = _StoredGraph(await received.auth_edges(conn, everything))
    await _read(conn, graph, _conflicted(named))
    while True:
        try:
            found = await asyncio.to_thread(resolve, named, graph, version)
        except _MissingError as missing:
            await _read(conn, graph, {missing.event, *graph.auth_events(missing.event)})
        else:
            return {numbers[name]: event for name, event in found.items()}


def _conflicted(states: Sequence[Mapping[StateKey, EventNid]]) -> set[EventNid]:
    """What the states differ in, and what everything is judged by."""
    found = set()
    for key in {key for state in states for key in state}:
        entries = {state.get(key) for state in states}
        if len(entries) > 1 or key[0] in _ALWAYS:
            found.update(entries)
    return {event for event in found if event is not None}


_ALWAYS = frozenset({"m.room.create", "m.room.power_levels", "m.room.join_rules"})


async def _read(conn: Connection, graph: _StoredGraph, wanted: Collection[EventNid]) -> None:
    """Read events, and all that they lead to: with one of a chain, the others are wanted too."""
    chain = set(wanted)
    pending = list(chain)
    while pending:
        for cited in graph.auth_events(pending.pop()):
            if cited not in chain:
                chain.add(cited)
                pending.append(cited)
    stored = await received.by_nids(conn, chain - graph.events.keys())
    for nid, row in stored.items():
        graph.events[nid] = row.event
        if row.fate is Fate.REJECTED:
            graph.rejected.add(nid)
    if not set(wanted) <= graph.events.keys():
        raise LookupError("an event of a state is not stored")
