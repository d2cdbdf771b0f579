"""The body of an answer, piece by piece: inflated, and never more than was asked for.

Compression is undone here and not by the HTTP library, so that what is counted is what is held:
a kilobyte from the network can be a megabyte here, but no piece is larger than `_PIECE`.
"""

import zlib
from collections.abc import AsyncIterator

from federation.errors import ResponseFormatError, ResponseTooLargeError

ACCEPT_ENCODING = "gzip"
"""What `inflated` understands."""

_GZIP = zlib.MAX_WBITS | 16
_PIECE = 64 * 1024


async def bounded(pieces: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    """Pass the pieces on; `ResponseTooLargeError` once there are more than `limit` bytes."""
    size = 0
    async for piece in pieces:
        size += len(piece)
        if size > limit:
            raise ResponseTooLargeError(f"the answer is larger than {limit} bytes")
        yield piece


async def inflated(pieces: AsyncIterator[bytes], encoding: str) -> AsyncIterator[bytes]:
    """Undo the `Content-Encoding` of a body.

    Raises:
        ResponseFormatError: the encoding is none that we asked for, or the data is not of it.

    """
    encoding = encoding.strip().lower()
    if encoding in {"", "identity"}:
        async for piece in pieces:
            yield piece
    elif encoding in {"gzip", "x-gzip"}:
        async for piece in _gunzipped(pieces):
            yield piece
    else:
        raise ResponseFormatError(f"an unknown content encoding: {encoding[:40]}")


async def _gunzipped(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    stream = zlib.decompressobj(_GZIP)
    empty = True
    async for piece in pieces:
        empty = False
        waiting = piece
        while waiting and not stream.eof:
            yield _inflate(stream, waiting)
            waiting = stream.unconsumed_tail
    if not empty and not stream.eof:
        raise ResponseFormatError("the compressed answer is cut off")


def _inflate(stream: "zlib._Decompress", data: bytes) -> bytes:
    try:
        return stream.decompress(data, _PIECE)
    except zlib.error as error:
        raise ResponseFormatError(f"the answer is not compressed as it says: {error}") from error
