"""What waits for servers, where that is known without a look into the database."""

from collections.abc import Sequence

from homeserver.storage.numbers import ServerNid
from homeserver.storage.outgoing import QueuedEvent

_MOST_SERVERS = 10_000
_MOST_EVENTS = 50
"""Of one server; of longer queues nothing is remembered."""


class Queues:
    """Remembers queues that were emptied, and what was put into them since."""

    def __init__(self) -> None:
        self._known: dict[ServerNid, list[QueuedEvent]] = {}

    def note_empty(self, server: ServerNid) -> None:
        """Nothing waits for a server: neither events nor anything else."""
        if len(self._known) >= _MOST_SERVERS:
            self._known.clear()
        self._known.setdefault(server, [])

    def add(self, server: ServerNid, event: QueuedEvent) -> None:
        """An event is put into a queue, behind all others."""
        queue = self._known.get(server)
        if queue is not None:
            queue.append(event)
            if len(queue) > _MOST_EVENTS:
                del self._known[server]

    def doubt(self, server: ServerNid) -> None:
        """Something else may wait for a server."""
        self._known.pop(server, None)

    def clear(self) -> None:
        """Nothing is known any more."""
        self._known.clear()

    def waiting(self, server: ServerNid) -> Sequence[QueuedEvent] | None:
        """All that waits for a server; `None` if that is not known."""
        queue = self._known.get(server)
        return None if queue is None else tuple(queue)

    def note_sent(self, server: ServerNid, pos: int | None) -> None:
        """The events up to a position have arrived."""
        queue = self._known.get(server)
        if queue and pos is not None:
            self._known[server] = [event for event in queue if event.pos > pos]
