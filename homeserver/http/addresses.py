"""Whose address a request comes from. It is known for as long as the request is, never kept here.

https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/X-Forwarded-For
"""

from collections.abc import Iterable
from ipaddress import IPv6Address, IPv6Network, ip_address

from federation.net.addresses import IPAddress, IPNetwork


def client_address(
    peer: str | None, forwarded: Iterable[str], trusted: Iterable[IPNetwork]
) -> IPAddress | None:
    """The address of whoever is before our proxies, if it can be known.

    Args:
        peer: at the other end of the connection; `None` for a Unix socket, where only this
            machine's own proxy can be.
        forwarded: the values of `X-Forwarded-For`, in order. Each proxy adds on the right what it
            sees, so it is read from there, for as long as a trusted one says it.
        trusted: where proxies are believed.

    """
    networks = tuple(trusted)
    address = None if peer is None else _parse(peer)
    if peer is not None and address is None:
        return None
    said = [part.strip() for value in forwarded for part in value.split(",")]
    while said and (address is None or any(address in network for network in networks)):
        before = _parse(said.pop())
        if before is None:
            return address
        address = before
    return address


def limit_key(address: IPAddress | None) -> str:
    """What rate limits count by: whoever has one IPv6 address has all 2⁶⁴ beside it."""
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, 64), strict=False))
    return str(address)


def _parse(text: str) -> IPAddress | None:
    """An address as proxies write it: with a port, some of them."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
