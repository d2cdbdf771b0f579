"""How connections come about: name to addresses, policy, socket, perhaps a proxy, mostly TLS.

This is the one place where sockets to other servers are opened, so it is the one place where
`AddressPolicy` is kept: addresses are looked up here, judged here, and connected to as they are.
aiohttp pools and drives what comes out; it asks for no name and opens no socket itself.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import aiohappyeyeballs
import aiohttp
import python_socks
from aiohappyeyeballs import AddrInfoType
from aiohttp.client_proto import ResponseHandler
from aiohttp.tracing import Trace
from python_socks.async_.asyncio import Proxy as Tunnel

from federation.errors import AddressRefusedError, ConnectError
from federation.net.addresses import AddressPolicy, IPAddress, find_ip_literal
from federation.net.dns import Resolver, is_dns_name
from federation.net.proxies import Proxy

_HAPPY_EYEBALLS_DELAY = 0.25  # seconds, as RFC 8305 recommends
# An answer that is given up may go on coming in until the connection is down.
_TLS_SHUTDOWN = 1.0  # seconds

Dial = Callable[[Sequence[IPAddress], int], Awaitable[socket.socket]]
"""Connects to a port at the first of some addresses that answers; `OSError` where none does."""


@dataclass(frozen=True, slots=True)
class Pool:
    """How many connections there may be, and how long they are kept; for each proxy anew."""

    connections: int = 1000
    per_server: int = 16
    keep_alive: float = 60.0
    """Seconds for which an idle connection stays open."""


async def happy_eyeballs(addresses: Sequence[IPAddress], port: int) -> socket.socket:
    """Try IPv6 and IPv4 in turns without waiting long for either (RFC 8305)."""
    return await aiohappyeyeballs.start_connection(
        [_socket_address(address, port) for address in addresses],
        happy_eyeballs_delay=_HAPPY_EYEBALLS_DELAY,
    )


class Connector(aiohttp.BaseConnector):
    """Makes connections that end where the policy permits, with the name that TLS has proven."""

    def __init__(
        self, resolver: Resolver, policy: AddressPolicy, proxy: Proxy | None, pool: Pool, dial: Dial
    ) -> None:
        super().__init__(
            limit=pool.connections,
            limit_per_host=pool.per_server,
            keepalive_timeout=pool.keep_alive,
        )
        self._resolver = resolver
        self._policy = policy
        self._proxy = proxy
        self._dial = dial

    def close(self, *, abort_ssl: bool = True) -> Awaitable[None]:
        """Close all connections, without waiting for anybody's farewell."""
        return super().close(abort_ssl=abort_ssl)

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],  # noqa: ARG002
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> ResponseHandler:
        """Answer aiohttp's wish for a connection that is not in its pool.

        Raises:
            ConnectError, AddressRefusedError, DiscoveryError: nothing was sent.

        """
        host = f"{req.url.raw_host}:{req.url.port}"
        try:
            async with asyncio.timeout(timeout.sock_connect):
                return await self._connected(req)
        except python_socks.ProxyError as error:
            raise ConnectError(f"the proxy did not connect to {host}: {error}") from error
        except TimeoutError as error:
            raise ConnectError(f"connecting to {host} took too long") from error
        except OSError as error:  # of sockets and of TLS
            raise ConnectError(f"could not connect to {host}: {error}") from error

    async def _connected(self, req: aiohttp.ClientRequest) -> ResponseHandler:
        host, port = req.url.raw_host, req.url.port
        context = req.ssl if isinstance(req.ssl, ssl.SSLContext) else None
        if host is None or port is None or (req.is_ssl() and context is None):
            raise TypeError("a request without host or TLS")
        name = req.server_hostname or host
        _check_names(host, name)
        if self._proxy is None:
            sock = await self._dial(await self._permitted(host), port)
        else:
            sock = await self._tunnel(self._proxy, host, port)
        # "a SNI should be sent for the certificate which is expected, unless that certificate is
        # expected to be an IP address": `ssl` keeps that rule by itself.
        _, protocol = await asyncio.get_running_loop().create_connection(
            self._factory,
            sock=sock,
            ssl=context,
            server_hostname=name.rstrip(".") if context else None,
            ssl_shutdown_timeout=_TLS_SHUTDOWN if context else None,
        )
        return protocol

    async def _permitted(self, host: str) -> list[IPAddress]:
        """The addresses of `host` that may be connected to, at least one."""
        literal = find_ip_literal(host)
        found = [literal] if literal else await self._resolver.addresses(host)
        if not found:
            raise ConnectError(f"{host} has no address")
        permitted = [address for address in found if self._policy.allows(address)]
        if not permitted:
            raise AddressRefusedError(f"requests may not reach the addresses of {host}")
        return permitted

    async def _tunnel(self, proxy: Proxy, host: str, port: int) -> socket.socket:
        """A socket to `host` that leads through the proxy; the policy does not judge the proxy."""
        if proxy.resolves_names and find_ip_literal(host) is None:
            return await _through(proxy, host, port)
        *others, last = await self._permitted(host)
        for address in others:
            try:
                return await _through(proxy, str(address), port)
            except (OSError, python_socks.ProxyError):
                continue
        return await _through(proxy, str(last), port)


def _check_names(*names: str) -> None:
    # Names come from strangers; `ssl` and `socket` answer odd ones with errors of many kinds.
    for name in names:
        if find_ip_literal(name) is None and not is_dns_name(name):
            raise ConnectError(f"not a name that the DNS could know: {name[:80]}")


async def _through(proxy: Proxy, host: str, port: int) -> socket.socket:
    tunnel = Tunnel(
        _PROXY_TYPES[proxy.scheme],
        proxy.host,
        proxy.port,
        proxy.username,
        proxy.password,
        rdns=True,  # what is left of names is the proxy's to look up
    )
    return await tunnel.connect(host, port)


def _socket_address(address: IPAddress, port: int) -> AddrInfoType:
    if address.version == 6:
        family, where = socket.AF_INET6, (str(address), port, 0, 0)
        return (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", where)
    return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (str(address), port))


_PROXY_TYPES = {
    "http": python_socks.ProxyType.HTTP,
    "socks5": python_socks.ProxyType.SOCKS5,
    "socks5h": python_socks.ProxyType.SOCKS5,
}
