"""From a server's name to the endpoints where it answers, and the names it goes by there.

No address is looked up here: an endpoint's name is resolved when it is connected to, so that the
address that was judged is the address that is used.

https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names
"""

from dataclasses import dataclass
from random import Random, SystemRandom

from federation.errors import DiscoveryError, IdentifierError
from federation.identifiers import HostAndPort, ServerName, split_server_name
from federation.net.dns import Resolver, SrvRecord, in_srv_order
from federation.net.transport import Endpoint
from federation.net.well_known import WellKnown

DEFAULT_PORT = 8448

_SERVICES = (
    "_matrix-fed._tcp",  # steps 3.3 and 4
    "_matrix._tcp",  # steps 3.4 and 5, deprecated
)
_MAX_ENDPOINTS = 8
_MIN_AGE = 300.0  # seconds


@dataclass(frozen=True, slots=True)
class Destination:
    """Where and how a server is reached."""

    server_name: ServerName
    """The name it was asked for; requests are signed for this one."""

    delegated: ServerName | None
    """The name that its `.well-known` gives, if it has one."""

    endpoints: tuple[Endpoint, ...]
    """At least one; to be tried in this order."""

    tls_name: str
    """The DNS name, or IP address without brackets, that the certificate must be valid for."""

    @property
    def host_header(self) -> str:
        """The `Host` header: the name before SRV records, as it was written."""
        return self.delegated or self.server_name


class Discovery:
    """Finds destinations.

    Args:
        resolver: for SRV records.
        well_known: for delegation.
        random: draws among SRV targets of equal priority.

    """

    def __init__(
        self, resolver: Resolver, well_known: WellKnown, random: Random | None = None
    ) -> None:
        self._resolver = resolver
        self._well_known = well_known
        self._random = random or SystemRandom()

    async def find(self, server: ServerName) -> Destination:
        """Where `server` is reached.

        Raises:
            DiscoveryError: the name is malformed, or its domain says that it has no such service.

        """
        parts = _split(server)
        if _is_final(parts):  # steps 1 and 2
            return await self._destination(server, None)
        return await self._destination(server, await self._well_known.find(parts.host))

    async def find_again(self, failed: Destination) -> Destination | None:
        """Where else a server is reached that delegates, and did not answer where it should.

        Its `.well-known` is read anew, if that is some minutes old. `None` if there is no other
        place to try; errors as `find`.
        """
        if failed.delegated is None:
            return None
        host = _split(failed.server_name).host
        delegated = await self._well_known.find_again(host, _MIN_AGE)
        if delegated == failed.delegated:
            return None
        return await self._destination(failed.server_name, delegated)

    async def _destination(self, server: ServerName, delegated: ServerName | None) -> Destination:
        """Steps 1, 2 and 4 to 6, which are 3.1 to 3.5 once more for the name delegated to."""
        parts = _split(delegated or server)
        found = () if _is_final(parts) else await self._by_srv(parts.host)
        endpoints = found or (Endpoint(parts.host, parts.port or DEFAULT_PORT),)
        return Destination(server, delegated, endpoints, parts.host)

    async def _by_srv(self, host: str) -> tuple[Endpoint, ...]:
        # "Name resolution APIs and libraries: [...] SHOULD either respond to requests for .onion
        # names by resolving them according to [tor-rendezvous] or by responding with NXDOMAIN"
        # (RFC 7686).
        if host.lower().rstrip(".").endswith(".onion"):
            return ()
        for service in _SERVICES:
            records = await self._records(f"{service}.{host}")
            if records:
                return self._endpoints(host, records)
        return ()

    async def _records(self, name: str) -> list[SrvRecord]:
        try:
            return list(await self._resolver.srv(name))
        except DiscoveryError:
            # Some name servers never answer for SRV records. To go on without is harmless: where
            # nobody listens the request fails and is repeated, and whoever listens must hold a
            # certificate for the same name.
            return []

    def _endpoints(self, host: str, records: list[SrvRecord]) -> tuple[Endpoint, ...]:
        # "A Target of "." means that the service is decidedly not available at this domain."
        usable = [record for record in records if record.target and record.port]
        if not usable:
            raise DiscoveryError(f"{host} says that it offers no such service")
        ordered = in_srv_order(usable, self._random)[:_MAX_ENDPOINTS]
        return tuple(Endpoint(record.target, record.port) for record in ordered)


def _is_final(parts: HostAndPort) -> bool:
    return parts.is_ip_literal or parts.port is not None


def _split(name: ServerName) -> HostAndPort:
    try:
        return split_server_name(name)
    except IdentifierError as error:
        raise DiscoveryError(str(error)) from error
