"""Files that are kept and given out to nobody, as administrators decide."""

from collections.abc import Iterable, Iterator
from typing import Any

from federation.errors import IdentifierError
from federation.events import Event
from federation.identifiers import RoomID, ServerName, UserID, parse_server_name
from homeserver.errors import Forbidden, MatrixError, NotFound
from homeserver.media.queries import parse_media_id
from homeserver.media.repository import Mxc
from homeserver.storage import history, media
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
                named = set(_files_in(placed.event for placed in page))
                if named:
                    count += await media.quarantine(conn, server, named, by, now)
            if len(page) < _AT_A_STRETCH:
                return count
            after = page[-1].order


def _files_in(events: Iterable[Event]) -> Iterator[tuple[ServerName, str]]:
    """The files that events name: the file itself and its thumbnail."""
    for event in events:
        content = event.content
        info = content.get("info")
        for holder, url, file in (
            (content, "url", "file"),
            (info if isinstance(info, dict) else {}, "thumbnail_url", "thumbnail_file"),
        ):
            encrypted = holder.get(file)
            for text in (
                holder.get(url),
                encrypted.get("url") if isinstance(encrypted, dict) else None,
            ):
                found = _named(text)
                if found is not None:
                    yield found


def _named(uri: Any) -> tuple[ServerName, str] | None:
    if not isinstance(uri, str) or not uri.startswith("mxc://"):
        return None
    server, _, media_id = uri.removeprefix("mxc://").partition("/")
    try:
        return parse_server_name(server), parse_media_id(media_id)
    except (IdentifierError, MatrixError):
        return None
