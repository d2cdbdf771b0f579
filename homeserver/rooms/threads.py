"""Which thread of a room an event is in.

https://spec.matrix.org/v1.19/client-server-api/#threading
"""

from federation.errors import IdentifierError
from federation.events import Event
from federation.identifiers import EventID, parse_event_id
from homeserver.storage import history
from homeserver.storage.history import Placed
from homeserver.storage.pool import Connection

MAIN = "main"
"""Names the thread of all events that are in no other."""

# "Implementations should not recurse infinitely, though: a maximum of 3 hops is recommended"
_HOPS = 3


async def is_in_thread(conn: Connection, event: Placed, thread: str) -> bool:
    """Whether the event is in the thread, which is named by its root or is `MAIN`.

    A root, and what is related to it in other ways than by the thread, are in the main thread; as
    the first of what is read in a thread they are taken for a part of it as well.
    """
    for _ in range(_HOPS + 1):
        root = root_of(event.event)
        if root is not None:
            return root == thread
        if event.event.event_id == thread:
            return True
        parent = parent_of(event.event)
        above = await history.by_id(conn, event.room, parent) if parent else None
        if above is None:
            break
        event = above
    return thread == MAIN


def root_of(event: Event) -> EventID | None:
    """The root of the thread that the event itself names."""
    relation = event.content.get("m.relates_to")
    if isinstance(relation, dict) and relation.get("rel_type") == "m.thread":
        return parent_of(event)
    return None


def parent_of(event: Event) -> EventID | None:
    """What the event is related to."""
    relation = event.content.get("m.relates_to")
    found = relation.get("event_id") if isinstance(relation, dict) else None
    try:
        return parse_event_id(found) if isinstance(found, str) else None
    except IdentifierError:
        return None
