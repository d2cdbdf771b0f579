"""All that was ever said about one entry of a room's state, and which of it was the current one.

https://spec.matrix.org/v1.19/server-server-api/#room-state-resolution
"""

from typing import NamedTuple

import orjson

from federation.events import StateKey
from federation.identifiers import EventID, UserID
from homeserver.storage.batch import Fate
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection


class Said(NamedTuple):
    """An event about the entry."""

    event_id: EventID
    sender: UserID
    ts: int
    """Milliseconds since the epoch."""
    depth: int
    fate: Fate
    order: int | None
    """Its place in the room; `None`: we know it from others' states only."""
    is_current: bool


class Change(NamedTuple):
    """A moment at which the entry became otherwise."""

    old: EventID | None
    new: EventID | None
    came_with: EventID | None
    """The event that brought it: the new entry itself, or one that joined forks."""


async def said(conn: Connection, room: RoomNid, key: StateKey) -> list[Said]:
    """The events about an entry, in the order in which they have their places."""
    rows = await conn.fetch(
        """
        SELECT i.event_id, e.json, e.origin_server_ts, e.depth, e.fate, e.room_order,
               s.event_nid IS NOT NULL
          FROM state_keys k
          JOIN events e ON e.room_nid = $1 AND e.state_key_nid = k.state_key_nid
          JOIN event_ids i ON i.event_nid = e.event_nid
          LEFT JOIN current_state s ON s.room_nid = $1 AND s.state_key_nid = k.state_key_nid
                                   AND s.event_nid = e.event_nid
         WHERE k.type = $2 AND k.state_key = $3
         ORDER BY e.room_order NULLS FIRST, e.depth, e.event_nid
        """,
        room,
        *key,
    )
    return [
        Said(row[0], UserID(orjson.loads(row[1])["sender"]), row[2], row[3], Fate(row[4]), *row[5:])
        for row in rows
    ]


async def changes(conn: Connection, room: RoomNid, key: StateKey) -> list[Change]:
    """What the entry was, one after the other."""
    rows = await conn.fetch(
        """
        SELECT o.event_id, n.event_id, w.event_id
          FROM state_keys k
          JOIN state_changes c ON c.room_nid = $1 AND c.state_key_nid = k.state_key_nid
          LEFT JOIN event_ids o ON o.event_nid = c.old_event_nid
          LEFT JOIN event_ids n ON n.event_nid = c.new_event_nid
          LEFT JOIN events e ON e.room_nid = $1 AND e.room_order = c.pos << 24
          LEFT JOIN event_ids w ON w.event_nid = e.event_nid
         WHERE k.type = $2 AND k.state_key = $3
         ORDER BY c.pos
        """,
        room,
        *key,
    )
    return [Change(*row) for row in rows]
