"""What other servers read: states, auth chains and history of rooms.

https://spec.matrix.org/v1.19/server-server-api/#retrieving-events
"""

from collections.abc import Collection, Iterable, Sequence

from homeserver.storage.numbers import RoomNid, ServerNid
from homeserver.storage.outgoing import queue_again
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid, KeyNid


async def auth_chain(conn: Connection, events: Collection[EventNid]) -> list[EventNid]:
    """Everything that the events lead to by what they cite, without themselves."""
    rows = await conn.fetch(
        """
        WITH RECURSIVE chain (event_nid) AS (
            SELECT unnest(auth) FROM events WHERE event_nid = ANY ($1)
             UNION
            SELECT unnest(e.auth) FROM chain c JOIN events e ON e.event_nid = c.event_nid
        )
        SELECT event_nid FROM chain
        """,
        list(events),
    )
    return [EventNid(row[0]) for row in rows]


async def ids(conn: Connection, events: Iterable[EventNid]) -> list[str]:
    """The IDs of events."""
    rows = await conn.fetch(
        "SELECT event_id FROM event_ids WHERE event_nid = ANY ($1)", list(events)
    )
    return [row[0] for row in rows]


async def jsons(conn: Connection, events: Iterable[EventNid]) -> list[bytes]:
    """Events as they are sent."""
    rows = await conn.fetch("SELECT json FROM events WHERE event_nid = ANY ($1)", list(events))
    return [row[0] for row in rows]


async def not_members(conn: Connection, keys: Iterable[KeyNid]) -> list[KeyNid]:
    """Those of the keys that are not of memberships."""
    rows = await conn.fetch(
        """
        SELECT state_key_nid FROM state_keys
         WHERE state_key_nid = ANY ($1) AND type <> 'm.room.member'
        """,
        list(keys),
    )
    return [KeyNid(row[0]) for row in rows]


async def back_from(
    conn: Connection, room: RoomNid, events: Sequence[str], limit: int
) -> list[EventNid]:
    """Events of a room from these on, back in its order."""
    rows = await conn.fetch(
        """
        SELECT event_nid FROM events
         WHERE room_nid = $1 AND fate = 0
           AND room_order <= (SELECT max(e.room_order)
                                FROM event_ids i JOIN events e ON e.event_nid = i.event_nid
                               WHERE i.event_id = ANY ($2) AND e.room_nid = $1)
         ORDER BY room_order DESC
         LIMIT $3
        """,
        room,
        list(events),
        limit,
    )
    return [EventNid(row[0]) for row in rows]


async def missing(
    conn: Connection,
    room: RoomNid,
    latest: Collection[str],
    earliest: Collection[str],
    limit: int,
    min_depth: int,
) -> list[EventNid]:
    """Events of a room that lead to the latest ones, in its order: the nearest of them.

    Whole generations of parents are gone through until there are enough. Events that were rejected
    lead on to their parents, but are none of those that are found.

    Args:
        conn: to read with.
        room: whose events count.
        latest: what to begin with; what leads to it is looked for.
        earliest: what is known already; nothing is looked for behind it.
        limit: how many are wanted at most.
        min_depth: nothing that is less deep counts.

    """
    rows = await conn.fetch(
        r"""
        WITH RECURSIVE walk (found, youngest) AS (
            SELECT '{}'::bigint[],
                   ARRAY (SELECT e.event_nid
                            FROM event_ids i JOIN events e ON e.event_nid = i.event_nid
                           WHERE i.event_id = ANY ($2) AND e.room_nid = $1)
             UNION ALL
            SELECT w.found || p.nids, p.nids
              FROM walk w
             CROSS JOIN LATERAL (
                   SELECT ARRAY (
                          SELECT DISTINCT e.event_nid
                            FROM events c
                            -- The database knows no NUL; an escaped backslash is none.
                           CROSS JOIN json_array_elements(regexp_replace(
                                 convert_from(c.json, 'UTF8'), '(\\\\)|\\u0000', '\1', 'g'
                                 )::json -> 'prev_events') AS parent
                            -- Of versions 1 and 2: a pair of ID and hashes.
                            JOIN event_ids i ON i.event_id = CASE json_typeof(parent)
                                 WHEN 'array' THEN parent ->> 0 ELSE parent #>> '{}' END
                            JOIN events e ON e.event_nid = i.event_nid
                           WHERE c.event_nid = ANY (w.youngest)
                             AND i.event_id <> ALL ($3)
                             AND e.event_nid <> ALL (w.found)
                             AND e.room_nid = $1
                             AND e.room_order IS NOT NULL
                             AND e.depth >= $5
                          ) AS nids
                   ) AS p
             WHERE cardinality(w.found) < $4 AND cardinality(p.nids) > 0
        ), nearest AS (
            SELECT e.event_nid, e.room_order FROM events e
             WHERE e.event_nid IN (SELECT unnest(youngest) FROM walk WHERE found <> '{}')
               AND e.fate <> 2
             ORDER BY e.room_order DESC
             LIMIT $4
        )
        SELECT event_nid FROM nearest ORDER BY room_order
        """,
        room,
        list(latest),
        list(earliest),
        limit,
        min_depth,
    )
    return [EventNid(row[0]) for row in rows]


async def forward(
    conn: Connection, room: RoomNid, event: EventNid, but: Collection[str]
) -> int | None:
    """Queue an event that came through us for the other servers in its room; the position.

    Behind all that waits: what is on its way already may have been written later.
    """
    rows = await conn.fetch(
        """
        SELECT r.server_nid
          FROM events e
          JOIN room_servers r ON r.room_nid = $1 AND r.joined > 0
          JOIN servers s ON s.server_nid = r.server_nid
         WHERE e.event_nid = $2 AND e.room_order IS NOT NULL AND s.server_name <> ALL ($3)
         ORDER BY r.server_nid
        """,
        room,
        event,
        list(but),
    )
    return await queue_again(conn, [(ServerNid(row[0]), room, event) for row in rows])
