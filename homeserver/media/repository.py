"""The files of this server, and copies of other servers'.

https://spec.matrix.org/v1.19/client-server-api/#content-repository
"""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncGenerator, AsyncIterable, Collection, Sequence
from dataclasses import dataclass

from federation.identifiers import ServerName
from homeserver.config.settings import Media as MediaSettings
from homeserver.errors import (
    CannotOverwriteMedia,
    Forbidden,
    LimitExceeded,
    MatrixError,
    NotFound,
    NotYetUploaded,
)
from homeserver.media.folder import Folder
from homeserver.media.headers import clean_name, clean_type
from homeserver.media.pages import Picture
from homeserver.media.remote import Remote
from homeserver.media.thumbnails import make, shape_for
from homeserver.storage import media
from homeserver.storage.media import Item, MediaNid, Shape, Thumbnail
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import DAY, Process

UNUSED_EXPIRES = DAY
"""Milliseconds for which an announced name waits for its file."""
MOST_ANNOUNCED = 50
"""Names that one person may have announced at a time."""
LONGEST_WAIT = 60_000
"""Milliseconds that somebody may wait for a file that was announced."""
PREVIEWS_LAST = 2 * DAY
"""Milliseconds for which the picture of a page stays."""
MOST_OF_PREVIEWS = 2 * 1024**3
"""Bytes of all such pictures; then the oldest go sooner."""
_PREVIEWS_AT_A_STRETCH = 64 * 1024**2
"""Bytes of them after which it is seen to that they are not too many."""
MOST_FETCHED = 100
"""Files of other servers that a process fetches at the same time."""
MOST_OF_SERVER = 8
"""Those of one server; that many connections to it are left for more important things."""
_TRY_AGAIN = 5000
"""Milliseconds after which somebody may ask again for a file that was not fetched for these."""
_LOOK_AGAIN = 0.25


@dataclass(frozen=True, slots=True)
class Mxc:
    """Whose file, and which."""

    server: ServerName
    media_id: str

    def __str__(self) -> str:
        """The `mxc://` URI."""
        return f"mxc://{self.server}/{self.media_id}"


@dataclass(frozen=True, slots=True)
class File:
    """A file that can be sent."""

    chunks: AsyncGenerator[bytes, None]
    size: int
    content_type: str | None
    name: str | None


class Repository:
    """Keeps files, finds them, and makes them smaller.

    Args:
        process: the one that this is part of.
        settings: the section `media`.
        folder: where the files are.
        remote: fetches those of other servers.

    """

    def __init__(
        self, process: Process, settings: MediaSettings, folder: Folder, remote: Remote
    ) -> None:
        self._process = process
        self._settings = settings
        self._folder = folder
        self._remote = remote
        self._fetching: dict[Mxc, asyncio.Task[None]] = {}
        self._drawing = asyncio.Semaphore(2)
        self._previews_since = 0

    async def upload(
        self, user: UserNid, chunks: AsyncIterable[bytes], kind: str | None, name: str | None
    ) -> Mxc:
        """Keep a file of somebody's, under a name of our choice."""
        mxc = self._new_name()
        await self._keep(mxc, user, chunks, kind, name)
        return mxc

    async def keep_preview(self, picture: Picture) -> Mxc:
        """Keep the picture of a page for a while; nobody's, so nobody is known by it.

        Where the same was kept not long ago, it is that file.
        """
        since = self._process.now() - PREVIEWS_LAST // 2
        digest = hashlib.sha256(picture.data).digest()
        async with self._process.database.reader() as conn:
            before = await media.find_preview(conn, digest, since)
        if before is not None:
            return Mxc(self._process.server, before)
        mxc = self._new_name()
        await self._keep(
            mxc, None, one_chunk(picture.data), picture.content_type, None, is_preview=True
        )
        self._previews_since += len(picture.data)
        if self._previews_since >= _PREVIEWS_AT_A_STRETCH:
            self._previews_since = 0
            await self._clean_previews()
        return mxc

    async def announce(self, user: UserNid) -> tuple[Mxc, int]:
        """A name for a file to come, and when it expires, in milliseconds since the epoch.

        Raises:
            LimitExceeded: too many that this person announced have not come.

        """
        mxc, now = self._new_name(), self._process.now()
        async with self._process.database.reader() as conn:
            made = await media.announce(conn, mxc.server, mxc.media_id, user, now, MOST_ANNOUNCED)
        if not made:
            raise LimitExceeded(UNUSED_EXPIRES)
        return mxc, now + UNUSED_EXPIRES

    async def fill(
        self,
        user: UserNid,
        mxc: Mxc,
        chunks: AsyncIterable[bytes],
        kind: str | None,
        name: str | None,
    ) -> None:
        """Keep a file under a name that was announced.

        Raises:
            NotFound: the name was never announced, or has expired.
            Forbidden: somebody else announced it.
            CannotOverwriteMedia: there is a file of this name.

        """
        item = await self._find(mxc) if mxc.server == self._process.server else None
        if item is None:
            raise NotFound("no such file was announced")
        if item.user != user:
            raise Forbidden("somebody else announced this file")
        if item.file_id is not None:
            raise CannotOverwriteMedia
        if item.created_ts + UNUSED_EXPIRES <= self._process.now():
            raise NotFound("the name has expired")
        await self._keep(mxc, user, chunks, kind, name)

    async def download(self, mxc: Mxc, wait: int, *, may_fetch: bool = True) -> File:
        """A file, from another server if need be.

        Args:
            mxc: which.
            wait: milliseconds for a file that was announced.
            may_fetch: whether another server may be asked.

        Raises:
            NotFound: there is no such file, or it cannot be had.
            NotYetUploaded: it was announced, and did not come in time.

        """
        item = await self._have(mxc, wait, may_fetch=may_fetch)
        if item.file_id is None:
            raise NotYetUploaded
        return File(self._folder.read(item.file_id), item.size, item.content_type, item.file_name)

    async def thumbnail(
        self, mxc: Mxc, wanted: Shape, wait: int, *, may_fetch: bool = True
    ) -> File:
        """A smaller picture; errors as `download`, and `MatrixError` where it is no picture."""
        item = await self._have(mxc, wait, may_fetch=may_fetch)
        shape = shape_for(wanted.width, wanted.height, is_cropped=wanted.is_cropped)
        async with self._process.database.reader() as conn:
            found = await media.find_thumbnail(conn, item.media, shape)
        if found is None:
            found = await self._draw(item, shape)
        return File(self._folder.read(found.file_id), found.size, found.content_type, None)

    async def clean(self) -> int:
        """Delete what nobody wants any more; how many files."""
        keep = self._settings.keep_remote
        before = -1 if keep is None else (self._process.now() - keep.milliseconds) // DAY
        announced = self._process.now() - UNUSED_EXPIRES
        async with self._process.database.reader() as conn:
            left = await media.dead_files(conn)  # of whom somebody died over it
            files = await media.take_unused(conn, self._process.server, before, announced)
        await self._delete(left)
        await self._delete(files)
        return len(files) + await self._clean_previews()

    async def remove(self, files: Collection[MediaNid]) -> int:
        """Delete some files, but for those that administrators keep; how many are gone."""
        async with self._process.database.reader() as conn:
            gone = await media.take(conn, files)
        await self._delete(gone)
        return len(gone)

    async def _clean_previews(self) -> int:
        before = self._process.now() - PREVIEWS_LAST
        async with self._process.database.reader() as conn:
            files = await media.take_previews(conn, before, MOST_OF_PREVIEWS)
        await self._delete(files)
        return len(files)

    async def _delete(self, files: Sequence[str]) -> None:
        for file_id in files:
            await self._folder.delete(file_id)
        if files:
            async with self._process.database.reader() as conn:
                await media.bury(conn, files)

    def _new_name(self) -> Mxc:
        return Mxc(self._process.server, secrets.token_urlsafe(18))

    async def _keep(
        self,
        mxc: Mxc,
        user: UserNid | None,
        chunks: AsyncIterable[bytes],
        kind: str | None,
        name: str | None,
        *,
        is_preview: bool = False,
    ) -> None:
        kept = await self._folder.write(chunks)
        async with self._process.database.reader() as conn:
            is_first = await media.add(
                conn,
                mxc.server,
                mxc.media_id,
                user,
                kept,
                clean_type(kind),
                clean_name(name),
                self._process.now(),
                is_preview=is_preview,
            )
        if not is_first:
            await self._folder.delete(kept.file_id)
            if user is not None:
                raise CannotOverwriteMedia

    async def _find(self, mxc: Mxc) -> Item | None:
        async with self._process.database.reader() as conn:
            return await media.find(conn, mxc.server, mxc.media_id)

    async def _have(self, mxc: Mxc, wait: int, *, may_fetch: bool) -> Item:
        is_ours = mxc.server == self._process.server
        item = await self._find(mxc)
        if item is None and not is_ours and may_fetch:
            await self._fetch(mxc, wait)
            item = await self._find(mxc)
        if item is None or item.is_quarantined:
            raise NotFound("there is no such file")
        if item.file_id is None:
            item = await self._wait_for(mxc, item, min(wait, LONGEST_WAIT))
        if item.used_day < self._process.today:
            async with self._process.database.reader() as conn:
                await media.see(conn, item.media, self._process.today)
        return item

    async def _wait_for(self, mxc: Mxc, item: Item, wait: int) -> Item:
        loop = asyncio.get_running_loop()
        ends = loop.time() + wait / 1000
        found: Item | None = item
        while found is not None and found.file_id is None:
            if loop.time() >= ends:
                raise NotYetUploaded
            await asyncio.sleep(_LOOK_AGAIN)
            found = await self._find(mxc)
        if found is None or found.is_quarantined:
            raise NotFound("there is no such file")
        return found

    async def _fetch(self, mxc: Mxc, wait: int) -> None:
        """Fetch it once, however many ask, and whoever of them goes away.

        Only so much is fetched at a time: connections that a slow server keeps are others' too.
        """
        task = self._fetching.get(mxc)
        if task is None:
            of_server = sum(other.server == mxc.server for other in self._fetching)
            if of_server >= MOST_OF_SERVER or len(self._fetching) >= MOST_FETCHED:
                raise LimitExceeded(_TRY_AGAIN)
            task = asyncio.create_task(self._fetch_once(mxc, wait))
            self._fetching[mxc] = task
            task.add_done_callback(lambda _: self._fetching.pop(mxc, None))
        await asyncio.shield(task)

    async def _fetch_once(self, mxc: Mxc, wait: int) -> None:
        async with self._remote.open(mxc.server, mxc.media_id, wait) as file:
            await self._keep(mxc, None, file.chunks, file.content_type, file.name)

    async def _draw(self, item: Item, shape: Shape) -> Thumbnail:
        path = self._folder.path(item.file_id or "")
        async with self._drawing:
            made = await asyncio.to_thread(make, path, shape, self._settings.max_pixels)
        if made is None:
            raise MatrixError("no thumbnail can be made of this file")
        kept = await self._folder.write(one_chunk(made.data))
        thumbnail = Thumbnail(kept.file_id, kept.size, made.content_type)
        async with self._process.database.reader() as conn:
            if await media.add_thumbnail(conn, item.media, shape, thumbnail):
                return thumbnail
            await self._folder.delete(kept.file_id)
            found = await media.find_thumbnail(conn, item.media, shape)
        if found is None:
            raise NotFound("there is no such file")
        return found


async def one_chunk(data: bytes) -> AsyncGenerator[bytes, None]:
    """Bytes as a file is written from them."""
    yield data
