"""Guests of this server and the rooms that they are in."""

from collections.abc import Collection
from typing import NamedTuple

from federation.identifiers import RoomID, UserID
from homeserver.storage.batch import Membership
from homeserver.storage.log import Kind
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import KeyNid


class Access(NamedTuple):
    """What a room says about guests."""

    room: RoomNid
    json: bytes | None
    """The current `m.room.guest_access` event; `None` if there is none."""


class Guest(NamedTuple):
    """A guest of this server who is in a room."""

    room: RoomNid
    user: UserNid
    room_id: RoomID
    user_id: UserID


async def is_guest(conn: Connection, user_id: UserID) -> bool:
    """Whether this is a guest of this server."""
    found: bool = await conn.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM users u JOIN accounts a ON a.user_nid = u.user_nid
             WHERE u.user_id = $1 AND a.is_guest
        )
        """,
        user_id,
    )
    return found


async def touched(conn: Connection, after: int, upto: int, key: KeyNid) -> list[Access]:
    """Rooms that say something else about guests, or that guests came into, in a part of the log.

    Args:
        conn: to read with.
        after: the position before the part.
        upto: its last.
        key: of the entry of the state that speaks of guests.

    """
    rows = await conn.fetch(
        """
        WITH touched AS (
            SELECT l.room_nid
              FROM log l
              JOIN state_changes c ON c.room_nid = l.room_nid AND c.pos = l.pos
                                  AND c.state_key_nid = $3
             WHERE l.pos > $1 AND l.pos <= $2 AND l.kind = $4
             UNION
            SELECT l.room_nid
              FROM log l JOIN accounts a ON a.user_nid = l.user_nid AND a.is_guest
             WHERE l.pos > $1 AND l.pos <= $2 AND l.kind = $4
        )
        SELECT t.room_nid, e.json
          FROM touched t
          LEFT JOIN current_state s ON s.room_nid = t.room_nid AND s.state_key_nid = $3
          LEFT JOIN events e ON e.event_nid = s.event_nid
        """,
        after,
        upto,
        key,
        Kind.EVENT,
    )
    return [Access(*row) for row in rows]


async def inside(
    conn: Connection, rooms: Collection[RoomNid], beyond: tuple[RoomNid, UserNid], limit: int
) -> list[Guest]:
    """Guests who are joined to any of the rooms, in the order of their numbers."""
    rows = await conn.fetch(
        """
        SELECT m.room_nid, m.user_nid, r.room_id, u.user_id
          FROM memberships m
          JOIN accounts a ON a.user_nid = m.user_nid AND a.is_guest AND NOT a.deactivated
          JOIN rooms r ON r.room_nid = m.room_nid
          JOIN users u ON u.user_nid = m.user_nid
         WHERE m.room_nid = ANY ($1) AND m.membership = $2
           AND (m.room_nid, m.user_nid) > ($3, $4)
         ORDER BY m.room_nid, m.user_nid
         LIMIT $5
        """,
        list(rooms),
        Membership.JOIN,
        *beyond,
        limit,
    )
    return [Guest(*row) for row in rows]
