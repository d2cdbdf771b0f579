"""Files of other servers.

https://spec.matrix.org/v1.19/server-server-api/#content-repository
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from federation.errors import FederationError, HttpError
from federation.identifiers import ServerName
from federation.net.target import encode_target
from federation.net.transport import Limits, Reply
from homeserver.errors import NotFound, TooLarge
from homeserver.media.headers import name_in
from homeserver.media.multipart import boundary_in, second_part

_SECONDS = 300.0
_OVERHEAD = 64 * 1024
"""Bytes of what is around a file."""


class Client(Protocol):
    """What we need of a client for other servers."""

    def stream(
        self,
        method: str,
        destination: ServerName,
        uri: str,
        *,
        signed: bool = True,
        limits: Limits | None = None,
    ) -> AbstractAsyncContextManager[Reply]:
        """Make a request, and hand its answer out as it comes in."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that comes in."""

    chunks: AsyncGenerator[bytes, None]
    content_type: str | None
    name: str | None


class Remote:
    """Asks other servers for files.

    Args:
        client: asks.
        fetch: GETs from anywhere, unsigned; for servers that keep their files elsewhere.
        largest: bytes of the largest file that is taken.

    """

    def __init__(
        self,
        client: Client,
        fetch: Callable[[str, Limits], AbstractAsyncContextManager[Reply]],
        largest: int,
    ) -> None:
        self._client = client
        self._fetch = fetch
        self._largest = largest

    @asynccontextmanager
    async def open(self, server: ServerName, media_id: str, wait: int) -> AsyncIterator[RemoteFile]:
        """A file; it is read within the block.

        Raises:
            NotFound: the server has no such file, or none that it gives us.
            TooLarge: it is larger than is taken.

        """
        limits = Limits(total=_SECONDS, body=self._largest + _OVERHEAD)
        query = [("timeout_ms", str(wait))]
        target = encode_target(
            "_matrix", "federation", "v1", "media", "download", media_id, query=query
        )
        try:
            async with (
                self._client.stream("GET", server, target, limits=limits) as reply,
                self._file_in(reply, limits) as file,
            ):
                yield file
        except HttpError as error:
            if error.status != 404 or error.errcode != "M_UNRECOGNIZED":
                raise NotFound("the other server has no such file") from error
            async with self._of_old(server, media_id, limits) as file:
                yield file
        except FederationError as error:
            raise NotFound("the file cannot be fetched from the other server") from error

    @asynccontextmanager
    async def _file_in(self, reply: Reply, limits: Limits) -> AsyncIterator[RemoteFile]:
        boundary = boundary_in(reply.headers.get("Content-Type", ""))
        part = await second_part(reply.chunks, boundary)
        # "the second part [...] may be a redirect: a Location header with a URL"
        if "location" in part.headers:
            async with self._fetch(part.headers["location"], limits) as elsewhere:
                if not 200 <= elsewhere.status < 300:
                    raise NotFound("the file is not where the other server says")
                yield self._described(elsewhere.headers, _all(elsewhere.chunks))
        else:
            yield self._described(part.headers, part.chunks)

    @asynccontextmanager
    async def _of_old(
        self, server: ServerName, media_id: str, limits: Limits
    ) -> AsyncIterator[RemoteFile]:
        """COMPAT(servers before v1.11) The download that needs no authentication."""
        path = ("_matrix", "media", "v3", "download", server, media_id)
        target = encode_target(*path, query=[("allow_remote", "false")])
        try:
            async with self._client.stream(
                "GET", server, target, signed=False, limits=limits
            ) as reply:
                yield self._described(reply.headers, _all(reply.chunks))
        except FederationError as error:
            raise NotFound("the file cannot be fetched from the other server") from error

    def _described(
        self, headers: Mapping[str, str], chunks: AsyncGenerator[bytes, None]
    ) -> RemoteFile:
        by_name = {name.lower(): value for name, value in headers.items()}
        name = name_in(by_name.get("content-disposition", ""))
        return RemoteFile(self._bounded(chunks), by_name.get("content-type"), name)

    async def _bounded(self, chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            if size > self._largest:
                raise TooLarge(f"files of other servers may have {self._largest} bytes")
            yield chunk


async def _all(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    async for chunk in chunks:
        yield chunk
