"""Other servers: how they are reached, and whether we deal with them at all.

https://spec.matrix.org/v1.19/server-server-api/
"""

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from fnmatch import fnmatchcase

from federation import x_matrix
from federation.canonical_json import JsonObject
from federation.errors import AddressRefusedError, IdentifierError
from federation.identifiers import ServerName, split_server_name
from federation.net.addresses import AddressPolicy
from federation.net.client import FederationClient
from federation.net.discovery import Discovery
from federation.net.dns import AioDnsResolver
from federation.net.fetch import HTTPS_ONLY, Way, ask, fetch, post
from federation.net.key_fetcher import FederationKeyFetcher
from federation.net.key_ring import KeyRing
from federation.net.proxies import ProxyRule
from federation.net.tls import TlsSettings
from federation.net.transport import Limits, Reply, Transport
from federation.net.well_known import WellKnown
from federation.server_keys import OldKey, own_keys
from federation.signing import SigningKey
from homeserver.config.settings import Federation, Outgoing, Settings
from homeserver.storage.process import Process
from homeserver.storage.server_keys import PostgresKeyStore

_LATELY = 600.0
"""Seconds for which a server that has answered is thought to be there."""
_KEYS_AT_ONCE = 100
"""Servers that are asked for their keys at the same time; those that a single address may name
(`rate_limits.federation_failures`) and that let us wait are a third of it."""
_MOST_REMEMBERED = 10_000


class PeerClient(FederationClient):
    """Asks other servers, but only those that the settings let us deal with."""

    def __init__(
        self,
        policy: Federation,
        server: ServerName,
        key: SigningKey,
        discovery: Discovery,
        transport: Transport,
    ) -> None:
        limits = Limits(total=policy.request_timeout.seconds)
        super().__init__(
            server_name=server, key=key, discovery=discovery, transport=transport, limits=limits
        )
        self.policy = policy
        self._answered: OrderedDict[ServerName, float] = OrderedDict()

    def has_answered(self, server: ServerName) -> bool:
        """Whether the server answered anything lately, as far as this process knows."""
        return time.monotonic() < self._answered.get(server, -_LATELY) + _LATELY

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        destination: ServerName,
        uri: str,
        content: JsonObject | None = None,
        *,
        signed: bool = True,
        limits: Limits | None = None,
    ) -> AsyncIterator[Reply]:
        """See `FederationClient`; `AddressRefusedError` for a server that we do not deal with."""
        if not is_allowed(self.policy, destination):
            raise AddressRefusedError("the settings say not to deal with this server")
        streamed = super().stream(method, destination, uri, content, signed=signed, limits=limits)
        async with streamed as reply:
            self._answered[destination] = time.monotonic()
            self._answered.move_to_end(destination)
            if len(self._answered) > _MOST_REMEMBERED:
                self._answered.popitem(last=False)
            yield reply


class Peers:
    """What is needed to deal with other servers; close it when done.

    Args:
        settings: of this server.
        process: the one that this is part of.
        key: signs for this server.
        old_keys: signed for it before.

    """

    def __init__(
        self, settings: Settings, process: Process, key: SigningKey, old_keys: Sequence[OldKey] = ()
    ) -> None:
        self._settings = settings
        self._server, self._key = process.server, key
        self._resolver = AioDnsResolver()
        self._transport = _transport(settings.outgoing, self._resolver)
        self._well_known = WellKnown(self._transport, time.time)
        discovery = Discovery(self._resolver, self._well_known)
        self.client = PeerClient(
            settings.federation, process.server, key, discovery, self._transport
        )
        self.store = PostgresKeyStore(process.database)
        self.keys = KeyRing(
            process.server,
            fixed={process.server: own_keys([key], old_keys)},
            store=self.store,
            fetcher=FederationKeyFetcher(self.client),
            now=process.now,
            notaries=settings.federation.trusted_key_servers,
            max_requests=_KEYS_AT_ONCE,
        )

    def is_allowed(self, server: ServerName) -> bool:
        """Whether the settings let us deal with a server."""
        return is_allowed(self._settings.federation, server)

    def fetch(
        self, url: str, limits: Limits, way: Way = HTTPS_ONLY
    ) -> AbstractAsyncContextManager[Reply]:
        """GET something from anywhere that may be reached."""
        return fetch(self._transport, url, limits, way)

    def post(self, url: str, content: bytes, limits: Limits) -> AbstractAsyncContextManager[Reply]:
        """POST JSON to anybody who may be reached."""
        return post(self._transport, url, content, limits)

    def ask(
        self,
        method: str,
        url: str,
        limits: Limits,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AbstractAsyncContextManager[Reply]:
        """Make any request to anybody who may be reached; redirects are not followed."""
        return ask(self._transport, method, url, limits, content=content, headers=headers)

    def signature_for(
        self, destination: ServerName, method: str, uri: str, content: JsonObject
    ) -> str:
        """The `Authorization` that shows a server, of whatever kind, that we ask."""
        return x_matrix.sign_request(
            key=self._key,
            origin=self._server,
            destination=destination,
            method=method,
            uri=uri,
            content=content,
        )

    async def close(self) -> None:
        """Let go of all connections, and of the questions under way."""
        await self.keys.close()
        await self._well_known.close()
        await self._transport.close()
        await self._resolver.close()


def is_allowed(settings: Federation, server: ServerName) -> bool:
    """Whether the settings let us deal with a server; not with what is the name of none."""
    try:
        # A dot at the end of a name makes it no other one for the DNS.
        host = split_server_name(server).host.lower().rstrip(".")
    except IdentifierError:
        return False
    names = (host, server.lower())
    if not settings.enabled or _matches(settings.denied_servers, names):
        return False
    return settings.allowed_servers is None or _matches(settings.allowed_servers, names)


def _matches(patterns: tuple[str, ...], names: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern.lower()) for pattern in patterns for name in names)


def _transport(settings: Outgoing, resolver: AioDnsResolver) -> Transport:
    return Transport(
        resolver,
        AddressPolicy(settings.allowed_ranges, settings.denied_ranges),
        tls=TlsSettings(settings.ca_file, settings.system_trust, settings.unverified_names),
        proxies=[ProxyRule(rule.names, rule.proxy) for rule in settings.proxies],
    )
