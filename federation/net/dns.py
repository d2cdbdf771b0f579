"""Addresses and SRV records: what discovery and connecting ask of the DNS.

`Resolver` is the question, `AioDnsResolver` the answer by c-ares, which reads the system's
settings and keeps answers as long as their TTL lets it. The order of SRV targets is decided here
too (RFC 2782); which names are asked for, and which addresses are fit to use, is decided elsewhere.
"""

import asyncio
import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from random import Random
from typing import Protocol, TypeVar

import aiodns
import pycares

from federation.errors import DiscoveryError
from federation.net.addresses import IPAddress

_T = TypeVar("_T")

_ABSENT = frozenset({aiodns.error.ARES_ENOTFOUND, aiodns.error.ARES_ENODATA})
"""The name, or a record of that type, does not exist; everything else may be otherwise soon."""

# Server names are absolute: the system's search domains must not turn one into another.
_FLAGS = pycares.ARES_FLAG_NOSEARCH | pycares.ARES_FLAG_EDNS


_LABEL = re.compile(r"[0-9a-z_](?:[0-9a-z_-]{0,61}[0-9a-z_])?", re.ASCII | re.IGNORECASE)
_MAX_NAME = 253


@dataclass(frozen=True, slots=True)
class SrvRecord:
    """One SRV record; `target` has no dot at its end, and is empty for the root."""

    priority: int
    weight: int
    port: int
    target: str


class Resolver(Protocol):
    """Looks names up. A name or record that does not exist is an empty answer, not an error."""

    async def addresses(self, host: str) -> Sequence[IPAddress]:
        """The A and AAAA records of `host`, over its CNAMEs; `DiscoveryError` if none can tell."""
        ...

    async def srv(self, name: str) -> Sequence[SrvRecord]:
        """The SRV records of `name`; `DiscoveryError` if none can tell."""
        ...


class AioDnsResolver:
    """The system's name servers, or others, asked by c-ares.

    Args:
        nameservers: `address` or `address:port` of each; those of the system if empty.
        timeout: seconds until a query is sent again.
        tries: how often each name server is asked.

    """

    def __init__(
        self, nameservers: Sequence[str] = (), *, timeout: float = 3.0, tries: int = 2
    ) -> None:
        self._ares = aiodns.DNSResolver(
            list(nameservers) or None, timeout=timeout, tries=tries, flags=_FLAGS
        )

    async def addresses(self, host: str) -> Sequence[IPAddress]:
        """See `Resolver`; `/etc/hosts` is read first."""
        found = await _answer(
            self._ares.getaddrinfo(host, family=socket.AF_UNSPEC, type=socket.SOCK_STREAM), host
        )
        nodes = found.nodes if found else ()
        # c-ares hands addresses out as bytes.
        return tuple(dict.fromkeys(ip_address(node.addr[0].decode()) for node in nodes))

    async def srv(self, name: str) -> Sequence[SrvRecord]:
        """See `Resolver`."""
        found = await _answer(self._ares.query_dns(name, "SRV"), name)
        answers = (record.data for record in found.answer) if found else ()
        return tuple(
            SrvRecord(data.priority, data.weight, data.port, data.target.rstrip("."))
            for data in answers
            if isinstance(data, pycares.SRVRecordData)
        )

    async def close(self) -> None:
        """Give up the queries under way; the resolver cannot be used afterwards."""
        await self._ares.close()


async def _answer(query: asyncio.Future[_T], name: str) -> _T | None:
    try:
        return await query
    except aiodns.error.DNSError as error:
        if error.args[0] in _ABSENT:
            return None
        raise DiscoveryError(f"the DNS did not answer for {name}: {error.args[1]}") from error


def is_dns_name(text: str) -> bool:
    """Whether `text` has the shape of a host's name: labels of 1 to 63 characters, 253 in all."""
    name = text.removesuffix(".")
    return len(name) <= _MAX_NAME and all(map(_LABEL.fullmatch, name.split(".")))


def in_srv_order(records: Iterable[SrvRecord], random: Random) -> list[SrvRecord]:
    """The order in which the targets are to be tried: by priority, then drawn by weight.

    https://www.rfc-editor.org/rfc/rfc2782#page-3
    """
    ordered: list[SrvRecord] = []
    # "placing all those with weight 0 at the beginning of the list": they are drawn seldom, but
    # not never.
    left = sorted(records, key=lambda record: (record.priority, record.weight))
    while left:
        rivals = [record for record in left if record.priority == left[0].priority]
        chosen = _draw(rivals, random)
        ordered.append(chosen)
        left.remove(chosen)
    return ordered


def _draw(records: Sequence[SrvRecord], random: Random) -> SrvRecord:
    # "choose a uniform random number between 0 and the sum computed (inclusive), and select the
    # RR whose running sum value is the first in the selected order which is greater than or equal
    # to the random number selected"
    threshold = random.randint(0, sum(record.weight for record in records))
    running = 0
    for record in records:
        running += record.weight
        if running >= threshold:
            return record
    raise AssertionError("the running sum ends at the sum")
