"""A folder of files that are written once, whole or not at all."""

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterable
from pathlib import Path

from homeserver.storage.media import Kept

_PIECE = 64 * 1024


class Folder:
    """The files; their names are random and say nothing.

    `file_id` `abcdef…` lies at `ab/cd/ef…`, so that no folder holds too many.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def write(self, chunks: AsyncIterable[bytes]) -> Kept:
        """Keep what comes, once all of it has come; it survives a crash from then on.

        What `chunks` raises is passed on, and nothing is kept.
        """
        file_id = secrets.token_hex(16)
        half = self._folder / f"{file_id}.new"
        await asyncio.to_thread(self._folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            async for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                os.write(descriptor, chunk)
            await asyncio.to_thread(self._settle, descriptor, half, file_id)
        except BaseException:
            half.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        return Kept(file_id, size, digest.digest())

    def path(self, file_id: str) -> Path:
        """Where a file lies."""
        return self._folder / file_id[:2] / file_id[2:4] / file_id[4:]

    async def read(self, file_id: str) -> AsyncGenerator[bytes, None]:
        """A file, piece by piece."""
        with await asyncio.to_thread(self.path(file_id).open, "rb") as file:
            while piece := await asyncio.to_thread(file.read, _PIECE):
                yield piece

    async def delete(self, file_id: str) -> None:
        """Remove a file, if it is there."""
        await asyncio.to_thread(self.path(file_id).unlink, missing_ok=True)

    def _settle(self, descriptor: int, half: Path, file_id: str) -> None:
        os.fsync(descriptor)
        path = self.path(file_id)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        half.rename(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
