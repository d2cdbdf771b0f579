import asyncio
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import DiscoveryError
from federation.net.dns import AioDnsResolver, SrvRecord, in_srv_order, is_dns_name

A, CNAME, AAAA, SRV = 1, 5, 28, 33
SERVFAIL, NXDOMAIN, REFUSED = 2, 3, 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("example.org", True),
        ("EXAMPLE.org.", True),
        ("localhost", True),
        ("_matrix-fed._tcp.example.org", True),
        ("xn--bcher-kva.example", True),
        ("a" * 63 + ".example", True),
        ("a" * 64 + ".example", False),
        (".".join(["a" * 63] * 4), False),
        ("", False),
        (".", False),
        (".example", False),
        ("a..b", False),
        ("-a.example", False),
        ("a b", False),
        ("a/b", False),
        ("bücher.example", False),
    ],
)
def test_is_dns_name(text: str, expected: bool) -> None:
    assert is_dns_name(text) is expected


_RECORDS = st.lists(
    st.builds(
        SrvRecord, st.integers(0, 3), st.integers(0, 9), st.just(1), st.sampled_from("abcdef")
    )
)


@given(_RECORDS, st.randoms(use_true_random=False))
def test_srv_order_keeps_all_and_goes_by_priority(records: list[SrvRecord], random: Random) -> None:
    ordered = in_srv_order(records, random)
    assert Counter(ordered) == Counter(records)
    assert [r.priority for r in ordered] == sorted(r.priority for r in records)


def test_srv_order_draws_by_weight() -> None:
    records = [SrvRecord(0, weight, 1, str(weight)) for weight in (0, 10, 30)]
    random = Random(5)
    first = Counter(in_srv_order(records, random)[0].weight for _ in range(2000))
    assert 2.5 < first[30] / first[10] < 3.6
    assert 0 < first[0] < 100  # 1 in 41


class NameServer(asyncio.DatagramProtocol):
    """Answers every question about `records`; of other names it says that they do not exist."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, int], list[bytes]] = {
            ("two.example", A): [socket.inet_aton("192.0.2.1")],
            ("two.example", AAAA): [socket.inet_pton(socket.AF_INET6, "2001:db8::1")],
            ("alias.example", CNAME): [name("two.example")],
            ("_matrix-fed._tcp.two.example", SRV): [
                struct.pack(">HHH", 10, 5, 8449) + name("a.example"),
                struct.pack(">HHH", 20, 0, 443) + name(""),
            ],
        }
        self.codes = {"broken.example": SERVFAIL, "closed.example": REFUSED}
        self.asked: list[tuple[str, int]] = []

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode().lower())
            at += 1 + data[at]
        question, kind = ".".join(labels), int.from_bytes(data[at + 1 : at + 3], "big")
        self.asked.append((question, kind))
        answers = self._answers(question, kind)
        exists = any(known == question for known, _ in self.records)
        code = self.codes.get(question, 0 if exists else NXDOMAIN)
        header = data[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(answers), 0, 0)
        self.transport.sendto(header + data[12 : at + 5] + b"".join(answers), addr)

    def _answers(self, question: str, kind: int) -> list[bytes]:
        found = [record(question, kind, d) for d in self.records.get((question, kind), ())]
        if not found and (question, CNAME) in self.records:
            found = [record(question, CNAME, self.records[question, CNAME][0])]
            found += self._answers("two.example", kind)
        return found


def name(text: str) -> bytes:
    labels = [label for label in text.split(".") if label]
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"


def record(owner: str, kind: int, data: bytes) -> bytes:
    return name(owner) + struct.pack(">HHIH", kind, 1, 60, len(data)) + data


@pytest.fixture
async def name_server() -> AsyncIterator[NameServer]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(NameServer, ("127.0.0.1", 0))
    yield server
    transport.close()


@pytest.fixture
async def resolver(name_server: NameServer) -> AsyncIterator[AioDnsResolver]:
    _, port = name_server.transport.get_extra_info("sockname")
    resolver = AioDnsResolver([f"127.0.0.1:{port}"], timeout=1, tries=1)
    yield resolver
    await resolver.close()


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("two.example", {"192.0.2.1", "2001:db8::1"}),
        ("alias.example", {"192.0.2.1", "2001:db8::1"}),
        ("_matrix-fed._tcp.two.example", set()),  # exists, but has no address
        ("absent.example", set()),
        ("abc.onion", set()),
    ],
)
async def test_addresses(resolver: AioDnsResolver, host: str, expected: set[str]) -> None:
    assert {str(address) for address in await resolver.addresses(host)} == expected


async def test_srv(resolver: AioDnsResolver) -> None:
    assert set(await resolver.srv("_matrix-fed._tcp.two.example")) == {
        SrvRecord(10, 5, 8449, "a.example"),
        SrvRecord(20, 0, 443, ""),
    }
    assert await resolver.srv("_matrix._tcp.absent.example") == ()
    assert await resolver.srv("two.example") == ()


@pytest.mark.parametrize("host", ["broken.example", "closed.example"])
async def test_no_answer_is_not_no_record(resolver: AioDnsResolver, host: str) -> None:
    with pytest.raises(DiscoveryError):
        await resolver.srv(host)
    with pytest.raises(DiscoveryError):
        await resolver.addresses(host)


async def test_answers_are_kept(resolver: AioDnsResolver, name_server: NameServer) -> None:
    """Nothing above the resolver remembers records, so that it must."""
    for _ in range(3):
        await resolver.addresses("two.example")
        await resolver.srv("_matrix-fed._tcp.two.example")
    assert Counter(name_server.asked).most_common(1)[0][1] == 1
