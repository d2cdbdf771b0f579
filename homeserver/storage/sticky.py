"""Events that stick, until they do not any more.

A row is written before its event is: of an event that never comes it tells nothing.

https://github.com/matrix-org/matrix-spec-proposals/pull/4354
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from federation.identifiers import EventID
from homeserver.storage.batch import Fate, StickyRow
from homeserver.storage.log import Kind
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid
from homeserver.storage.stream_tokens import ORDER_BITS


class Sticky(NamedTuple):
    """An accepted event that sticks."""

    event: EventNid
    room: RoomNid
    pos: int
    """In the log: when it came, or when it was accepted after all."""
    expires_ts: int


class Named(NamedTuple):
    """An event of this server that sticks, by its names."""

    room: RoomNid
    event: EventNid
    event_id: EventID


class Entered(NamedTuple):
    """Somebody's membership as it changed."""

    room: RoomNid
    pos: int
    before: bytes | None
    """The event that said what they were before, as JSON."""


async def note(conn: Connection, rows: Sequence[StickyRow]) -> None:
    """Note that events which are about to be written stick."""
    await conn.execute(
        """
        WITH written AS (
            INSERT INTO sticky_events (event_nid, room_nid, expires_ts, is_ours)
            SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::boolean[])
            ON CONFLICT DO NOTHING
            RETURNING room_nid
        ), rooms AS (
            SELECT array_agg(DISTINCT room_nid) AS nids, count(DISTINCT room_nid)::integer AS n
              FROM written
        )
        SELECT append_log(array_fill($5::smallint, ARRAY[n]), nids,
                          array_fill(NULL::bigint, ARRAY[n]), array_fill(NULL::bigint, ARRAY[n]))
          FROM rooms WHERE n > 0
        """,
        *[list(column) for column in zip(*rows, strict=True)],
        Kind.STICKY,
    )


async def rooms_with(conn: Connection, now: int) -> dict[RoomNid, int]:
    """The rooms in which something sticks, and until when at most."""
    rows = await conn.fetch(
        """
        SELECT room_nid, max(expires_ts) FROM sticky_events WHERE expires_ts > $1
         GROUP BY room_nid
        """,
        now,
    )
    return {RoomNid(room): expires for room, expires in rows}


async def page(
    conn: Connection, spans: Mapping[RoomNid, int], up_to: int, now: int, limit: int
) -> list[Sticky]:
    """What sticks of what came after a position of each room's own, and not after `up_to`.

    The first of all rooms together.
    """
    rows = await conn.fetch(
        """
        SELECT s.event_nid, s.room_nid, coalesce(s.pos, e.room_order >> $5) AS pos, s.expires_ts
          FROM unnest($1::bigint[], $2::bigint[]) AS g (room_nid, after)
          JOIN sticky_events s ON s.room_nid = g.room_nid AND s.expires_ts > $4
          JOIN events e ON e.event_nid = s.event_nid
         WHERE e.fate = 0 AND e.redacted_by IS NULL
           AND coalesce(s.pos, e.room_order >> $5) > g.after
           AND coalesce(s.pos, e.room_order >> $5) <= $3
         ORDER BY 3
         LIMIT $6
        """,
        list(spans),
        list(spans.values()),
        up_to,
        now,
        ORDER_BITS,
        limit,
    )
    return [Sticky(*row) for row in rows]


async def ours(
    conn: Connection, rooms: Collection[RoomNid], now: int
) -> dict[RoomNid, list[EventNid]]:
    """What people of this server said in the rooms that still sticks, in its order."""
    rows = await conn.fetch(
        """
        SELECT s.room_nid, s.event_nid
          FROM sticky_events s
          JOIN events e ON e.event_nid = s.event_nid
         WHERE s.room_nid = ANY ($1) AND s.expires_ts > $2 AND s.is_ours
           AND e.fate = 0 AND e.redacted_by IS NULL
         ORDER BY e.room_order
        """,
        list(rooms),
        now,
    )
    found: dict[RoomNid, list[EventNid]] = {}
    for room, event in rows:
        found.setdefault(RoomNid(room), []).append(EventNid(event))
    return found


async def named(conn: Connection, events: Collection[EventNid], now: int) -> list[Named]:
    """Those of the events of this server that stick."""
    rows = await conn.fetch(
        """
        SELECT s.room_nid, s.event_nid, i.event_id
          FROM sticky_events s
          JOIN event_ids i ON i.event_nid = s.event_nid
         WHERE s.event_nid = ANY ($1) AND s.expires_ts > $2 AND s.is_ours
        """,
        list(events),
        now,
    )
    return [Named(*row) for row in rows]


async def entered(conn: Connection, places: Collection[tuple[RoomNid, int]]) -> list[Entered]:
    """What the members were before whose memberships changed at these positions of rooms."""
    rows = await conn.fetch(
        """
        SELECT c.room_nid, c.pos, old.json
          FROM unnest($1::bigint[], $2::bigint[]) AS g (room_nid, pos)
          JOIN state_changes c ON c.room_nid = g.room_nid AND c.pos = g.pos
          JOIN state_keys k ON k.state_key_nid = c.state_key_nid AND k.type = 'm.room.member'
          LEFT JOIN events old ON old.event_nid = c.old_event_nid
        """,
        [room for room, _ in places],
        [pos for _, pos in places],
    )
    return [Entered(*row) for row in rows]


async def soft_failed(conn: Connection, room: RoomNid, now: int) -> list[EventNid]:
    """What would stick in a room, but was soft failed."""
    rows = await conn.fetch(
        """
        SELECT s.event_nid
          FROM sticky_events s
          JOIN events e ON e.event_nid = s.event_nid
         WHERE s.room_nid = $1 AND s.expires_ts > $2 AND e.fate = $3
         ORDER BY e.room_order
        """,
        room,
        now,
        Fate.SOFT_FAILED,
    )
    return [EventNid(row[0]) for row in rows]


async def accept(conn: Connection, room: RoomNid, events: Collection[EventNid]) -> int | None:
    """Accept events that were soft failed; answers the last position."""
    pos: int | None = await conn.fetchval(
        """
        WITH accepted AS (
            UPDATE events SET fate = 0
             WHERE event_nid = ANY ($2) AND room_nid = $1 AND fate = $4
            RETURNING event_nid, room_order
        ), numbered AS MATERIALIZED (
            SELECT event_nid, row_number() OVER (ORDER BY room_order) - 1 AS place FROM accepted
        ), logged AS MATERIALIZED (
            SELECT append_log(array_agg($3::smallint), array_agg($1::bigint),
                              array_agg(NULL::bigint), array_agg(event_nid ORDER BY place)) AS base
              FROM numbered
        ), told AS (
            UPDATE sticky_events s SET pos = l.base + n.place
              FROM numbered n, logged l
             WHERE s.event_nid = n.event_nid
            RETURNING s.pos
        )
        SELECT max(pos) FROM told
        """,
        room,
        list(events),
        Kind.STICKY,
        Fate.SOFT_FAILED,
    )
    return pos


async def forget_expired(conn: Connection, now: int) -> None:
    """Forget what does not stick any more."""
    await conn.execute("DELETE FROM sticky_events WHERE expires_ts <= $1", now)
