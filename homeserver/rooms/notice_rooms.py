"""Invitations that are not to be rejected: into the rooms in which the server speaks to people.

https://spec.matrix.org/v1.19/client-server-api/#server-notices
"""

from federation.identifiers import RoomID, UserID
from homeserver.errors import CannotLeaveNotices
from homeserver.storage import notice_rooms
from homeserver.storage.process import Process


async def check_may_leave(process: Process, user: UserID, room_id: RoomID) -> None:
    """Raise `CannotLeaveNotices` for who rejects to be spoken to; who has joined may leave."""
    async with process.database.reader() as conn:
        if await notice_rooms.is_invited(conn, user, room_id):
            raise CannotLeaveNotices
