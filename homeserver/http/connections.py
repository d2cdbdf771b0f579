"""Connections, and patience with those at their other ends.

aiohttp parses and writes; what it lacks is here: its own errors in our form, an end for whoever
sends a head byte by byte or never reads its answer, and word of callers that went away.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from homeserver.errors import HeaderTooLarge, MatrixError
from homeserver.http.replies import refusal, response
from homeserver.portions import Portions

AT_ONCE = 30
"""Requests that are begun in one turn of the event loop."""

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How much we bear of one connection; times in seconds."""

    idle: float = 90.0
    """Without a request; longer than proxies keep theirs, so that it is they who close."""
    head: float = 20.0
    """From the first byte of a request to the end of its headers."""
    unread: float = 60.0
    """Without any progress in taking an answer."""
    linger: float = 5.0
    """Reading on after the answer to a request whose body nobody wanted."""
    longest_line: int = 32 * 1024
    """Bytes of a request line (`/sync` may carry a filter) or one header."""
    most_headers: int = 100


class Connection(web.RequestHandler):
    """One connection, over its lifetime."""

    __slots__ = ("_has_read", "_progressed", "_unread", "answered_by", "busy", "head_began", "wire")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.wire: asyncio.Transport | None = None
        self.busy = False
        """Whether a request is being answered."""
        self.answered_by: asyncio.Task[Any] | None = None
        """To be cancelled when nobody waits for its answer any more."""
        self.head_began: float | None = None
        """When the first byte came of a request whose headers are not all here."""
        self._has_read = False
        self._progressed = 0.0
        self._unread = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        if isinstance(transport, asyncio.Transport):
            self.wire = transport
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """See `asyncio.Protocol`."""
        task = self.answered_by
        super().connection_lost(exc)
        if task is not None:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self.head_began is None and not self.busy:
            self.head_began = self._loop.time()
        super().data_received(data)

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._has_read = True
        super().resume_writing()

    def is_past(self, patience: Patience, now: float) -> bool:
        """Whether we have waited long enough for the other end; to be asked every few seconds."""
        if self.wire is None:
            return False
        before, self._unread = self._unread, self.wire.get_write_buffer_size()
        if self._has_read or not before or self._unread < before:
            self._progressed, self._has_read = now, False
        if self._unread and now - self._progressed > patience.unread:
            return True
        return self.head_began is not None and now - self.head_began > patience.head

    def rest(self) -> None:
        """Do without the timer for who does not ask, while an answer is made.

        aiohttp begins a new one after the answer; that is not worth it for most, which are quick.
        """
        if self.busy and self._keepalive_handle is not None:
            self._keepalive_handle.cancel()
            self._keepalive_handle = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's signature
    ) -> web.StreamResponse:
        """Answer what is not HTTP, without a word in the log: it is not our fault."""
        if request.writer.output_size:
            raise ConnectionError("an answer is under way")
        error = HeaderTooLarge() if isinstance(exc, LineTooLong) else MatrixError("not HTTP")
        reply = refusal(error)
        answer = response(reply)
        if status >= 500:
            answer.set_status(status)
        answer.force_close()
        return answer


class Connections(web.Server):
    """All connections that came in at one door.

    Args:
        handle: answers a request; it never raises but when cancelled.
        patience: with each of them.

    """

    def __init__(self, handle: Handle, patience: Patience) -> None:
        super().__init__(self._answer)
        self._handle = handle
        self._patience = patience
        self._open: set[Connection] = set()
        self._portions = Portions(AT_ONCE)
        self._busy = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    def __call__(self) -> web.RequestHandler:
        """Make the protocol of a new connection."""
        patience = self._patience
        return Connection(
            self,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=patience.idle,
            lingering_time=patience.linger,
            max_line_size=patience.longest_line,
            max_field_size=patience.longest_line,
            max_headers=patience.most_headers,
            # A small body can unfold into a large one.
            auto_decompress=False,
            # It writes who asked for what.
            access_log=None,
        )

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """See `web.Server`."""
        super().connection_made(handler, transport)
        if isinstance(handler, Connection):
            self._open.add(handler)

    def connection_lost(
        self, handler: web.RequestHandler, exc: BaseException | None = None
    ) -> None:
        """See `web.Server`."""
        super().connection_lost(handler, exc)
        if isinstance(handler, Connection):
            self._open.discard(handler)

    def sweep(self, now: float) -> None:
        """Let go of those with which patience is at its end."""
        for connection in list(self._open):
            connection.rest()
            if connection.is_past(self._patience, now) and connection.wire is not None:
                connection.wire.abort()

    async def end(self, within: float) -> None:
        """Let what is under way come to its end, cut off what does not."""
        self.pre_shutdown()
        try:
            async with asyncio.timeout(within * 0.8):
                await self._quiet.wait()
        except TimeoutError:
            pass
        # It waits twice: before it cancels, and after.
        await self.shutdown(within * 0.1)
        for connection in list(self._open):
            if connection.wire is not None:
                connection.wire.abort()

    async def _answer(self, incoming: web.BaseRequest) -> web.StreamResponse:
        connection = incoming.protocol
        assert isinstance(connection, Connection)  # noqa: S101 - we made it
        connection.busy = True
        connection.head_began = None
        self._busy += 1
        self._quiet.clear()
        try:
            await self._portions.turn()
            return await self._handle(incoming)
        finally:
            connection.busy = False
            connection.answered_by = None
            self._busy -= 1
            if not self._busy:
                self._quiet.set()
