"""What came with invitations to rooms that this server is not in.

https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
"""

from collections.abc import Iterable

from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Connection


async def stripped_states(
    conn: Connection, rooms: Iterable[RoomNid], user: UserNid
) -> dict[RoomNid, bytes]:
    """The stripped states that came, as JSON lists."""
    rows = await conn.fetch(
        "SELECT room_nid, state FROM invites WHERE room_nid = ANY ($1) AND user_nid = $2",
        list(rooms),
        user,
    )
    return {RoomNid(row[0]): row[1] for row in rows}
