"""`multipart/mixed` as servers send files to each other: a JSON object, then the file.

https://spec.matrix.org/v1.19/server-server-api/#content-repository
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass

from federation.errors import ResponseFormatError

_LONGEST_HEAD = 16 * 1024
_LONGEST_JSON = 64 * 1024
_BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """The second part."""

    headers: Mapping[str, str]
    """By lower-case name."""
    chunks: AsyncGenerator[bytes, None]


def boundary_in(content_type: str) -> bytes:
    """The boundary, or raise `ResponseFormatError`."""
    found = _BOUNDARY.search(content_type)
    if found is None or not content_type.lower().startswith("multipart/mixed"):
        raise ResponseFormatError("not multipart/mixed")
    return (found[1] or found[2]).encode()


async def second_part(chunks: AsyncIterator[bytes], boundary: bytes) -> Part:
    """Read up to the file; its bytes are read from the part.

    Raises:
        ResponseFormatError: there are no two parts.

    """
    reader = _Reader(chunks)
    await reader.until(b"--" + boundary + b"\r\n", _LONGEST_HEAD)
    await reader.until(b"\r\n--" + boundary + b"\r\n", _LONGEST_JSON)
    headers = await _headers(reader)
    return Part(headers, reader.rest_until(b"\r\n--" + boundary))


async def _headers(reader: "_Reader") -> dict[str, str]:
    headers = {}
    while line := await reader.until(b"\r\n", _LONGEST_HEAD):
        name, _, value = line.decode("utf-8", "replace").partition(":")
        headers[name.strip().lower()] = value.strip()
        if len(headers) > 50:
            raise ResponseFormatError("too many headers in a part")
    return headers


class _Reader:
    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._buffer = b""

    async def until(self, mark: bytes, longest: int) -> bytes:
        """What comes before the mark, which is taken too."""
        while (at := self._buffer.find(mark)) < 0:
            if len(self._buffer) > longest:
                raise ResponseFormatError("a part is too long")
            self._buffer += await self._next()
        found, self._buffer = self._buffer[:at], self._buffer[at + len(mark) :]
        return found

    async def rest_until(self, mark: bytes) -> AsyncGenerator[bytes, None]:
        """All that comes before the mark, as it comes."""
        while (at := self._buffer.find(mark)) < 0:
            kept = len(mark) - 1
            if len(self._buffer) > kept:
                yield self._buffer[:-kept]
                self._buffer = self._buffer[-kept:]
            self._buffer += await self._next()
        if at:
            yield self._buffer[:at]

    async def _next(self) -> bytes:
        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            raise ResponseFormatError("the answer ends before its last part does") from None


def head_of_answer(boundary: str, headers: Mapping[str, str]) -> bytes:
    """What stands before the file in an answer of ours."""
    lines = [
        f"--{boundary}",
        "Content-Type: application/json",
        "",
        "{}",
        f"--{boundary}",
        *(f"{name}: {value}" for name, value in headers.items()),
        "",
        "",
    ]
    return "\r\n".join(lines).encode()


def end_of_answer(boundary: str) -> bytes:
    """What stands behind it."""
    return f"\r\n--{boundary}--\r\n".encode()
