"""Finding messages that are too old, and deleting them, a part at a time."""

from typing import NamedTuple

from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid

# What a room's messages live for; null: for ever. As `rooms.lifetimes.Range.lifetime` has it.
_LIFETIME = """
    CASE WHEN r.lifetime IS NULL THEN $1::bigint
         WHEN least(greatest(r.lifetime, $2::bigint), $3::bigint) < 9007199254740991
         THEN least(greatest(r.lifetime, $2::bigint), $3::bigint) END"""

# Messages that are in a place, too old, and not gone yet; the last ones of a room are only emptied,
# as what happens next builds on them.
_OLD = """
    e.room_order IS NOT NULL AND e.state_key_nid IS NULL
    AND NOT (e.event_nid = ANY (r.extremities) AND e.redacted_by IS NOT NULL)"""


class Allowed(NamedTuple):
    """What the server allows, in milliseconds; as `rooms.lifetimes.Range`."""

    default: int | None
    least: int | None
    most: int | None


class Due(NamedTuple):
    """A room with messages that are too old."""

    room: RoomNid
    horizon: int
    """What is older is to go; milliseconds since the epoch."""


async def due(
    conn: Connection, allowed: Allowed, now: int, after: RoomNid, limit: int
) -> list[Due]:
    """The first rooms beyond one in which something is to be deleted."""
    some = "" if allowed.default else "AND r.lifetime IS NOT NULL"
    rows = await conn.fetch(
        f"""
        SELECT room_nid, horizon
          FROM (SELECT r.room_nid, r.extremities, $4 - {_LIFETIME} AS horizon
                  FROM rooms r WHERE r.room_nid > $5 {some} OFFSET 0) r
         WHERE EXISTS (SELECT FROM events e
                        WHERE e.room_nid = r.room_nid AND e.origin_server_ts < r.horizon
                          AND {_OLD})
         ORDER BY room_nid
         LIMIT $6
        """,  # noqa: S608 - of constants
        *allowed,
        now,
        after,
        limit,
    )
    return [Due(*row) for row in rows]


class Old(NamedTuple):
    """A message that is too old."""

    event: EventNid
    is_last: bool
    """Whether the next event builds on it."""


async def old(conn: Connection, due: Due, limit: int) -> list[Old]:
    """The first messages of a room that are to go."""
    rows = await conn.fetch(
        f"""
        SELECT e.event_nid, e.event_nid = ANY (r.extremities)
          FROM rooms r JOIN events e ON e.room_nid = r.room_nid
         WHERE r.room_nid = $1 AND e.origin_server_ts < $2 AND {_OLD}
         ORDER BY e.origin_server_ts
         LIMIT $3
        """,  # noqa: S608 - of constants
        *due,
        limit,
    )
    return [Old(*row) for row in rows]


async def delete(conn: Connection, room: RoomNid, events: list[EventNid]) -> None:
    """Delete messages with all that is known by them; nobody is sent them any more.

    What built on them has no gap before it: nobody is asked for them.
    """
    await conn.execute(
        """
        WITH gone AS MATERIALIZED (
            SELECT event_nid, room_order FROM events
             WHERE room_nid = $1 AND event_nid = ANY ($2)
        ), unmade AS MATERIALIZED (
            SELECT forget_transactions($2)
        ), unsent AS (
            DELETE FROM outgoing_events o USING unmade
             WHERE o.room_nid = $1 AND o.event_nid = ANY ($2)
        ), unrelated AS (
            DELETE FROM relations l USING gone g WHERE l.event_nid = g.event_nid
        ), unfindable AS (
            DELETE FROM searchable f USING gone g WHERE f.event_nid = g.event_nid
        ), uncounted AS (
            DELETE FROM notable n USING gone g
             WHERE n.room_nid = $1 AND n.room_order = g.room_order
        ), unreadable AS (
            DELETE FROM originals o USING gone g WHERE o.event_nid = g.event_nid
        ), unstuck AS (
            DELETE FROM sticky_events s USING gone g WHERE s.event_nid = g.event_nid
        ), unscheduled AS (
            DELETE FROM delayed_events d USING sent s, gone g
             WHERE s.event_nid = g.event_nid AND d.delay_hash = s.txn_hash
               AND d.finalised_ts IS NOT NULL
        ), without_gaps AS (
            DELETE FROM missing_parents m USING gone g
             WHERE m.room_nid = $1 AND m.child_order = g.room_order
        )
        DELETE FROM events WHERE room_nid = $1 AND event_nid = ANY ($2)
        """,
        room,
        events,
    )
