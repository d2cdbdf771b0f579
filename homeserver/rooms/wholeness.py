"""Waiting until all members of a room are known, which was joined before they were.

https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid
"""

import asyncio

from federation.identifiers import RoomID
from homeserver.errors import BadGateway
from homeserver.storage import partial_rooms
from homeserver.storage.process import Process

_PAUSES = (0.05, 0.1, 0.2)
"""Seconds between looks; the last one again and again."""
_SECONDS = 60.0


class Wholeness:
    """Waits, for whoever needs members that may not be known yet.

    Args:
        process: the one that this is part of.
        seconds: after which it is given up.

    """

    def __init__(self, process: Process, seconds: float = _SECONDS) -> None:
        self._process = process
        self._seconds = seconds

    async def wait(self, room_id: RoomID) -> None:
        """Return once all members are known, in a moment for nearly every room.

        Raises:
            BadGateway: no server told them in time.

        """
        if not await self.comes_within(room_id, self._seconds):
            raise BadGateway("other servers have not yet told who the members of this room are")

    async def comes_within(self, room_id: RoomID, seconds: float) -> bool:
        """Whether all members are known before the time is over."""
        pauses = iter(_PAUSES)
        until = asyncio.get_running_loop().time() + seconds
        while await self._is_partial(room_id):
            if asyncio.get_running_loop().time() >= until:
                return False
            await asyncio.sleep(next(pauses, _PAUSES[-1]))
        return True

    async def _is_partial(self, room_id: RoomID) -> bool:
        async with self._process.database.reader() as conn:
            return await partial_rooms.is_partial(conn, room_id)
