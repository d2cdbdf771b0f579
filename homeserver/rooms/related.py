"""Which events a filter asks for by what is related to them.

https://github.com/matrix-org/matrix-spec-proposals/pull/3440, "Event filter"
"""

from collections.abc import Sequence

from homeserver.accounts.filters import EventFilter, RoomEventFilter
from homeserver.storage import relations
from homeserver.storage.history import Placed
from homeserver.storage.pool import Connection


async def related(
    conn: Connection, wanted: EventFilter, events: Sequence[Placed]
) -> Sequence[Placed]:
    """Those of the events that have such relations; no query where none are asked for."""
    if not isinstance(wanted, RoomEventFilter) or not wanted.asks_for_relations or not events:
        return events
    types, senders = wanted.related_by_rel_types, wanted.related_by_senders
    found = await relations.related_by(conn, [event.nid for event in events], types, senders)
    return [event for event in events if event.nid in found]
