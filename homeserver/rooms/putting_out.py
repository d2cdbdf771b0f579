"""Putting guests out of rooms that do not let them in any more.

"If the `m.room.guest_access` event is changed to stop this from being the case, the server MUST set
those users' `m.room.member` state to `leave`": whoever changed it, of whatever server. One process
at a time has this duty; it follows the log, so that a restart forgets nobody.

https://spec.matrix.org/v1.19/client-server-api/#guest-access
"""

import orjson

from homeserver.errors import MatrixError
from homeserver.logs import get_logger
from homeserver.rooms.guest_access import GUEST_ACCESS
from homeserver.rooms.membership import Memberships
from homeserver.storage import guests
from homeserver.storage.guests import Access, Guest
from homeserver.storage.holding import Duty
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.process import Process

log = get_logger(__name__)

DUTY = "put out guests"
_AT_ONCE = 100


class PuttingOut:
    """Has the duty, or waits for it. `run` has to run.

    Args:
        process: the one that this is part of.
        members: changes memberships.

    """

    def __init__(self, process: Process, members: Memberships) -> None:
        self._process = process
        self._members = members
        self._duty = Duty(process, DUTY)

    async def run(self) -> None:
        """Have the duty for as long as it is ours, again and again."""
        await self._duty.follow(self._look)

    async def _look(self, after: int, upto: int) -> None:
        """Put out whom a stretch of the log leaves unwelcome."""
        async with self._process.database.reader() as conn:
            keys = await self._process.numbers.state_keys.find(conn, [GUEST_ACCESS])
            # No room ever said anything about guests: none lets them in.
            key = keys.get(GUEST_ACCESS)
            found = [] if key is None else await guests.touched(conn, after, upto, key)
        rooms = [access.room for access in found if not _lets_in(access)]
        beyond = RoomNid(0), UserNid(0)
        while rooms:
            async with self._process.database.reader() as conn:
                unwelcome = await guests.inside(conn, rooms, beyond, _AT_ONCE)
            if not unwelcome:
                break
            for guest in unwelcome:
                await self._put_out(guest)
            beyond = unwelcome[-1].room, unwelcome[-1].user

    async def _put_out(self, guest: Guest) -> None:
        try:
            await self._members.leave(guest.user_id, guest.room_id, None, is_forced=True)
        except MatrixError as error:
            log.warning("a guest cannot be put out", room=guest.room_id, reason=error.message)


def _lets_in(access: Access) -> bool:
    if access.json is None:
        return False
    content = orjson.loads(access.json).get("content")
    return isinstance(content, dict) and content.get("guest_access") == "can_join"
