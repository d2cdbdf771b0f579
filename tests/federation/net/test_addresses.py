from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import AddressRefusedError
from federation.net.addresses import AddressPolicy, find_ip_literal

DEFAULT = AddressPolicy()


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",  # noqa: S104
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",  # the deprecated "IPv4-compatible" form
        "64:ff9b:1::1",  # NAT64 of one's own network
        "100::1",
        "2001:2::1",
        "2001:db8::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",  # 6to4 of 127.0.0.1
        "2002:a9fe:a9fe::1",
        "64:ff9b::10.0.0.1",
        "64:ff9b::7f00:1",
        "2001:0:808:808::f5ff:fffe",  # Teredo: client 10.0.0.1
        "2001:0:a00:1::f7f7:f7f7",  # Teredo: server 10.0.0.1
    ],
)
def test_refused_by_default(address: str) -> None:
    assert not DEFAULT.allows(ip_address(address))
    with pytest.raises(AddressRefusedError):
        DEFAULT.check(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.0",
        "172.32.0.1",
        "223.255.255.255",
        "2600::1",
        "2a01:4f8::1",
        "::ffff:8.8.8.8",
        "2002:808:808::1",
        "64:ff9b::8.8.8.8",  # how a network without IPv4 reaches it
        "2001:0:808:808::f7f7:f7f7",
    ],
)
def test_public(address: str) -> None:
    assert DEFAULT.allows(ip_address(address))
    DEFAULT.check(ip_address(address))


@pytest.mark.parametrize(
    ("allowed", "denied", "address", "expected"),
    [
        (["10.0.0.0/8"], [], "10.1.1.1", True),
        (["10.0.0.0/8"], [], "192.168.0.1", False),
        (["10.0.0.0/8"], [], "::ffff:10.1.1.1", True),
        (["10.0.0.0/8"], [], "64:ff9b::10.1.1.1", True),
        (["64:ff9b::/96"], [], "64:ff9b::10.1.1.1", False),
        (["fd00::/8"], [], "fd00::1", True),
        ([], ["8.8.8.0/24"], "8.8.8.8", False),
        ([], ["8.8.8.0/24"], "::ffff:8.8.8.8", False),
        ([], ["8.8.8.0/24"], "64:ff9b::8.8.8.8", False),
        ([], ["8.8.8.0/24"], "8.8.9.8", True),
        ([], ["2600::/16"], "2600::1", False),
        (["10.0.0.0/8"], ["10.0.0.0/24"], "10.0.0.1", False),
        (["10.0.0.0/8"], ["10.0.0.0/24"], "10.0.1.1", True),
    ],
)
def test_exceptions(allowed: list[str], denied: list[str], address: str, expected: bool) -> None:
    assert AddressPolicy.parse(allowed, denied).allows(ip_address(address)) is expected


def test_parse_refuses_what_is_no_network() -> None:
    with pytest.raises(ValueError):
        AddressPolicy.parse(["10.0.0.0/33"])


@given(st.ip_addresses(v=4))
def test_allows_nothing_that_python_takes_for_internal(address: IPv4Address) -> None:
    assert address.is_global or not DEFAULT.allows(address)


@given(st.ip_addresses(v=4))
def test_no_spelling_gets_around_a_refusal(address: IPv4Address) -> None:
    spellings = [
        IPv6Address(0xFFFF << 32 | int(address)),
        IPv6Address(0x2002 << 112 | int(address) << 80 | 1),
        IPv6Address(0x64FF9B << 96 | int(address)),
        IPv6Address(0x20010000 << 96 | 0x08080808 << 64 | 0xFFFFFFFF ^ int(address)),
    ]
    assert {DEFAULT.allows(spelling) for spelling in spellings} == {DEFAULT.allows(address)}


@pytest.mark.parametrize("host", ["1.2.3.4", "::1", "2001:db8::1"])
def test_literals(host: str) -> None:
    assert str(find_ip_literal(host)) == host


@pytest.mark.parametrize("host", ["example.org", "127.1", "2130706433", "0x7f.0.0.1", "01.2.3.4"])
def test_names(host: str) -> None:
    assert find_ip_literal(host) is None
