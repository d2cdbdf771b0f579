"""The messages that somebody was, or would have been, notified of.

https://spec.matrix.org/v1.19/client-server-api/#listing-notifications
"""

from collections.abc import Mapping
from typing import NamedTuple

from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid
from homeserver.storage.stream_tokens import ORDER_BITS
from homeserver.storage.unread import Flag

EVERY = Flag.NOTIFY | Flag.HIGHLIGHT
"""What the predefined rules tell of."""
_MOST = 1000
"""Messages of a room that are looked at for one page."""
_MOST_OWN = 10_000
"""Messages of a room among which somebody's own are found."""


# The page first, from an index of each room; then how far the user has read in its rooms: by
# receipts, of the room or of a thread, and by what they said themselves.
_PAGE = """
    WITH given AS (
        SELECT * FROM unnest($2::bigint[], $3::bigint[]) AS g (room_nid, since)
    ), page AS MATERIALIZED (
        SELECT n.room_nid, n.room_order, n.event_nid, coalesce(n.thread_nid, 0) AS thread,
               n.flags
          FROM given g
         CROSS JOIN LATERAL (
               SELECT near.*
                 FROM (SELECT * FROM notable
                        WHERE room_nid = g.room_nid AND room_order > g.since
                          AND room_order <= $4
                        ORDER BY room_order DESC LIMIT $7) near
                WHERE near.sender_nid <> $1 AND near.flags & 4 = 0
                  AND ($5::integer IS NULL OR near.flags & $5 <> 0
                       OR $1 = ANY (near.mentioned))
                ORDER BY near.room_order DESC LIMIT $6
               ) n
         ORDER BY n.room_order DESC LIMIT $6
    ), mine AS (
        SELECT r.room_nid, r.thread, max(e.room_order) AS read
          FROM receipts r
          JOIN events e ON e.event_nid = r.event_nid AND e.room_nid = r.room_nid
         WHERE r.user_nid = $1 AND r.room_nid IN (SELECT room_nid FROM page)
         GROUP BY r.room_nid, r.thread
    ), threads AS (
        SELECT m.room_nid, CASE WHEN m.thread = 'main' THEN 0 ELSE i.event_nid END AS thread,
               m.read
          FROM mine m LEFT JOIN event_ids i ON i.event_id = m.thread
         WHERE m.thread <> ''
    ), own AS (
        SELECT n.room_nid, coalesce(n.thread_nid, 0) AS thread, max(n.room_order) AS said
          FROM (SELECT room_nid, min(room_order) AS first FROM page GROUP BY room_nid) p
         CROSS JOIN LATERAL (
               SELECT * FROM notable
                WHERE room_nid = p.room_nid AND room_order > p.first
                ORDER BY room_order DESC LIMIT $8
               ) n
         WHERE n.sender_nid = $1
         GROUP BY n.room_nid, coalesce(n.thread_nid, 0)
    )
    SELECT p.room_order, p.room_nid, p.event_nid, p.flags, p.thread,
           coalesce(greatest(m.read, t.read, o.said) >= p.room_order, false)
      FROM page p
      LEFT JOIN mine m ON m.room_nid = p.room_nid AND m.thread = ''
      LEFT JOIN threads t ON t.room_nid = p.room_nid AND t.thread = p.thread
      LEFT JOIN own o ON o.room_nid = p.room_nid AND o.thread = p.thread
     ORDER BY p.room_order DESC
"""


class Notified(NamedTuple):
    """A message, and whether it was read."""

    order: int
    room: RoomNid
    event: EventNid
    flags: int
    thread: EventNid
    """The root of its thread, or `unread.MAIN`."""
    is_read: bool


async def page(
    conn: Connection,
    user: UserNid,
    rooms: Mapping[RoomNid, int],
    before: int,
    flags: Flag | None,
    limit: int,
) -> list[Notified]:
    """Others' messages up to a room order, of all rooms together, the newest first.

    Args:
        conn: one query, for any number of rooms.
        user: whose notifications.
        rooms: since when they are in each, by position.
        before: the room order.
        flags: those that have any of these, or name the user; `None`: all of them.
        limit: how many at most.

    """
    rows = await conn.fetch(
        _PAGE,
        user,
        list(rooms),
        [pos << ORDER_BITS for pos in rooms.values()],
        before,
        None if flags is None else int(flags),
        limit,
        _MOST,
        _MOST_OWN,
    )
    return [Notified(*row) for row in rows]
