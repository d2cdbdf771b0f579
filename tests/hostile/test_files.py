"""Files of a server that means no good.

https://spec.matrix.org/v1.19/server-server-api/#content-repository
"""

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from homeserver.config.settings import Media
from homeserver.config.values import Size
from homeserver.media import remote
from homeserver.media.repository import MOST_OF_SERVER
from tests.database import Server
from tests.federation.net.loopback import Authority
from tests.hostile.test_answers import Endless
from tests.hostile.test_gaps import Never, released
from tests.server_server.answering import peering
from tests.server_server.peer import Peer
from tests.servers import Client, Hearth, eventually, federating

__all__ = ["released"]

DOWNLOAD = "/_matrix/client/v1/media/download"
THUMBNAIL = "/_matrix/client/v1/media/thumbnail"
LARGEST = 200_000
PIXELS = 10_000
MIXED = {"Content-Type": "multipart/mixed; boundary=x"}
_HEAD = b"--x\r\nContent-Type: application/json\r\n\r\n{}\r\n--x\r\n"


class Files(NamedTuple):
    """A server that takes small files, and two others that have some."""

    hearth: Hearth
    peer: Peer
    honest: Peer
    ann: Client
    folder: Path

    def have(self, answer: Callable[[], web.StreamResponse]) -> None:
        """What the peer answers whoever wants a file."""
        self.peer.lies["media"] = lambda _: answer()

    async def both(self, media_id: str) -> list[tuple[int, str | None]]:
        """What a download and a thumbnail of the peer's are answered, soon."""
        path = f"{self.peer.name}/{media_id}"
        async with asyncio.timeout(20):
            whole = await self.ann.get(f"{DOWNLOAD}/{path}")
            small = await self.ann.get(f"{THUMBNAIL}/{path}", width=32, height=32)
        return [(whole.status, whole.errcode), (small.status, small.errcode)]

    def kept(self) -> int:
        """Bytes of all files that the server keeps."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
async def files(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> AsyncIterator[Files]:
    folder = tmp_path / "media"
    media = Media(folder=folder, max_remote=Size(LARGEST), max_pixels=PIXELS)
    async with (
        federating(postgres, tmp_path, loopback_authority, media=media) as hearth,
        peering(hearth, loopback_authority) as peer,
        peering(hearth, loopback_authority) as honest,
    ):
        honest.lies["media"] = lambda _: part(b"honest")
        yield Files(hearth, peer, honest, await hearth.user("ann"), folder)


def part(data: bytes, **headers: str) -> web.Response:
    """A file as servers send it."""
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    body = _HEAD + head.encode() + b"\r\n" + data + b"\r\n--x--"
    return web.Response(body=body, headers=MIXED)


def picture(width: int, height: int) -> bytes:
    """A small PNG that unfolds to that many grey pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(width + 1) * height, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


class EndlessPart(Endless):
    """A file that does not end, in a part or as the part's head."""

    def __init__(self, head: bytes) -> None:
        super().__init__(b"x" * 65_536)
        self.headers.update(MIXED)
        self._head = head

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        await super().write(self._head + data if not self.sent else data)


async def test_a_file_without_end(files: Files) -> None:
    """Nor a head, nor one that is a little too large; nothing of it is left."""
    refused = {(413, "M_TOO_LARGE"), (404, "M_NOT_FOUND")}
    for number, head in enumerate((_HEAD + b"\r\n", _HEAD + b"X: ", b"", b"--x\r\n{")):
        sent: list[EndlessPart] = []
        files.have(lambda head=head, sent=sent: sent.append(EndlessPart(head)) or sent[-1])  # type: ignore[misc]
        assert set(await files.both(f"endless{number}")) <= refused
        assert sent
        assert all(one.sent < 2**23 for one in sent), "who does not want it does not read on"
    files.have(lambda: part(b"x" * (LARGEST + 1)))
    assert set(await files.both("large")) <= refused
    assert files.kept() == 0
    files.have(lambda: part(b"x" * LARGEST))
    assert (await files.both("fits"))[0] == (200, None)


async def test_files_that_are_elsewhere(files: Files) -> None:
    """A server sends us neither to private places, nor round and round, nor out of HTTPS."""
    asked: list[str] = []

    def circle(found: Any) -> web.Response:
        asked.append("circle")
        return web.Response(status=302, headers={"Location": here})

    files.peer.lies["query"] = circle
    here = f"https://{files.peer.name}/_matrix/federation/v1/query/x"
    places = [
        "https://169.254.169.254/latest/meta-data/", "https://10.0.0.1/", "https://[::1]/",
        "https://[::ffff:10.0.0.1]/", f"http://{files.peer.name}/", "file:///etc/passwd",
        "https://0x7f.1/", "https://localhost/", "gopher://x/", "//", "", "https://", "\t",
        here, f"{here}#again", "https://" + "a" * 5000,
    ]  # fmt: skip
    for number, place in enumerate(places):
        files.have(lambda place=place: part(b"", Location=place))  # type: ignore[misc]
        found = await files.both(f"elsewhere{number}")
        assert set(found) == {(404, "M_NOT_FOUND")}, place
    assert len(asked) <= 4, "a circle is gone round once for each who asks"
    files.have(lambda: web.Response(status=307, headers={"Location": "https://10.0.0.1/"}))
    assert set(await files.both("redirected")) == {(404, "M_NOT_FOUND")}
    assert files.kept() == 0


@pytest.mark.parametrize(
    ("status", "errcode", "falls_back"),
    [(404, "M_UNRECOGNIZED", True), (404, "M_NOT_FOUND", False), (400, "M_UNRECOGNIZED", False)],
)
async def test_a_server_that_knows_the_old_endpoint(
    files: Files, status: int, errcode: str, falls_back: bool
) -> None:
    """It is asked for its own files only; and nobody is whom it does not concern.

    https://spec.matrix.org/v1.19/server-server-api/#content-repository
    """
    queries: list[Any] = []

    def old(query: Any) -> web.Response:
        queries.append(query)
        return web.Response(body=b"old", content_type="text/plain")

    files.peer.lies["download"] = old
    files.have(lambda: web.json_response({"errcode": errcode, "error": "no"}, status=status))
    answer = await files.ann.get(f"{DOWNLOAD}/{files.peer.name}/abc")
    if falls_back:
        assert (answer.status, answer.body) == (200, b"old")
        assert [query["allow_remote"] for query in queries] == ["false"]
    else:
        assert (answer.status, answer.errcode) == (404, "M_NOT_FOUND")
        assert queries == []


async def test_pictures_that_unfold(files: Files) -> None:
    """A file of some bytes that would fill the memory is given out, but never unfolded."""
    data = picture(9_000, 9_000)
    files.have(lambda: part(data, Content_Type="image/png"))
    whole, small = await files.both("bomb")
    assert whole == (200, None)
    assert 400 <= small[0] < 500
    assert small[1]
    good = picture(64, 64)
    files.have(lambda: part(good, Content_Type="image/png"))
    assert await files.both("picture") == [(200, None), (200, None)]


async def test_a_server_that_keeps_files_back(
    files: Files, released: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only so many of its files are waited for, and not for ever; others' are had meanwhile."""
    monkeypatch.setattr(remote, "_SECONDS", 4.0)
    files.have(lambda: Never(released))
    path = f"{DOWNLOAD}/{files.peer.name}"
    waiting = [asyncio.create_task(files.ann.get(f"{path}/s{n}")) for n in range(MOST_OF_SERVER)]

    async def are_asked() -> bool:
        return sum("/media/" in one for one in files.peer.asked) == MOST_OF_SERVER

    await eventually(are_asked)
    more = await files.ann.get(f"{path}/more")
    assert (more.status, more.errcode) == (429, "M_LIMIT_EXCEEDED")
    assert more.json["retry_after_ms"] > 0
    # Whoever waits for one of them does so with the others.
    again = asyncio.create_task(files.ann.get(f"{path}/s0"))
    assert (await files.ann.get(f"{DOWNLOAD}/{files.honest.name}/a")).body == b"honest"
    assert not any(task.done() for task in waiting)
    answers = await asyncio.gather(*waiting, again)
    assert {(one.status, one.errcode) for one in answers} == {(404, "M_NOT_FOUND")}
    released.set()
    files.have(lambda: part(b"at last"))
    assert (await files.ann.get(f"{path}/s0")).body == b"at last"


async def test_a_file_that_comes_byte_by_byte(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it has only so much time, however it is spent."""
    monkeypatch.setattr(remote, "_SECONDS", 1.0)

    class Slow(web.StreamResponse):
        async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
            self.headers.update(MIXED)
            writer = await super().prepare(request)
            await self.write(_HEAD + b"\r\n")
            while request.transport and not request.transport.is_closing():
                await self.write(b"x")
                await asyncio.sleep(0.05)
            return writer

    files.have(Slow)
    assert set(await files.both("slow")) == {(404, "M_NOT_FOUND")}
    assert files.kept() == 0
