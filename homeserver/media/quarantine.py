"""Files that are kept and given out to nobody, as administrators decide."""

from federation.identifiers import RoomID, UserID
from homeserver.errors import Forbidden, NotFound
from homeserver.media.repository import Mxc
from homeserver.storage import history, media
from homeserver.storage.media_uses import files_in
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process

_AT_A_STRETCH = 500
"""Events that are looked at in one go."""


class Quarantine:
    """Puts files into quarantine, and takes them out.

    Args:
        process: the one that this is part of.

    """

    def __init__(self, process: Process) -> None:
        self._process = process

    async def put(self, mxc: Mxc, by: UserNid) -> None:
        """Give a file out no more; of another server, not even fetch it.

        Raises:
            NotFound: there is no such file of ours.
            Forbidden: the file is protected.

        """
        server, now = self._process.server, self._process.now()
        async with self._process.database.reader() as conn:
            item = await media.find(conn, mxc.server, mxc.media_id)
            if item is None and mxc.server == server:
                raise NotFound("there is no such file")
            if item is not None and item.is_protected:
                raise Forbidden("the file is protected from quarantine")
            await media.quarantine(conn, server, [(mxc.server, mxc.media_id)], by, now)

    async def release(self, mxc: Mxc) -> None:
        """Give a file out again, or raise `NotFound`."""
        async with self._process.database.reader() as conn:
            if not await media.release(conn, mxc.server, mxc.media_id):
                raise NotFound("there is no such file")

    async def protect(self, mxc: Mxc, *, is_protected: bool) -> None:
        """Keep a file from being put into quarantine, or no longer; or raise `NotFound`."""
        async with self._process.database.reader() as conn:
            found = await media.protect(conn, mxc.server, mxc.media_id, is_protected=is_protected)
        if not found:
            raise NotFound("there is no such file")

    async def put_all_of(self, user_id: UserID, by: UserNid) -> int:
        """All that somebody uploaded; how many files. What is protected is left out."""
        async with self._process.database.reader() as conn:
            user = (await self._process.numbers.users.find(conn, [user_id])).get(user_id)
            return 0 if user is None else await media.quarantine_of_user(conn, user, by)

    async def put_all_in(self, room_id: RoomID, by: UserNid) -> int:
        """All that the room's messages name, where they are not encrypted; how many files.

        Raises:
            NotFound: there is no such room here.

        """
        server, now = self._process.server, self._process.now()
        async with self._process.database.reader() as conn:
            room = (await self._process.numbers.rooms.find(conn, [room_id])).get(room_id)
        if room is None:
            raise NotFound("there is no such room here")
        count, after = 0, None
        while True:
            async with self._process.database.reader() as conn:
                page = await history.page(conn, room, after, None, _AT_A_STRETCH, backwards=False)
                named = {file for placed in page for file in files_in(placed.event)}
                if named:
                    count += await media.quarantine(conn, server, named, by, now)
            if len(page) < _AT_A_STRETCH:
                return count
            after = page[-1].order
