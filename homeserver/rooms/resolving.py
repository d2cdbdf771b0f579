"""Several states of a room to one, over the numbers of its events.

What the states share is neither read nor walked, however large it is; see ADR 4.

https://spec.matrix.org/v1.19/rooms/v12/#state-resolution
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from federation.auth import auth_events_for
from federation.events import Event, StateKey
from federation.graph import auth_difference, conflicted_subgraph
from federation.room_versions import RoomVersion
from federation.state_resolution import resolve
from homeserver.rooms.auth_edges import AuthEdges, Below, RoomEdges
from homeserver.storage import received
from homeserver.storage.batch import Fate
from homeserver.storage.numbers import Numbers, RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import GONE, EventNid, KeyNid, StateGroup, changes_between

_ALWAYS: frozenset[StateKey] = frozenset(
    {("m.room.create", ""), ("m.room.power_levels", ""), ("m.room.join_rules", "")}
)
"""What everything is judged by."""


_SIGN_OF_LIFE = 0.2
"""Seconds; see the SQL function `claim_rooms`."""


class _MissingError(LookupError):
    """An event is wanted that was not read yet."""

    def __init__(self, event: EventNid) -> None:
        super().__init__(event)
        self.event = event


class _StoredGraph:
    """See `federation.graph.Graph`; events are there as far as they were read."""

    def __init__(self, edges: RoomEdges, shared: Below) -> None:
        self._edges = edges
        self._shared = shared
        self.events: dict[EventNid, Event] = {}
        self.rejected: set[EventNid] = set()

    def event(self, found: EventNid) -> Event:
        """The event itself."""
        if found not in self.events:
            raise _MissingError(found)
        return self.events[found]

    def auth_events(self, of: EventNid) -> Collection[EventNid]:
        """Its auth events, as far as they are known."""
        return self._edges.auth_events(of)

    def is_rejected(self, found: EventNid) -> bool:
        """Whether the event was rejected when it came in."""
        self.event(found)
        return found in self.rejected

    def auth_difference(self, states: Sequence[Collection[EventNid]]) -> set[EventNid]:
        """See the function of this name."""
        return auth_difference(states, self.auth_events, self._shared)

    def conflicted_subgraph(self, conflicted: Collection[EventNid]) -> set[EventNid]:
        """See the function of this name."""
        return conflicted_subgraph(conflicted, self.auth_events)


class Resolving:
    """Resolves states; keeps what it read, since forks come in rows.

    Args:
        numbers: of state keys.
        budget: bytes of events that are kept, about.

    """

    def __init__(self, numbers: Numbers, budget: int = 32 * 1024 * 1024) -> None:
        self._numbers = numbers
        self._edges = AuthEdges()
        self._events: OrderedDict[EventNid, Event] = OrderedDict()
        """Whether they were rejected is not kept with them: it may change, in any process."""
        self._budget = budget
        self._used = 0

    async def resolve(
        self, conn: Connection, room: RoomNid, groups: Sequence[StateGroup], version: RoomVersion
    ) -> dict[KeyNid, EventNid]:
        """What the groups resolve to, where they differ; all of their events are stored.

        A key that is not in the answer has no entry.
        """
        changes = [changes_between(groups[0], group) for group in groups[1:]]
        differing = {key for changed in changes for key in changed}
        base = groups[0].entries()
        conflicted = {e for changed in changes for e in changed.values() if e != GONE}
        conflicted |= {base[key] for key in differing & base.keys()}
        shared = {key: event for key, event in base.items() if key not in differing}
        edges = await self._edges.below(conn, room, [*shared.values(), *conflicted])
        graph = _StoredGraph(edges, Below(edges, shared.values()))
        names = await received.state_keys(conn, differing)
        await self._read(conn, graph, conflicted)
        while True:
            keys = await self._judged_by(conn, graph.events.values(), names)
            states = _parts(base, changes, keys)
            try:
                found = await _while_alive(conn, resolve, states, graph, version)
            except _MissingError as missing:
                await self._read(conn, graph, [missing.event])
            else:
                return {keys[name]: event for name, event in found.items() if keys[name] in names}

    async def _judged_by(
        self, conn: Connection, events: Iterable[Event], names: Mapping[KeyNid, StateKey]
    ) -> dict[StateKey, KeyNid]:
        """The keys in which the states differ, and those by which the events are judged."""
        wanted = {key for event in events for key in auth_events_for(event)} | _ALWAYS
        found = await self._numbers.state_keys.find(conn, wanted)
        return found | {name: key for key, name in names.items()}

    async def _read(
        self, conn: Connection, graph: _StoredGraph, wanted: Collection[EventNid]
    ) -> None:
        """Bring events, and all that they lead to: with one of a chain, the others are wanted."""
        chain = set(wanted)
        pending = list(chain)
        while pending:
            for cited in graph.auth_events(pending.pop()):
                if cited not in chain:
                    chain.add(cited)
                    pending.append(cited)
        kept = {
            nid: self._events[nid] for nid in chain - graph.events.keys() if nid in self._events
        }
        graph.events |= kept
        graph.rejected |= await received.rejected(conn, kept) if kept else set()
        missing = chain - graph.events.keys()
        for nid, stored in (await received.by_nids(conn, missing)).items() if missing else ():
            graph.events[nid] = stored.event
            self._keep(nid, stored.event)
            if stored.fate is Fate.REJECTED:
                graph.rejected.add(nid)
        if not graph.events.keys() >= set(wanted):
            raise LookupError("an event of a state is not stored")

    def _keep(self, nid: EventNid, event: Event) -> None:
        self._events[nid] = event
        self._used += _size(event)
        while self._used > self._budget:
            self._used -= _size(self._events.popitem(last=False)[1])


async def _while_alive(
    conn: Connection,
    work: Callable[..., dict[StateKey, EventNid]],
    *given: object,
) -> dict[StateKey, EventNid]:
    """Work in a thread; meanwhile the connection says that its claim is not forgotten."""
    task = asyncio.create_task(asyncio.to_thread(work, *given))
    while not (await asyncio.wait([task], timeout=_SIGN_OF_LIFE))[0]:
        await conn.execute("SELECT")
    return task.result()


def _parts(
    base: Mapping[KeyNid, EventNid],
    changes: Sequence[Mapping[KeyNid, EventNid]],
    keys: Mapping[StateKey, KeyNid],
) -> list[dict[StateKey, EventNid]]:
    """What some states say under these keys: the first one, and the others by what differs."""
    names = {key: name for name, key in keys.items()}
    first = {name: base[key] for name, key in keys.items() if key in base}
    parts = [first]
    for changed in changes:
        part = first | {names[key]: event for key, event in changed.items() if event != GONE}
        for key in (key for key, event in changed.items() if event == GONE):
            part.pop(names[key], None)
        parts.append(part)
    return parts


def _size(event: Event) -> int:
    # As bytes, and as objects.
    return 500 + 2 * len(event.json)
