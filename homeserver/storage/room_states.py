"""The state of a room now, or as it was at a position of the log.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstate
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid, KeyNid

NOW = 2**63 - 1
"""Behind all positions."""


class Entry(NamedTuple):
    """An event in a state, by what it is known: whoever knows both knows what it says."""

    event: EventNid
    redacted_by: EventNid | None


async def all_at(conn: Connection, room: RoomNid, pos: int) -> list[EventNid]:
    """The whole state, with all changes up to `pos`."""
    rows = await conn.fetch(
        """
        WITH later AS (
            SELECT DISTINCT ON (state_key_nid) state_key_nid, old_event_nid
              FROM state_changes
             WHERE room_nid = $1 AND pos > $2
             ORDER BY state_key_nid, pos
        ), now AS (
            SELECT state_key_nid, event_nid FROM current_state WHERE room_nid = $1
        )
        SELECT CASE WHEN l.state_key_nid IS NULL THEN n.event_nid ELSE l.old_event_nid END
          FROM now n FULL JOIN later l ON l.state_key_nid = n.state_key_nid
         WHERE l.state_key_nid IS NULL OR l.old_event_nid IS NOT NULL
        """,
        room,
        pos,
    )
    return [EventNid(row[0]) for row in rows]


async def keys_of(conn: Connection, room: RoomNid, kind: str, limit: int) -> list[str]:
    """The state keys of the current state's events of a type."""
    rows = await conn.fetch(
        """
        SELECT k.state_key
          FROM state_keys k
          JOIN current_state s ON s.state_key_nid = k.state_key_nid AND s.room_nid = $1
         WHERE k.type = $2
         LIMIT $3
        """,
        room,
        kind,
        limit,
    )
    return [row[0] for row in rows]


async def members_at(conn: Connection, room: RoomNid, pos: int) -> list[Entry]:
    """The membership events of the state, with all changes up to `pos`."""
    # Of the wide table of events only those are looked at that were redacted, by their index.
    rows = await conn.fetch(
        """
        WITH later AS (
            SELECT DISTINCT ON (c.state_key_nid) c.state_key_nid, c.old_event_nid
              FROM state_changes c
              JOIN state_keys k ON k.state_key_nid = c.state_key_nid AND k.type = 'm.room.member'
             WHERE c.room_nid = $1 AND c.pos > $2
             ORDER BY c.state_key_nid, c.pos
        ), now AS (
            SELECT s.state_key_nid, s.event_nid
              FROM current_state s
              JOIN state_keys k ON k.state_key_nid = s.state_key_nid AND k.type = 'm.room.member'
             WHERE s.room_nid = $1
        ), stood AS (
            SELECT CASE WHEN l.state_key_nid IS NULL THEN n.event_nid
                        ELSE l.old_event_nid END AS event_nid
              FROM now n FULL JOIN later l ON l.state_key_nid = n.state_key_nid
             WHERE l.state_key_nid IS NULL OR l.old_event_nid IS NOT NULL
        ), redacted AS MATERIALIZED (
            SELECT event_nid, redacted_by FROM events
             WHERE room_nid = $1 AND redacted_by IS NOT NULL AND state_key_nid IS NOT NULL
        )
        SELECT s.event_nid, r.redacted_by
          FROM stood s LEFT JOIN redacted r ON r.event_nid = s.event_nid
        """,
        room,
        pos,
    )
    return [Entry(*row) for row in rows]


async def find_at(conn: Connection, room: RoomNid, key: KeyNid, pos: int) -> EventNid | None:
    """One entry of the state, with all changes up to `pos`."""
    found: EventNid | None = await conn.fetchval(
        """
        WITH later AS (
            SELECT old_event_nid
              FROM state_changes
             WHERE room_nid = $1 AND pos > $3 AND state_key_nid = $2
             ORDER BY pos
             LIMIT 1
        )
        SELECT old_event_nid FROM later
         UNION ALL
        SELECT event_nid
          FROM current_state
         WHERE room_nid = $1 AND state_key_nid = $2 AND NOT EXISTS (SELECT FROM later)
        """,
        room,
        key,
        pos,
    )
    return found


async def without_members(
    conn: Connection, events: Iterable[EventNid], but: Collection[str]
) -> list[EventNid]:
    """Leave out membership events, but for those of some users."""
    rows = await conn.fetch(
        """
        SELECT e.event_nid
          FROM events e
          JOIN state_keys k ON k.state_key_nid = e.state_key_nid
         WHERE e.event_nid = ANY ($1)
           AND (k.type <> 'm.room.member' OR k.state_key = ANY ($2))
        """,
        list(events),
        list(but),
    )
    return [EventNid(row[0]) for row in rows]
