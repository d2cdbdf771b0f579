"""Rooms that nobody of this server may come into."""

from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Connection


async def block(conn: Connection, room: RoomNid, user: UserNid) -> None:
    """Block a room; who did so first remains."""
    await conn.execute(
        "INSERT INTO blocked_rooms (room_nid, user_nid) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        room,
        user,
    )


async def unblock(conn: Connection, room: RoomNid) -> None:
    """Let people in again."""
    await conn.execute("DELETE FROM blocked_rooms WHERE room_nid = $1", room)


async def blocked_by(conn: Connection, room_id: str) -> str | None:
    """The user ID of who blocked the room; `None`: nobody did."""
    found: str | None = await conn.fetchval(
        """
        SELECT u.user_id
          FROM rooms r
          JOIN blocked_rooms b ON b.room_nid = r.room_nid
          JOIN users u ON u.user_nid = b.user_nid
         WHERE r.room_id = $1
        """,
        room_id,
    )
    return found
