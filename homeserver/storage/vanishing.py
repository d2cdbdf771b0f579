"""Messages that say when they vanish.

A row is written before its message is: of one that never comes it tells nothing.
"""

from collections.abc import Collection
from typing import NamedTuple

from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid


class VanishingRow(NamedTuple):
    """A message of a batch that vanishes."""

    event: EventNid
    due_ts: int
    """When, in milliseconds since the epoch."""


async def note(conn: Connection, rows: Collection[VanishingRow]) -> None:
    """Note that messages which are about to be written vanish; not before they are written."""
    if rows:
        await conn.execute(
            """
            INSERT INTO vanishing_events (event_nid, due_ts)
            SELECT x.event_nid, greatest(x.due_ts, (extract(epoch FROM now()) * 1000)::bigint)
              FROM unnest($1::bigint[], $2::bigint[]) AS x (event_nid, due_ts)
            ON CONFLICT DO NOTHING
            """,
            [row.event for row in rows],
            [row.due_ts for row in rows],
        )


async def due(conn: Connection, now: int, limit: int) -> list[EventNid]:
    """Some messages that are to vanish now."""
    rows = await conn.fetch(
        """
        SELECT v.event_nid
          FROM vanishing_events v JOIN events e ON e.event_nid = v.event_nid
         WHERE v.due_ts <= $1
         ORDER BY v.due_ts LIMIT $2
        """,
        now,
        limit,
    )
    return [EventNid(row[0]) for row in rows]


async def forget(conn: Connection, events: Collection[EventNid], before: int) -> None:
    """Forget messages that have vanished, and those that did not come since a time."""
    await conn.execute(
        "DELETE FROM vanishing_events WHERE event_nid = ANY ($1) OR due_ts < $2",
        list(events),
        before,
    )
