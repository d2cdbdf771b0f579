"""Finding events by words; the words are written by `batch.append`, with the events themselves.

https://spec.matrix.org/v1.19/client-server-api/#server-side-search
"""

from collections.abc import Collection
from typing import NamedTuple

from homeserver.storage.batch import SearchKey
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid


class Match(NamedTuple):
    """An event that has all the words."""

    event: EventNid
    rank: float


class Words(NamedTuple):
    """What is looked for, and where."""

    term: str
    keys: Collection[SearchKey]
    rooms: Collection[RoomNid]
    until: int
    """The room order of the last event that is looked at."""


async def find(conn: Connection, wanted: Words, limit: int, *, by_rank: bool) -> list[Match]:
    """Up to `limit` events of rooms that are not encrypted, the best or the latest first."""
    order = "rank DESC, s.room_order DESC" if by_rank else "s.room_order DESC"
    rows = await conn.fetch(
        f"""
        SELECT s.event_nid, ts_rank(s.words, query) AS rank
          FROM searchable s, plainto_tsquery('simple', $1) query
         WHERE s.words @@ query AND s.room_nid = ANY ($2) AND s.key = ANY ($3)
           AND s.room_order <= $4
           AND NOT EXISTS (
               SELECT
                 FROM current_state c
                 JOIN state_keys k ON k.state_key_nid = c.state_key_nid
                WHERE c.room_nid = s.room_nid AND k.type = 'm.room.encryption'
                  AND k.state_key = ''
               )
         ORDER BY {order}
         LIMIT $5
        """,  # noqa: S608 - one of two orders
        wanted.term,
        list(wanted.rooms),
        [int(key) for key in wanted.keys],
        wanted.until,
        limit,
    )
    return [Match(*row) for row in rows]


async def around(
    conn: Connection, events: Collection[EventNid], before: int, after: int
) -> dict[EventNid, tuple[list[EventNid], list[EventNid]]]:
    """For each event, those before it, the latest first, and those after it."""
    rows = await conn.fetch(
        """
        SELECT e.event_nid, near.event_nid, near.room_order < e.room_order
          FROM events e
         CROSS JOIN LATERAL (
               (SELECT b.event_nid, b.room_order
                  FROM events b
                 WHERE b.room_nid = e.room_nid AND b.room_order < e.room_order AND b.fate = 0
                 ORDER BY b.room_order DESC
                 LIMIT $2)
                UNION ALL
               (SELECT a.event_nid, a.room_order
                  FROM events a
                 WHERE a.room_nid = e.room_nid AND a.room_order > e.room_order AND a.fate = 0
                 ORDER BY a.room_order
                 LIMIT $3)
               ) near
         WHERE e.event_nid = ANY ($1) AND e.room_order IS NOT NULL
         ORDER BY abs(near.room_order - e.room_order)
        """,
        list(events),
        before,
        after,
    )
    found: dict[EventNid, tuple[list[EventNid], list[EventNid]]] = {e: ([], []) for e in events}
    for event, near, is_before in rows:
        found[event][0 if is_before else 1].append(near)
    return found
