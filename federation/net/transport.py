"""One request to one endpoint, and its answer: TLS, pooling, limits.

Everything that aiohttp can raise ends here. What is asked, of whom, and what is tried next is for
the callers: `client` for federation requests, `fetch` for plain ones.

https://spec.matrix.org/v1.19/server-server-api/#tls
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import aiohttp
from yarl import URL

from federation.errors import TransportError
from federation.net.addresses import AddressPolicy
from federation.net.body import ACCEPT_ENCODING, bounded, inflated
from federation.net.connector import Connector, Dial, Pool, happy_eyeballs
from federation.net.dns import Resolver
from federation.net.proxies import Proxy, ProxyRule, choose_proxy
from federation.net.tls import TlsContexts, TlsSettings

_DEFAULT_TLS = TlsSettings()
_DEFAULT_POOL = Pool()


class Endpoint(NamedTuple):
    """Where a connection goes."""

    host: str
    """A DNS name, or an IP literal without brackets."""
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request may cost. Times are in seconds."""

    total: float = 60.0
    """From the first look-up to the last byte."""
    connect: float = 10.0
    """For one endpoint: addresses, TCP, proxy and TLS."""
    idle: float = 30.0
    """Between two pieces of the answer."""
    body: int = 32 * 1024 * 1024
    """Bytes of the answer's body, before and after it is inflated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A request as it goes over the wire."""

    method: str
    endpoint: Endpoint
    target: str
    """Path and query, encoded; sent as they are."""
    host_header: str
    tls_name: str | None
    """The name, or IP address, for which the certificate must be valid; `None` where it goes over
    plain HTTP, so that whoever is on the way can read and write it."""
    names: tuple[str, ...] = ()
    """Further names of the server, for the choice of a proxy."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer whose body is still on its way."""

    status: int
    headers: Mapping[str, str]
    """By case-insensitive name."""
    chunks: AsyncIterator[bytes]
    """The body, inflated; can be read once. Raises `TransportError`, `ResponseTooLargeError`,
    `ResponseFormatError`."""
    url: str = ""
    """Where it came from, if redirects were followed."""

    async def read(self) -> bytes:
        """The whole body; errors as `chunks`."""
        return b"".join([chunk async for chunk in self.chunks])


class Transport:
    """Connections to other servers, kept for reuse; close it when done.

    Args:
        resolver: looks up the addresses of endpoints.
        policy: the addresses that may be reached.
        tls: whose certificates are accepted.
        proxies: the first rule that matches an endpoint or its server decides.
        pool: how many connections are kept.
        user_agent: what we call ourselves.
        dial: how a socket is connected.

    """

    def __init__(
        self,
        resolver: Resolver,
        policy: AddressPolicy,
        *,
        tls: TlsSettings = _DEFAULT_TLS,
        proxies: Sequence[ProxyRule] = (),
        pool: Pool = _DEFAULT_POOL,
        user_agent: str = "Hearth",
        dial: Dial = happy_eyeballs,
    ) -> None:
        self._resolver = resolver
        self._policy = policy
        self._tls = TlsContexts(tls)
        self._proxies = tuple(proxies)
        self._pool = pool
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": ACCEPT_ENCODING}
        self._dial = dial
        self._sessions: dict[Proxy | None, aiohttp.ClientSession] = {}

    @asynccontextmanager
    async def send(self, request: Outgoing, limits: Limits) -> AsyncIterator[Reply]:
        """Send the request once, and hand out the answer, whatever its status.

        Redirects are not followed. `limits.total` is not kept here: see `deadline`. GET and PUT
        are sent a second time if the connection breaks before the answer begins, since a pooled
        one may have been closed by the other side just then.

        Raises:
            ConnectError, AddressRefusedError, DiscoveryError: nothing was sent.
            TransportError: the request may have arrived.

        """
        with _translated():
            response = await self._start(request, limits)
        try:
            encoding = response.headers.get("Content-Encoding", "")
            raw = bounded(_chunks(response), limits.body)
            chunks = bounded(inflated(raw, encoding), limits.body)
            yield Reply(response.status, response.headers, chunks)
        finally:
            response.release()

    async def close(self) -> None:
        """Close all connections, also those in use."""
        sessions = list(self._sessions.values())
        self._sessions.clear()
        for session in sessions:
            await session.close()

    async def _start(self, request: Outgoing, limits: Limits) -> aiohttp.ClientResponse:
        proxy = choose_proxy(self._proxies, request.endpoint.host, *request.names)
        name = request.tls_name
        return await self._session(proxy).request(
            request.method,
            _url(request),
            data=request.body,
            headers={**self._headers, **request.headers, "Host": request.host_header},
            allow_redirects=False,
            ssl=True if name is None else self._tls.context_for(name),
            server_hostname=name,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=limits.connect, sock_read=limits.idle
            ),
        )

    def _session(self, proxy: Proxy | None) -> aiohttp.ClientSession:
        session = self._sessions.get(proxy)
        if session is None:
            connector = Connector(self._resolver, self._policy, proxy, self._pool, self._dial)
            session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
            )
            self._sessions[proxy] = session
        return session


@asynccontextmanager
async def deadline(seconds: float) -> AsyncIterator[None]:
    """Raise `TransportError` in the block if it takes longer than `seconds`."""
    timer = asyncio.timeout(seconds)
    try:
        async with timer:
            yield
    except TimeoutError as error:
        if not timer.expired():
            raise
        raise TransportError(f"no complete answer within {seconds:g} seconds") from error


async def _chunks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    with _translated():
        async for chunk in response.content.iter_any():
            yield chunk


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientError, OSError) as error:
        reason = str(error) or type(error).__name__
        raise TransportError(f"the exchange broke off: {reason}") from error


def _url(request: Outgoing) -> URL:
    """`encoded`: what is signed must be what is sent, to the letter."""
    host, port = request.endpoint
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    scheme = "http" if request.tls_name is None else "https"
    return URL(f"{scheme}://{authority}{request.target}", encoded=True)
