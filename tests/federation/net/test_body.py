import gzip
import zlib
from collections.abc import AsyncIterator, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import ResponseFormatError, ResponseTooLargeError
from federation.net.body import bounded, inflated


async def pieces(data: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in data:
        yield piece


async def read(body: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in body])


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@given(data=st.binary(max_size=400), copies=st.integers(1, 1000), size=st.integers(1, 5000))
async def test_gzip_in_any_pieces(data: bytes, copies: int, size: int) -> None:
    original = data * copies
    assert await read(inflated(pieces(cut(gzip.compress(original), size)), "gzip")) == original


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
async def test_nothing_to_inflate(encoding: str) -> None:
    assert await read(inflated(pieces([b"a", b"b"]), encoding)) == b"ab"


async def test_a_body_that_is_not_there_is_not_cut_off() -> None:
    assert await read(inflated(pieces([]), "gzip")) == b""


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b"plain", "gzip"),
        (gzip.compress(b"x" * 1000, mtime=0)[:-5], "gzip"),
        (zlib.compress(b"x"), "deflate"),
        (b"x", "br"),
        (gzip.compress(gzip.compress(b"x", mtime=0), mtime=0), "gzip, gzip"),
    ],
)
async def test_not_what_it_says(data: bytes, encoding: str) -> None:
    with pytest.raises(ResponseFormatError):
        await read(inflated(pieces([data]), encoding))


async def sizes(body: AsyncIterator[bytes], seen: list[int]) -> None:
    async for piece in body:
        seen.append(len(piece))  # noqa: PERF401 - what was read before a failure counts


async def test_a_bomb_comes_in_small_pieces() -> None:
    """A hundred megabytes in a hundred kilobytes are given up at the first megabyte."""
    bomb = gzip.compress(b"\0" * 10**8, 1)
    seen: list[int] = []
    with pytest.raises(ResponseTooLargeError):
        await sizes(bounded(inflated(pieces([bomb]), "gzip"), 10**6), seen)
    assert max(seen) <= 65536
    assert sum(seen) <= 10**6


@pytest.mark.parametrize(("size", "is_too_large"), [(10, False), (11, True)])
async def test_bounded(size: int, is_too_large: bool) -> None:
    body = bounded(pieces([b"x"] * size), 10)
    if is_too_large:
        with pytest.raises(ResponseTooLargeError):
            await read(body)
    else:
        assert await read(body) == b"x" * size
