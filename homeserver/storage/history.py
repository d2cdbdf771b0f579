"""Events in their places: what rooms' histories are read from, page by page.

Only events that were accepted are in any page; what was soft failed or rejected is nobody's to see.
Room order is one line per room, live events and history alike; `after` and `before` are places
between events: everything with a room order up to `after` is before the page, everything beyond
`before` is behind it.

Whether an event is a parent is asked row by row: `OFFSET 0` keeps PostgreSQL from reading all
relations there are instead.

https://spec.matrix.org/v1.19/client-server-api/#pagination
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from federation.events import Event
from federation.identifiers import EventID
from homeserver.storage.batch import Fate
from homeserver.storage.loading import load_event
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid, GroupNid, KeyNid
from homeserver.storage.stream_tokens import ORDER_BITS

EARLIEST = -(2**63)
"""Stands before all events of a room."""
LATEST = 2**63 - 1
"""Stands behind all events of a room."""

Span = tuple[int | None, int | None]
"""`after` and `before`; `None`: from the beginning, to the end."""

_LIVE = (1 << ORDER_BITS) - 1
_AT_A_STRETCH = 500
"""Events that are read while everybody waits: some 5 ms."""
_FATES = tuple(Fate)
"""By their numbers."""


class Placed(NamedTuple):
    """An accepted event, with its place in its room."""

    nid: EventNid
    room: RoomNid
    order: int | None
    """`None`: an outlier, which is in no place."""
    key: KeyNid | None
    """`None`: not a state event."""
    group_before: GroupNid | None
    """The state before it; `None`: empty, or not known."""
    redacted_by: EventNid | None
    replaces: EventNid | None
    """Of a live state event: the entry of the current state that it took the place of."""
    fate: Fate
    event: Event
    """As a redaction left it, if there was one."""
    lifetime: int | None = None
    """How long messages are kept, as the room's state asks for it now, in milliseconds."""
    is_parent: bool = False
    """Of an event that is no state event: whether any is related to it."""

    @property
    def pos(self) -> int | None:
        """Its position in the log, or `None` if it came as history."""
        return None if self.order is None or self.order & _LIVE else self.order >> ORDER_BITS


async def page(
    conn: Connection,
    room: RoomNid,
    after: int | None,
    before: int | None,
    limit: int,
    *,
    backwards: bool,
) -> list[Placed]:
    """Up to `limit` events of a span, from its end if `backwards`, in the order of reading."""
    direction = "DESC" if backwards else "ASC"
    rows = await conn.fetch(
        f"""
        SELECT e.event_nid, e.room_nid, e.room_order, e.state_key_nid, e.group_before,
               e.redacted_by, c.old_event_nid, e.fate, i.event_id, r.version, r.lifetime,
               e.json, e.state_key_nid IS NULL
               AND EXISTS (SELECT FROM relations l WHERE l.parent_nid = e.event_nid OFFSET 0)
          FROM events e
          LEFT JOIN state_changes c
            ON c.room_nid = e.room_nid AND c.pos = e.room_order >> 24
           AND c.state_key_nid = e.state_key_nid AND c.new_event_nid = e.event_nid
          JOIN event_ids i ON i.event_nid = e.event_nid
          JOIN rooms r ON r.room_nid = e.room_nid
         WHERE e.room_nid = $1 AND e.room_order > $2 AND e.room_order <= $3 AND e.fate = 0
         ORDER BY e.room_order {direction}
         LIMIT $4
        """,  # noqa: S608 - one of two words
        room,
        *_ends((after, before)),
        limit,
    )
    return await _placed(rows)


async def pages(
    conn: Connection, spans: Mapping[RoomNid, Span], limit: int | Mapping[RoomNid, int]
) -> dict[RoomNid, list[Placed]]:
    """The last events of a span in each of many rooms, the earlier first.

    Args:
        conn: to read with: one query.
        spans: in which the events are.
        limit: how many at most of each room; of all rooms the same, or one by one.

    """
    ends = [_ends(span) for span in spans.values()]
    limits = [limit if isinstance(limit, int) else limit[room] for room in spans]
    rows = await conn.fetch(
        """
        SELECT e.event_nid, e.room_nid, e.room_order, e.state_key_nid, e.group_before,
               e.redacted_by, c.old_event_nid, e.fate, i.event_id, r.version, r.lifetime,
               e.json, e.state_key_nid IS NULL
               AND EXISTS (SELECT FROM relations l WHERE l.parent_nid = e.event_nid OFFSET 0)
          FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[])
               AS span (room_nid, after, before, most)
         CROSS JOIN LATERAL (
               SELECT *
                 FROM events
                WHERE room_nid = span.room_nid AND room_order > span.after
                  AND room_order <= span.before AND fate = 0
                ORDER BY room_order DESC
                LIMIT span.most
               ) e
          LEFT JOIN state_changes c
            ON c.room_nid = e.room_nid AND c.pos = e.room_order >> 24
           AND c.state_key_nid = e.state_key_nid AND c.new_event_nid = e.event_nid
          JOIN event_ids i ON i.event_nid = e.event_nid
          JOIN rooms r ON r.room_nid = e.room_nid
        """,
        list(spans),
        [after for after, _ in ends],
        [before for _, before in ends],
        limits,
    )
    found: dict[RoomNid, list[Placed]] = {room: [] for room in spans}
    for placed in sorted(await _placed(rows), key=lambda p: p.order or 0):
        found[placed.room].append(placed)
    return found


async def live(
    conn: Connection, spans: Mapping[RoomNid, tuple[int, int]], limit: int
) -> list[Placed]:
    """What came into some rooms, in the order of the log: the first events, of all together.

    Args:
        conn: to read with: one query.
        spans: positions after which, and up to which, something came.
        limit: how many events at most.

    """
    rows = await conn.fetch(
        """
        SELECT e.event_nid, e.room_nid, e.room_order, e.state_key_nid, e.group_before,
               e.redacted_by, c.old_event_nid, e.fate, i.event_id, r.version, r.lifetime,
               e.json, e.state_key_nid IS NULL
               AND EXISTS (SELECT FROM relations l WHERE l.parent_nid = e.event_nid OFFSET 0)
          FROM (SELECT e.*
                  FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])
                       AS span (room_nid, after, up_to)
                 CROSS JOIN LATERAL (
                       SELECT *
                         FROM events
                        WHERE room_nid = span.room_nid AND fate = 0
                          AND room_order > span.after << 24
                          AND room_order <= span.up_to << 24
                          AND room_order & 16777215 = 0
                        ORDER BY room_order
                        LIMIT $4
                       ) e
                 ORDER BY e.room_order
                 LIMIT $4) e
          LEFT JOIN state_changes c
            ON c.room_nid = e.room_nid AND c.pos = e.room_order >> 24
           AND c.state_key_nid = e.state_key_nid AND c.new_event_nid = e.event_nid
          JOIN event_ids i ON i.event_nid = e.event_nid
          JOIN rooms r ON r.room_nid = e.room_nid
        """,
        list(spans),
        [after for after, _ in spans.values()],
        [up_to for _, up_to in spans.values()],
        limit,
    )
    return sorted(await _placed(rows), key=lambda placed: placed.order or 0)


async def by_nid(conn: Connection, nids: Iterable[EventNid]) -> dict[EventNid, Placed]:
    """Those of the events that are stored and not rejected.

    A soft failed one may stand in a room's state, and is shown there; nowhere else.
    """
    rows = await conn.fetch(
        """
        SELECT e.event_nid, e.room_nid, e.room_order, e.state_key_nid, e.group_before,
               e.redacted_by, c.old_event_nid, e.fate, i.event_id, r.version, r.lifetime,
               e.json, e.state_key_nid IS NULL
               AND EXISTS (SELECT FROM relations l WHERE l.parent_nid = e.event_nid OFFSET 0)
          FROM events e
          LEFT JOIN state_changes c
            ON c.room_nid = e.room_nid AND c.pos = e.room_order >> 24
           AND c.state_key_nid = e.state_key_nid AND c.new_event_nid = e.event_nid
          JOIN event_ids i ON i.event_nid = e.event_nid
          JOIN rooms r ON r.room_nid = e.room_nid
         WHERE e.event_nid = ANY ($1) AND e.fate <> 2
        """,
        list(nids),
    )
    return {placed.nid: placed for placed in await _placed(rows)}


async def by_id(conn: Connection, room: RoomNid, event_id: EventID) -> Placed | None:
    """An event of this room, if it is stored and accepted."""
    row = await conn.fetchrow(
        """
        SELECT e.event_nid, e.room_nid, e.room_order, e.state_key_nid, e.group_before,
               e.redacted_by, c.old_event_nid, e.fate, i.event_id, r.version, r.lifetime,
               e.json, e.state_key_nid IS NULL
               AND EXISTS (SELECT FROM relations l WHERE l.parent_nid = e.event_nid OFFSET 0)
          FROM event_ids i
          JOIN events e ON e.event_nid = i.event_nid
          LEFT JOIN state_changes c
            ON c.room_nid = e.room_nid AND c.pos = e.room_order >> 24
           AND c.state_key_nid = e.state_key_nid AND c.new_event_nid = e.event_nid
          JOIN rooms r ON r.room_nid = e.room_nid
         WHERE i.event_id = $1 AND e.room_nid = $2 AND e.fate = 0
        """,
        event_id,
        room,
    )
    return _read(row) if row else None


async def closest(
    conn: Connection, room: RoomNid, ts: int, until: int | None, limit: int, *, forwards: bool
) -> list[Placed]:
    """Events from a moment on, or up to it, that are closest to it; the closest first.

    Args:
        conn: to read with.
        room: whose they are.
        ts: the moment, in milliseconds since the epoch.
        until: the room order of the last event that is wanted.
        limit: how many at most.
        forwards: whether they come after the moment.

    """
    side, direction = (">=", "ASC") if forwards else ("<=", "DESC")
    rows = await conn.fetch(
        f"""
        SELECT event_nid
          FROM events
         WHERE room_nid = $1 AND origin_server_ts {side} $2 AND room_order IS NOT NULL
           AND room_order <= $3 AND fate = 0
         ORDER BY origin_server_ts {direction}, room_order {direction}
         LIMIT $4
        """,  # noqa: S608 - one of two words
        room,
        ts,
        LATEST if until is None else until,
        limit,
    )
    found = await by_nid(conn, [EventNid(row[0]) for row in rows])
    return [found[nid] for row in rows if (nid := EventNid(row[0])) in found]


async def names(conn: Connection, nids: Iterable[EventNid]) -> dict[EventNid, str]:
    """The IDs of events, stored or not."""
    rows = await conn.fetch(
        "SELECT event_nid, event_id FROM event_ids WHERE event_nid = ANY ($1)", list(nids)
    )
    return {EventNid(row[0]): row[1] for row in rows}


class Sent(NamedTuple):
    """How somebody sent an event."""

    txn_id: str | None
    """The transaction ID, if it was the device that asks."""
    delay_id: str | None
    """Under which ID it was scheduled, if it was."""


async def sent(
    conn: Connection, user: UserNid, device: int | None, nids: Iterable[EventNid]
) -> dict[EventNid, Sent]:
    """How some events were sent, which are the user's own; without those of no interest."""
    rows = await conn.fetch(
        """
        SELECT s.event_nid, CASE WHEN s.device_nid = $2 THEN s.txn_id END, d.delay_id
          FROM sent s
          LEFT JOIN delayed_events d ON d.delay_hash = s.txn_hash AND d.user_nid = $3
         WHERE s.event_nid = ANY ($1)
           AND (s.device_nid = $2 AND s.txn_id IS NOT NULL OR d.delay_id IS NOT NULL)
        """,
        list(nids),
        device,
        user,
    )
    return {EventNid(row[0]): Sent(row[1], row[2]) for row in rows}


def _ends(span: Span) -> tuple[int, int]:
    after, before = span
    return EARLIEST if after is None else after, LATEST if before is None else before


async def _placed(rows: Sequence[Any]) -> list[Placed]:
    """The events in rows; whoever reads thousands lets others have their turn in between."""
    found = [_read(row) for row in rows[:_AT_A_STRETCH]]
    for start in range(_AT_A_STRETCH, len(rows), _AT_A_STRETCH):
        await asyncio.sleep(0)
        found += [_read(row) for row in rows[start : start + _AT_A_STRETCH]]
    return found


def _read(row: Any) -> Placed:
    nid, room, order, key, group, by, replaces, fate, event_id, version, lifetime, raw, parent = row
    event = load_event(raw, event_id, version)
    return Placed(nid, room, order, key, group, by, replaces, _FATES[fate], event, lifetime, parent)
