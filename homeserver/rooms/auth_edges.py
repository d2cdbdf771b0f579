"""Which events cite which for their authority, in memory, for the rooms where that was asked.

State resolution wants to know what is in the auth chains of some states and not of others. What an
event cites never changes, so what was read once is right for ever, in every process: see ADR 4.

https://spec.matrix.org/v1.19/rooms/v12/#definitions
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence

from homeserver.storage import received
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid

_EVENT = 400
"""Bytes that an event takes here, about."""


class RoomEdges:
    """The events of a room that were asked for, and all that they lead to."""

    def __init__(self) -> None:
        self._cited: dict[EventNid, Sequence[EventNid]] = {}
        self._citing: dict[EventNid, list[EventNid]] = {}
        self._absent: set[EventNid] = set()
        """Cited, and not stored when they were looked for."""

    def __len__(self) -> int:
        return len(self._cited)

    def auth_events(self, of: EventNid) -> list[EventNid]:
        """What an event cites, as far as it is stored."""
        return [cited for cited in self._cited.get(of, ()) if cited in self._cited]

    def citing(self, event: EventNid) -> Sequence[EventNid]:
        """The events that cite it, of those that are known here."""
        return self._citing.get(event, ())

    async def load(self, conn: Connection, starts: Iterable[EventNid]) -> None:
        """Learn what the events lead to: nothing is asked where all is known."""
        missing = self._unknown(starts) | self._absent
        if missing:
            rows = await received.auth_of(conn, missing)
            self._learn(rows)
            beyond = self._unknown(cited for row in rows.values() for cited in row)
            if beyond:
                self._learn(await received.auth_edges(conn, beyond))
            self._absent = self._unknown(missing | beyond)

    def _unknown(self, events: Iterable[EventNid]) -> set[EventNid]:
        return {event for event in events if event not in self._cited}

    def _learn(self, rows: dict[EventNid, Sequence[EventNid]]) -> None:
        for event, cited in rows.items():
            if event not in self._cited:
                self._cited[event] = cited
                for one in cited:
                    self._citing.setdefault(one, []).append(event)


class Below:
    """The events of a state, and all that they lead to, without walking there.

    Whether an event is among them is found out upwards: what everybody cites is cited by somebody
    in the state, so mostly that takes a step or two.
    """

    def __init__(self, edges: RoomEdges, state: Collection[EventNid]) -> None:
        self._edges = edges
        self._inside = set(state)
        self._outside: set[EventNid] = set()

    def __contains__(self, event: object) -> bool:
        start = EventNid(event)  # type: ignore[arg-type]
        seen, pending = {start}, [start]
        while pending:
            found = pending.pop()
            if found in self._inside:
                self._inside.add(start)
                return True
            for citing in self._edges.citing(found):
                if citing not in seen and citing not in self._outside:
                    seen.add(citing)
                    pending.append(citing)
        self._outside |= seen
        return False


class AuthEdges:
    """The graphs of the rooms in which states were resolved lately.

    Args:
        budget: bytes that they may take, about; the rooms not used for longest go first.

    """

    def __init__(self, budget: int = 64 * 1024 * 1024) -> None:
        self._budget = budget
        self._rooms: OrderedDict[RoomNid, RoomEdges] = OrderedDict()

    async def below(
        self, conn: Connection, room: RoomNid, starts: Collection[EventNid]
    ) -> RoomEdges:
        """The graph of a room, with all that these events lead to."""
        edges = self._rooms.setdefault(room, RoomEdges())
        self._rooms.move_to_end(room)
        await edges.load(conn, starts)
        used = sum(map(len, self._rooms.values())) * _EVENT
        while used > self._budget and self._rooms:
            used -= len(self._rooms.popitem(last=False)[1]) * _EVENT
        return edges
