"""Which ancestors of an event are still wanted before it can be placed in the graph.

No socket and no clock: the caller fetches what `wanted` names, any way it likes.
https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
"""

from collections.abc import Collection, Iterable

from federation.events import Event
from federation.graph import in_causal_order
from federation.identifiers import EventID


class Gap:
    """The unknown ancestors of one event, up to `limit` of them."""

    def __init__(self, event: Event, known: Collection[EventID], limit: int = 100) -> None:
        self._known = frozenset(known)
        self._found = {event.event_id: event}
        self._limit = limit
        self._wanted = set(event.prev_events) - self._known - self._found.keys()

    @property
    def wanted(self) -> frozenset[EventID]:
        """Ids to fetch next; empty once the gap is closed, or too wide to walk."""
        return frozenset() if self.is_too_wide else frozenset(self._wanted)

    @property
    def is_too_wide(self) -> bool:
        """Whether there is more missing than the limit allows to fetch one by one."""
        return len(self._found) + len(self._wanted) > self._limit + 1

    @property
    def is_closed(self) -> bool:
        """Whether every ancestor found leads to known events."""
        return not self._wanted

    def fill(self, events: Iterable[Event]) -> None:
        """Take fetched events; those that nobody asked for are ignored.

        Events of one answer may be in any order, and may lead to each other. Beyond the limit
        nothing is taken.
        """
        offered = {event.event_id: event for event in events}
        while taken := [offered[event_id] for event_id in self._wanted & offered.keys()]:
            for event in taken:
                if self.is_too_wide:
                    return
                self._take(event)

    @property
    def events(self) -> list[Event]:
        """What was found, each event after those of its parents that were missing too."""
        return in_causal_order(self._found.values())

    def _take(self, event: Event) -> None:
        self._found[event.event_id] = event
        self._wanted.discard(event.event_id)
        for parent in event.prev_events:
            if parent not in self._known and parent not in self._found:
                self._wanted.add(parent)
