"""All rooms that this server has, as administrators look through them."""

from typing import NamedTuple

from federation.identifiers import RoomID, ServerName
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection


class Measured(NamedTuple):
    """A room with what can be counted of it."""

    room: RoomNid
    room_id: RoomID
    version: str
    joined: int
    joined_here: int
    """How many of them are of this server."""
    state_events: int
    is_published: bool


async def measured(
    conn: Connection, server: ServerName, after: RoomNid, limit: int
) -> list[Measured]:
    """Rooms beyond one by number."""
    rows = await conn.fetch(
        """
        SELECT r.room_nid, r.room_id, r.version, coalesce(m.joined, 0), coalesce(m.here, 0),
               (SELECT count(*) FROM current_state s WHERE s.room_nid = r.room_nid),
               EXISTS (SELECT FROM published p WHERE p.room_nid = r.room_nid)
          FROM rooms r
          LEFT JOIN LATERAL (
               SELECT sum(rs.joined) AS joined,
                      sum(rs.joined) FILTER (WHERE s.server_name = $1) AS here
                 FROM room_servers rs JOIN servers s ON s.server_nid = rs.server_nid
                WHERE rs.room_nid = r.room_nid
               ) m ON true
         WHERE r.room_nid > $2 AND r.version IS NOT NULL AND r.group_nid IS NOT NULL
         ORDER BY r.room_nid
         LIMIT $3
        """,
        server,
        after,
        limit,
    )
    return [Measured(*row) for row in rows]


async def measured_one(conn: Connection, server: ServerName, room: RoomNid) -> Measured | None:
    """One room; `None`: it is only known by name."""
    found = await measured(conn, server, RoomNid(room - 1), 1)
    return found[0] if found and found[0].room == room else None


class Presence(NamedTuple):
    """What people of this server have to do with a room."""

    devices: int
    """Of those who are joined."""
    is_forgotten: bool
    """Whether all who were ever in it have left and forgotten it."""


async def presence(conn: Connection, room: RoomNid) -> Presence:
    """What people of this server have to do with a room."""
    row = await conn.fetchrow(
        """
        SELECT (SELECT count(*)
                  FROM memberships m JOIN devices d ON d.user_nid = m.user_nid
                 WHERE m.room_nid = $1 AND m.membership = 1),
               coalesce(bool_and(f.pos >= m.pos), true)
          FROM memberships m
          JOIN accounts a ON a.user_nid = m.user_nid
          LEFT JOIN LATERAL (
               SELECT coalesce(max(f.pos), 0) AS pos
                 FROM forgotten f
                WHERE f.user_nid = m.user_nid AND f.room_nid = m.room_nid
               ) f ON true
         WHERE m.room_nid = $1
        """,
        room,
    )
    return Presence(*row)
