import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from homeserver.media.folder import Folder


async def of(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def torn() -> AsyncIterator[bytes]:
    yield b"half"
    raise ConnectionError


async def test_a_file_comes_back(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "media")
    kept = await folder.write(of(b"some ", b"bytes"))
    assert (kept.size, kept.sha256) == (10, hashlib.sha256(b"some bytes").digest())
    assert b"".join([chunk async for chunk in folder.read(kept.file_id)]) == b"some bytes"
    assert folder.path(kept.file_id).stat().st_mode & 0o777 == 0o600
    await folder.delete(kept.file_id)
    await folder.delete(kept.file_id)
    assert not folder.path(kept.file_id).exists()


async def test_half_a_file_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError):
        await Folder(tmp_path).write(torn())
    assert list(tmp_path.rglob("*")) == []
