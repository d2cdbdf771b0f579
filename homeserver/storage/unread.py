"""Messages as unread counts see them.

https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications
"""

from collections.abc import Collection, Mapping
from enum import IntFlag
from typing import Any, NamedTuple

from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid
from homeserver.storage.stream_tokens import ORDER_BITS


class Flag(IntFlag):
    """What the predefined push rules say of an event, whoever reads it."""

    NOTIFY = 1
    HIGHLIGHT = 2
    """For everybody: the whole room is called, or the room has been replaced."""
    REDACTION = 4
    """Something that was counted may not count any more."""
    RING = 8
    """A call: to be named in it is no highlight."""


_RINGS_FOR_ALL = Flag.RING | Flag.NOTIFY


def is_for_all(flags: int) -> bool:
    """Whether an event calls the whole room, by somebody who may."""
    return bool(flags & Flag.HIGHLIGHT) or flags & _RINGS_FOR_ALL == _RINGS_FOR_ALL


MAIN = EventNid(0)
"""Stands for the thread of all that is in no other."""
_MOST = 10_000
"""Messages of a room that are counted; more is told as so many."""
_MOST_EVALUATED = 500


class Notable(NamedTuple):
    """A message."""

    room: RoomNid
    order: int
    event: EventNid
    sender: UserNid
    thread: EventNid
    flags: int
    mentioned: Collection[UserNid]


class Count(NamedTuple):
    """How much is unread in a thread of a room."""

    room: RoomNid
    thread: EventNid
    notifications: int
    highlights: int


# What a user has not read: neither by a receipt, of the room or of the thread, nor by having
# said something later themselves.
_UNREAD = """
    WITH given AS (
        SELECT * FROM unnest($2::bigint[], $3::bigint[]) AS g (room_nid, since)
    ), mine AS (
        SELECT r.room_nid, r.thread, max(e.room_order) AS read
          FROM receipts r
          JOIN events e ON e.event_nid = r.event_nid AND e.room_nid = r.room_nid
         WHERE r.user_nid = $1 AND r.room_nid = ANY ($2)
         GROUP BY r.room_nid, r.thread
    ), news AS (
        SELECT n.*, coalesce(n.thread_nid, 0) AS thread
          FROM given g
          LEFT JOIN mine m ON m.room_nid = g.room_nid AND m.thread = ''
         CROSS JOIN LATERAL (
               SELECT * FROM notable
                WHERE room_nid = g.room_nid AND room_order > greatest(g.since, m.read)
                  AND room_order <= $4
                ORDER BY room_order DESC LIMIT $5
               ) n
    ), own AS (
        SELECT room_nid, thread, max(room_order) AS said
          FROM news WHERE sender_nid = $1 GROUP BY room_nid, thread
    ), threads AS (
        SELECT m.room_nid, CASE WHEN m.thread = 'main' THEN 0 ELSE i.event_nid END AS thread,
               m.read
          FROM mine m LEFT JOIN event_ids i ON i.event_id = m.thread
         WHERE m.thread <> ''
    ), unread AS (
        SELECT n.*
          FROM news n
          LEFT JOIN own o ON o.room_nid = n.room_nid AND o.thread = n.thread
          LEFT JOIN threads t ON t.room_nid = n.room_nid AND t.thread = n.thread
         WHERE n.sender_nid <> $1
           AND n.room_order > coalesce(o.said, n.room_order - 1)
           AND n.room_order > coalesce(t.read, n.room_order - 1)
    )
"""


async def count(
    conn: Connection, user: UserNid, rooms: Mapping[RoomNid, int], up_to: int
) -> list[Count]:
    """What is unread by the predefined rules; threads in which nothing is are missing.

    Args:
        conn: one query, for any number of rooms.
        user: whose.
        rooms: since when they are in each, by position.
        up_to: the position up to which is counted.

    """
    rows = await conn.fetch(
        _UNREAD  # noqa: S608 - both parts stand here
        + """
        SELECT room_nid, thread,
               count(*) FILTER (WHERE flags & 3 <> 0 OR $1 = ANY (mentioned)),
               count(*) FILTER (WHERE flags & 2 <> 0 OR flags & 8 = 0 AND $1 = ANY (mentioned))
          FROM unread GROUP BY room_nid, thread
        """,
        *_given(user, rooms, up_to),
        _MOST,
    )
    return [Count(*row) for row in rows]


async def unread(
    conn: Connection, user: UserNid, rooms: Mapping[RoomNid, int], up_to: int
) -> list[Notable]:
    """The unread messages themselves, the last ones of each room."""
    rows = await conn.fetch(
        _UNREAD  # noqa: S608 - both parts stand here
        + """
        SELECT room_nid, room_order, event_nid, sender_nid, thread, flags, mentioned FROM unread
        """,
        *_given(user, rooms, up_to),
        _MOST_EVALUATED,
    )
    return [_notable(row) for row in rows]


async def since(
    conn: Connection, rooms: Mapping[RoomNid, int], up_to: int
) -> dict[RoomNid, list[Notable]]:
    """The messages of each room after a position of its own, the earlier first."""
    rows = await conn.fetch(
        """
        SELECT n.room_nid, n.room_order, n.event_nid, n.sender_nid, coalesce(n.thread_nid, 0),
               n.flags, n.mentioned
          FROM unnest($1::bigint[], $2::bigint[]) AS g (room_nid, after)
          JOIN notable n ON n.room_nid = g.room_nid AND n.room_order > g.after
         WHERE n.room_order <= $3
         ORDER BY n.room_order
        """,
        list(rooms),
        [pos << ORDER_BITS for pos in rooms.values()],
        up_to << ORDER_BITS,
    )
    found: dict[RoomNid, list[Notable]] = {room: [] for room in rooms}
    for row in rows:
        found[RoomNid(row[0])].append(_notable(row))
    return found


def _given(user: UserNid, rooms: Mapping[RoomNid, int], up_to: int) -> tuple[object, ...]:
    orders = [pos << ORDER_BITS for pos in rooms.values()]
    return user, list(rooms), orders, up_to << ORDER_BITS


def _notable(row: Any) -> Notable:
    room, order, event, sender, thread, flags, mentioned = row
    return Notable(room, order, event, sender, thread, flags, mentioned or ())
