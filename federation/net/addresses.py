"""Which IP addresses outgoing requests may reach.

Other servers choose, by their names, records and redirects, where we connect; without a limit they
could make us talk to machines of our own network. The policy judges the address that a socket is
about to be opened to, never a name, so an answer that changes between two look-ups gains nothing.

The lists follow the registries that RFC 6890 set up:
https://www.iana.org/assignments/iana-ipv4-special-registry and .../iana-ipv6-special-registry.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from federation.errors import AddressRefusedError

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

# Written out, because what Python's `is_global` answers differs between its patch releases.
_INTERNAL_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # "this network"; connecting to 0.0.0.0 reaches the machine itself
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, and the metadata services of cloud providers
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # IETF protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # the 6to4 relay, deprecated
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_GLOBAL_UNICAST_V6 = IPv6Network("2000::/3")
_INTERNAL_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # IETF protocol assignments
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")
_TEREDO = IPv6Network("2001::/32")


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """The addresses that may be connected to.

    Whatever is not public is refused: private, loopback, link-local, shared, documentation,
    multicast and reserved ranges, also where an IPv6 address carries such an IPv4 address inside.
    """

    allowed: tuple[IPNetwork, ...] = ()
    """Networks that may be reached although they are not public."""

    denied: tuple[IPNetwork, ...] = ()
    """Networks that may not be reached in any case; they win over `allowed`."""

    @classmethod
    def parse(cls, allowed: Iterable[str] = (), denied: Iterable[str] = ()) -> "AddressPolicy":
        """Make the policy from networks such as `10.0.0.0/8`; `ValueError` where one is not."""
        return cls(tuple(map(ip_network, allowed)), tuple(map(ip_network, denied)))

    def allows(self, address: IPAddress) -> bool:
        """Whether a socket may be opened to `address`."""
        address = _without_mapping(address)
        return all(self._allows_form(form) for form in (address, *_embedded(address)))

    def check(self, address: IPAddress) -> None:
        """Raise `AddressRefusedError` unless `address` is allowed."""
        if not self.allows(address):
            raise AddressRefusedError(f"requests may not reach {address}")

    def _allows_form(self, address: IPAddress) -> bool:
        if any(address in network for network in self.denied):
            return False
        return any(address in network for network in self.allowed) or _is_public(address)


def find_ip_literal(host: str) -> IPAddress | None:
    """The address that `host` spells out (IPv6 without brackets), if it is no name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_public(address: IPAddress) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _INTERNAL_V4)
    if address in _NAT64 or address in _TEREDO:
        return True  # the IPv4 address inside decides
    return address in _GLOBAL_UNICAST_V6 and not any(address in n for n in _INTERNAL_V6)


def _without_mapping(address: IPAddress) -> IPAddress:
    """`::ffff:a.b.c.d` is only a spelling: the packets go out over IPv4."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def _embedded(address: IPAddress) -> Iterator[IPv4Address]:
    """The IPv4 addresses to which a gateway would forward what is sent to `address`."""
    if isinstance(address, IPv4Address):
        return
    if address.sixtofour:
        yield address.sixtofour
    if address.teredo:
        yield from address.teredo
    if address in _NAT64:
        yield IPv4Address(int(address) & 0xFFFFFFFF)
