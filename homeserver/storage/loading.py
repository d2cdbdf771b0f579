"""Stored events, read once while they are in use.

What an event says is a function of the bytes that are stored. So what was read is kept under the
event's ID, and given again where the same bytes come again: nobody has to tell of redactions and
purges, or of what other workers did.
"""

from collections import OrderedDict

from federation.events import Event, load
from federation.identifiers import EventID
from federation.room_versions import ROOM_VERSIONS

KEPT_BYTES = 12_000_000
"""Of stored JSON; what was read from it takes some three times as much."""


class Loading:
    """Reads events, and keeps those that were asked for last.

    Args:
        most: bytes of stored JSON that are kept.

    """

    def __init__(self, most: int = KEPT_BYTES) -> None:
        self._kept: OrderedDict[str, Event] = OrderedDict()
        self._most = most
        self.used = 0

    def load(self, raw: bytes, event_id: str, version: str) -> Event:
        """The event of these bytes, in a room of this version."""
        kept = self._kept.get(event_id)
        if kept is None:
            return self._keep(load(raw, EventID(event_id), ROOM_VERSIONS[version]))
        if kept.json == raw and kept.version is ROOM_VERSIONS[version]:
            self._kept.move_to_end(event_id)
            return kept
        self.used -= len(self._kept.pop(event_id).json)
        return self._keep(load(raw, EventID(event_id), ROOM_VERSIONS[version]))

    def _keep(self, event: Event) -> Event:
        self._kept[event.event_id] = event
        self.used += len(event.json)
        while self.used > self._most:
            self.used -= len(self._kept.popitem(last=False)[1].json)
        return event


load_event = Loading().load
"""Reads events for everybody in this process."""
