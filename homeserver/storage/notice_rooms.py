"""The rooms in which the server speaks to people, one for each.

https://spec.matrix.org/v1.19/client-server-api/#server-notices
"""

from federation.identifiers import RoomID, UserID
from homeserver.storage.batch import Membership
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Connection


async def find(conn: Connection, user: UserNid) -> RoomID | None:
    """The room in which the server speaks to somebody."""
    found: RoomID | None = await conn.fetchval(
        """
        SELECT r.room_id
          FROM notice_rooms n JOIN rooms r ON r.room_nid = n.room_nid
         WHERE n.user_nid = $1
        """,
        user,
    )
    return found


async def put(conn: Connection, user: UserNid, room: RoomNid, instead_of: RoomID | None) -> None:
    """Note a new room in place of another, or of none; what was noted meanwhile stays."""
    await conn.execute(
        """
        INSERT INTO notice_rooms AS old (user_nid, room_nid) VALUES ($1, $2)
        ON CONFLICT (user_nid) DO UPDATE SET room_nid = excluded.room_nid
         WHERE old.room_nid = (SELECT room_nid FROM rooms WHERE room_id = $3)
        """,
        user,
        room,
        instead_of,
    )


async def is_invited(conn: Connection, user_id: UserID, room_id: RoomID) -> bool:
    """Whether this is somebody's room, which they were invited to and have not joined."""
    found: bool = await conn.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM notice_rooms n
              JOIN users u ON u.user_nid = n.user_nid
              JOIN rooms r ON r.room_nid = n.room_nid
              JOIN memberships m ON m.room_nid = n.room_nid AND m.user_nid = n.user_nid
             WHERE u.user_id = $1 AND r.room_id = $2 AND m.membership = $3
        )
        """,
        user_id,
        room_id,
        Membership.INVITE,
    )
    return found
