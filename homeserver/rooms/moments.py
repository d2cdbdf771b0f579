"""What the state of a room was when an event was sent.

Costs nothing but memory where the state groups were lately used; else one query for any number of
events, in any number of rooms.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from federation.events import Event, StateKey
from federation.history_visibility import read_visibility
from homeserver.storage.events import get_events
from homeserver.storage.history import Placed
from homeserver.storage.numbers import Numbers
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid, KeyNid
from homeserver.storage.states import States

_REMEMBERED = 100_000
"""Words, at some 150 bytes each."""


class Moments:
    """Reads states of the past."""

    def __init__(self, numbers: Numbers, states: States) -> None:
        self._numbers = numbers
        self._states = states
        self._words: OrderedDict[EventNid, str | None] = OrderedDict()

    async def entries(
        self, conn: Connection, keys: Sequence[StateKey], events: Iterable[Placed]
    ) -> dict[EventNid, tuple[EventNid | None, ...]]:
        """What stood under each of the keys before each event; events without known state lack."""
        wanted = list(events)
        nids = await self._numbers.state_keys.find(conn, keys)
        groups = await self._states.load(
            conn, {event.group_before for event in wanted if event.group_before}
        )
        found: dict[EventNid, tuple[EventNid | None, ...]] = {}
        for event in wanted:
            if event.group_before is not None:
                group = groups[event.group_before]
                found[event.nid] = tuple(
                    group.find(nids[key]) if key in nids else None for key in keys
                )
            elif is_first(event):
                found[event.nid] = (None,) * len(keys)
        return found

    async def replaced(
        self, conn: Connection, events: Iterable[Placed]
    ) -> dict[EventNid, EventNid]:
        """What stood in the state before each state event where it stands after."""
        wanted = [event for event in events if event.key and event.group_before]
        groups = await self._states.load(conn, {e.group_before for e in wanted if e.group_before})
        return {
            event.nid: found
            for event in wanted
            if event.key
            and event.group_before
            and (found := groups[event.group_before].find(event.key))
        }

    async def state_after(self, conn: Connection, event: Placed) -> list[EventNid]:
        """The whole state behind an event; nothing where it is not known."""
        state: dict[KeyNid, EventNid] = {}
        if event.group_before is not None:
            groups = await self._states.load(conn, [event.group_before])
            state = groups[event.group_before].entries()
        if event.key is not None:
            state[event.key] = event.nid
        return list(state.values())

    async def words(self, conn: Connection, nids: Iterable[EventNid]) -> dict[EventNid, str | None]:
        """The `membership`, or `history_visibility`, that events say: what no redaction takes."""
        wanted = set(nids)
        missing = [nid for nid in wanted if nid not in self._words]
        if missing:
            for nid, event in (await get_events(conn, missing)).items():
                self._words[nid] = word_of(event)
        found = {nid: self._words.get(nid) for nid in wanted}
        while len(self._words) > _REMEMBERED:
            self._words.popitem(last=False)
        return found


def word_of(event: Event) -> str | None:
    """What a membership or visibility event says, in one word."""
    if event.type == "m.room.member":
        return event.membership
    return read_visibility(event.content).value


def is_first(event: Placed) -> bool:
    """Whether nothing was before the event."""
    return event.event.type == "m.room.create" and event.event.state_key == ""
