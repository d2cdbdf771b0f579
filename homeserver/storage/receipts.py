"""Receipts: the newest of each user, type and thread; they never go back.

https://spec.matrix.org/v1.19/client-server-api/#receipts
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from federation.identifiers import EventID, UserID
from homeserver.storage.log import Kind
from homeserver.storage.numbers import RoomNid, ServerNid, UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid

UNTHREADED = ""
"""Stands where a receipt is for a room whatever its threads."""


class ReceiptType(IntEnum):
    """Types of receipts, as they are stored."""

    READ = 1
    """`m.read`: for everybody to see."""
    READ_PRIVATE = 2
    """`m.read.private`: for its owner."""


class Receipt(NamedTuple):
    """A row to be written."""

    room: RoomNid
    user: UserNid
    type: ReceiptType
    thread: str
    """The root's event ID, `main`, or `UNTHREADED`."""
    event: EventNid
    ts: int
    """Milliseconds since the epoch."""


class Shown(NamedTuple):
    """A row as clients are told of it."""

    room: RoomNid
    user_id: UserID
    type: ReceiptType
    thread: str
    event_id: EventID
    ts: int
    pos: int


async def move(conn: Connection, receipts: Sequence[Receipt]) -> dict[Receipt, int]:
    """Write those receipts that are ahead of what is there; answer them with their positions.

    An event that is not in the room's order counts as the newest when it comes, and as the oldest
    when another one does. There is at most one for each room, user, type and thread. `conn` is in
    no transaction. The log has a row for each that was ahead, and perhaps for others.
    """
    # The clock comes before the rows, which get their positions from it: all writers do so, and
    # nobody waits for a row with the clock in hand.
    rows = await conn.fetch(
        """
        WITH given AS (
            SELECT g.*, coalesce(e.room_order, 9223372036854775807) AS room_order
              FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::text[], $5::bigint[],
                          $6::bigint[])
                   AS g (room_nid, user_nid, type, thread, event_nid, ts)
              LEFT JOIN events e ON e.event_nid = g.event_nid AND e.room_nid = g.room_nid
        ), news AS MATERIALIZED (
            SELECT g.*, row_number() OVER (
                       ORDER BY g.room_nid, g.user_nid, g.type, g.thread
                   ) - 1 AS place
              FROM given g
             WHERE NOT EXISTS (
                   SELECT FROM receipts r
                     LEFT JOIN events e ON e.event_nid = r.event_nid AND e.room_nid = r.room_nid
                    WHERE r.room_nid = g.room_nid AND r.user_nid = g.user_nid
                      AND r.type = g.type AND r.thread = g.thread
                      AND (r.event_nid = g.event_nid OR e.room_order >= g.room_order)
                   )
        ), logged AS MATERIALIZED (
            SELECT append_log(array_agg($7::smallint), array_agg(n.room_nid ORDER BY n.place),
                              array_agg(n.user_nid ORDER BY n.place),
                              array_agg(NULL::bigint)) AS base
              FROM news n
        )
        INSERT INTO receipts AS old (room_nid, user_nid, type, thread, event_nid, ts, pos)
        SELECT n.room_nid, n.user_nid, n.type, n.thread, n.event_nid, n.ts, l.base + n.place
          FROM news n CROSS JOIN logged l
         WHERE l.base IS NOT NULL
        ON CONFLICT (room_nid, user_nid, type, thread) DO UPDATE
           SET event_nid = excluded.event_nid, ts = excluded.ts, pos = excluded.pos
         WHERE coalesce((SELECT room_order FROM events
                          WHERE event_nid = old.event_nid AND room_nid = old.room_nid), 0)
             < coalesce((SELECT room_order FROM events
                          WHERE event_nid = excluded.event_nid AND room_nid = excluded.room_nid),
                        9223372036854775807)
        RETURNING room_nid, user_nid, type, thread, event_nid, ts, pos
        """,
        *_columns(receipts),
        Kind.RECEIPT,
    )
    return {Receipt(row[0], row[1], ReceiptType(row[2]), *row[3:6]): row[6] for row in rows}


async def read(
    conn: Connection, spans: Mapping[RoomNid, int], up_to: int, reader: UserNid
) -> list[Shown]:
    """The receipts that changed after a position of each room's own, and not after `up_to`.

    Others' private ones are left out. In the order in which they changed.
    """
    rows = await conn.fetch(
        """
        SELECT r.room_nid, u.user_id, r.type, r.thread, i.event_id, r.ts, r.pos
          FROM unnest($1::bigint[], $2::bigint[]) AS span (room_nid, after)
          JOIN receipts r ON r.room_nid = span.room_nid AND r.pos > span.after
          JOIN users u ON u.user_nid = r.user_nid
          JOIN event_ids i ON i.event_nid = r.event_nid
         WHERE r.pos <= $3 AND (r.type = 1 OR r.user_nid = $4)
         ORDER BY r.pos
        """,
        list(spans),
        list(spans.values()),
        up_to,
        reader,
    )
    return [Shown(row[0], row[1], ReceiptType(row[2]), *row[3:]) for row in rows]


async def read_under(
    conn: Connection,
    spans: Mapping[RoomNid, int],
    events: Iterable[EventNid],
    up_to: int,
    reader: UserNid,
) -> list[Shown]:
    """Receipts for some events, written after a position of each room's own; and the reader's own.

    Others' private ones are left out. In the order in which they changed.
    """
    rows = await conn.fetch(
        """
        WITH span AS (
            SELECT * FROM unnest($1::bigint[], $2::bigint[]) AS w (room_nid, after)
        ), wanted AS (
            SELECT r.* FROM span
              JOIN receipts r ON r.room_nid = span.room_nid AND r.pos > span.after
             WHERE r.event_nid = ANY ($3) AND r.type = 1 AND r.user_nid <> $5
             UNION ALL
            SELECT r.* FROM span
              JOIN receipts r ON r.room_nid = span.room_nid AND r.user_nid = $5
        )
        SELECT r.room_nid, u.user_id, r.type, r.thread, i.event_id, r.ts, r.pos
          FROM wanted r
          JOIN users u ON u.user_nid = r.user_nid
          JOIN event_ids i ON i.event_nid = r.event_nid
         WHERE r.pos <= $4
         ORDER BY r.pos
        """,
        list(spans),
        list(spans.values()),
        list(events),
        up_to,
        reader,
    )
    return [Shown(row[0], row[1], ReceiptType(row[2]), *row[3:]) for row in rows]


async def are_joined(
    conn: Connection, pairs: Iterable[tuple[RoomNid, UserNid]]
) -> set[tuple[RoomNid, UserNid]]:
    """Those of the pairs where the user is in the room."""
    wanted = list(pairs)
    rows = await conn.fetch(
        """
        SELECT m.room_nid, m.user_nid
          FROM unnest($1::bigint[], $2::bigint[]) AS pair (room_nid, user_nid)
          JOIN memberships m ON m.room_nid = pair.room_nid AND m.user_nid = pair.user_nid
         WHERE m.membership = 1
        """,
        [room for room, _ in wanted],
        [user for _, user in wanted],
    )
    return {(row[0], row[1]) for row in rows}


async def servers_in(
    conn: Connection, rooms: Iterable[RoomNid], but: str
) -> dict[RoomNid, dict[str, ServerNid]]:
    """The servers that are in each of the rooms, but for one."""
    rows = await conn.fetch(
        """
        SELECT r.room_nid, s.server_name, s.server_nid
          FROM room_servers r
          JOIN servers s ON s.server_nid = r.server_nid
         WHERE r.room_nid = ANY ($1) AND r.joined > 0 AND s.server_name <> $2
        """,
        list(rooms),
        but,
    )
    found: dict[RoomNid, dict[str, ServerNid]] = {}
    for room, name, nid in rows:
        found.setdefault(room, {})[name] = nid
    return found


def _columns(receipts: Sequence[Receipt]) -> list[list[object]]:
    return [list(column) for column in zip(*receipts, strict=True)] or [[] for _ in range(6)]
