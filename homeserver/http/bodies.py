"""Bodies as they come in: bounded in size, and in how long they may take.

Whoever sends slowly must still send: a connection that brings less than `Pace` asks for is let
go, however small the pieces it trickles in.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import web

from homeserver.errors import LimitExceeded, MatrixError, TooLarge, TooSlow

_TRY_AGAIN = 5000
"""Milliseconds after which somebody may come again for whom there was no room."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How slowly a body may come in."""

    patience: float = 30.0
    """Seconds that we wait in all, beyond what the rate below makes."""
    bytes_per_second: int = 4096

    def allowed(self, received: int) -> float:
        """For how many seconds we wait until more than `received` bytes are here."""
        return self.patience + received / self.bytes_per_second


class Afoot:
    """Bytes of bodies that are on their way and kept until the rest is here.

    Anybody can make us keep a body, long before it shows who they are; so what all of them may
    fill is bounded, and for each address, lest one of them takes it all.
    """

    def __init__(self, most: int = 256 * 1024 * 1024, most_each: int = 64 * 1024 * 1024) -> None:
        self._most = most
        self._most_each = most_each
        self._all = 0
        self._each: dict[str, int] = {}

    def take(self, address: str, size: int) -> None:
        """Keep so much more, or raise `LimitExceeded`."""
        each = self._each.get(address, 0) + size
        if self._all + size > self._most or each > self._most_each:
            raise LimitExceeded(_TRY_AGAIN)
        self._all += size
        self._each[address] = each

    def give_back(self, address: str, size: int) -> None:
        """So much is kept no more."""
        self._all -= size
        self._each[address] = self._each.get(address, 0) - size
        if self._each[address] <= 0:
            del self._each[address]


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


async def read_whole(
    incoming: web.BaseRequest, limit: int, pace: Pace, afoot: Afoot, address: str
) -> bytes:
    """Read a body of at most `limit` bytes.

    Args:
        incoming: the request.
        limit: of the body.
        pace: how slowly it may come.
        afoot: where it is counted until it is here.
        address: where it comes from.

    Raises:
        TooLarge: it is larger, or says so.
        TooSlow: it does not keep the pace.
        LimitExceeded: too much is on its way already.
        ConnectionError: the caller is gone.

    """
    # Most are here with the headers.
    if incoming.content.is_eof() and incoming.content.exception() is None:
        raw = incoming.content.read_nowait()
        if len(raw) > limit:
            raise _too_large(limit)
        return raw
    chunks: list[bytes] = []
    try:
        async for chunk in BodyStream(incoming, limit, pace):
            afoot.take(address, len(chunk))
            chunks.append(chunk)
        return b"".join(chunks)
    finally:
        afoot.give_back(address, sum(map(len, chunks)))


async def _begin(incoming: web.BaseRequest, limit: int) -> None:
    if (incoming.content_length or 0) > limit:
        raise _too_large(limit)
    if incoming.headers.get("Expect", "").lower() == "100-continue":
        await incoming.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # What was written so far is no part of the answer.
        incoming.writer.output_size = 0


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"a body may have {limit} bytes here")
