"""Bodies as they come in: bounded in size, and in how long they may take.

Whoever sends slowly must still send: a connection that brings less than `Pace` asks for is let
go, however small the pieces it trickles in.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import web

from homeserver.errors import MatrixError, TooLarge, TooSlow


@dataclass(frozen=True, slots=True)
class Pace:
    """How slowly a body may come in."""

    patience: float = 30.0
    """Seconds that we wait in all, beyond what the rate below makes."""
    bytes_per_second: int = 4096

    def allowed(self, received: int) -> float:
        """For how many seconds we wait until more than `received` bytes are here."""
        return self.patience + received / self.bytes_per_second


class BodyStream:
    """A body that is read piece by piece, as uploads are.

    Iterating raises `TooLarge` after `limit` bytes and `TooSlow` where it does not keep the pace.
    """

    def __init__(self, incoming: web.BaseRequest, limit: int, pace: Pace) -> None:
        self._incoming = incoming
        self._limit = limit
        self._pace = pace

    @property
    def content_type(self) -> str | None:
        """The `Content-Type` as it was sent."""
        return self._incoming.headers.get("Content-Type")

    @property
    def content_length(self) -> int | None:
        """How many bytes were announced."""
        return self._incoming.content_length

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await _begin(self._incoming, self._limit)
        loop = asyncio.get_running_loop()
        received, waited = 0, 0.0
        while True:
            began = loop.time()
            chunk = await self._next(self._pace.allowed(received) - waited)
            waited += loop.time() - began
            if not chunk:
                return
            received += len(chunk)
            if received > self._limit:
                raise _too_large(self._limit)
            yield chunk

    async def _next(self, timeout: float) -> bytes:  # noqa: ASYNC109 - what remains of a budget
        try:
            async with asyncio.timeout(timeout):
                return await self._incoming.content.readany()
        except TimeoutError:
            raise TooSlow from None
        except web.RequestPayloadError as error:
            raise MatrixError("the body is not what its headers say") from error


async def read_whole(incoming: web.BaseRequest, limit: int, pace: Pace) -> bytes:
    """Read a body of at most `limit` bytes.

    Raises:
        TooLarge: it is larger, or says so.
        TooSlow: it does not keep the pace.
        ConnectionError: the caller is gone.

    """
    # Most are here with the headers.
    if incoming.content.is_eof() and incoming.content.exception() is None:
        raw = incoming.content.read_nowait()
        if len(raw) > limit:
            raise _too_large(limit)
        return raw
    return b"".join([chunk async for chunk in BodyStream(incoming, limit, pace)])


async def _begin(incoming: web.BaseRequest, limit: int) -> None:
    if (incoming.content_length or 0) > limit:
        raise _too_large(limit)
    if incoming.headers.get("Expect", "").lower() == "100-continue":
        await incoming.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # What was written so far is no part of the answer.
        incoming.writer.output_size = 0


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"a body may have {limit} bytes here")
