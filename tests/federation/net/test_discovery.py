import json

import pytest

from federation.errors import DiscoveryError
from federation.identifiers import ServerName
from federation.net.discovery import Destination
from federation.net.dns import SrvRecord
from federation.net.transport import Endpoint
from tests.federation.net.loopback import Internet, answering, http

PUBLIC = "1.2.3.4"
FED, OLD = "_matrix-fed._tcp.", "_matrix._tcp."


async def delegate(internet: Internet, host: str, *names: str | None) -> None:
    """Let `host` say that it delegates to each of `names` in turn, `None` being a 404."""
    responses = [
        http(404) if name is None else http(body=json.dumps({"m.server": name}).encode())
        for name in names
    ]
    internet.dns.hosts[host] = [[PUBLIC]]
    await internet.serve(host, PUBLIC, 443, answering(*responses))


def srv(target: str, port: int = 10) -> tuple[SrvRecord]:
    return (SrvRecord(0, 0, port, target),)


STEPS = [
    # name, .well-known, SRV records, endpoint, Host, certificate
    ("1.2.3.4", None, {}, ("1.2.3.4", 8448), "1.2.3.4", "1.2.3.4"),  # 1
    ("1.2.3.4:80", None, {}, ("1.2.3.4", 80), "1.2.3.4:80", "1.2.3.4"),
    ("[2600::1]", None, {}, ("2600::1", 8448), "[2600::1]", "2600::1"),
    ("[2600::1]:80", None, {}, ("2600::1", 80), "[2600::1]:80", "2600::1"),
    # 2: neither .well-known nor SRV is asked for
    ("a.ex:80", "b.ex", {FED + "a.ex": srv("s.ex")}, ("a.ex", 80), "a.ex:80", "a.ex"),
    ("a.ex", "5.6.7.8", {}, ("5.6.7.8", 8448), "5.6.7.8", "5.6.7.8"),  # 3.1
    ("a.ex", "5.6.7.8:1", {}, ("5.6.7.8", 1), "5.6.7.8:1", "5.6.7.8"),
    ("a.ex", "[2600::1]:1", {}, ("2600::1", 1), "[2600::1]:1", "2600::1"),
    ("a.ex", "b.ex:80", {FED + "b.ex": srv("s.ex")}, ("b.ex", 80), "b.ex:80", "b.ex"),  # 3.2
    ("a.ex", "b.ex", {FED + "b.ex": srv("s.ex")}, ("s.ex", 10), "b.ex", "b.ex"),  # 3.3
    ("a.ex", "b.ex", {OLD + "b.ex": srv("s.ex")}, ("s.ex", 10), "b.ex", "b.ex"),  # 3.4
    ("a.ex", "b.ex", {FED + "a.ex": srv("s.ex")}, ("b.ex", 8448), "b.ex", "b.ex"),  # 3.5
    ("a.ex", None, {FED + "a.ex": srv("s.ex")}, ("s.ex", 10), "a.ex", "a.ex"),  # 4
    ("a.ex", None, {FED + "a.ex": srv("s.ex"), OLD + "a.ex": srv("t.ex")}, ("s.ex", 10), "a.ex",
     "a.ex"),
    ("a.ex", None, {OLD + "a.ex": srv("s.ex")}, ("s.ex", 10), "a.ex", "a.ex"),  # 5
    ("a.ex", None, {}, ("a.ex", 8448), "a.ex", "a.ex"),  # 6
    ("a.ex", "nonsense://", {}, ("a.ex", 8448), "a.ex", "a.ex"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "delegated", "services", "endpoint", "host", "tls"), STEPS)
async def test_steps(
    internet: Internet,
    name: str,
    delegated: str | None,
    services: dict[str, tuple[SrvRecord]],
    endpoint: tuple[str, int],
    host: str,
    tls: str,
) -> None:
    await delegate(internet, "a.ex", delegated)
    internet.dns.services.update(services)
    found = await internet.discovery().find(ServerName(name))
    assert found.endpoints == (endpoint,)
    assert found.host_header == host
    assert found.tls_name == tls
    assert found.server_name == name


async def test_what_needs_no_look_up_makes_none(internet: Internet) -> None:
    for name in ("1.2.3.4", "[::1]:8448", "a.ex:8448"):
        await internet.discovery().find(ServerName(name))
    assert internet.dns.asked == []


async def test_services_are_tried_in_their_order(internet: Internet) -> None:
    internet.dns.services[FED + "a.ex"] = (
        SrvRecord(20, 0, 3, "c.ex"),
        SrvRecord(10, 0, 1, "a1.ex"),
        SrvRecord(10, 65535, 2, "a2.ex"),
        SrvRecord(5, 0, 1, ""),
        SrvRecord(6, 0, 0, "noport.ex"),
    )
    found = await internet.discovery().find(ServerName("a.ex"))
    assert found.endpoints == (Endpoint("a2.ex", 2), Endpoint("a1.ex", 1), Endpoint("c.ex", 3))


async def test_endpoints_are_not_without_number(internet: Internet) -> None:
    internet.dns.services[FED + "a.ex"] = [SrvRecord(n, 0, 1, "b.ex") for n in range(500)]
    assert len((await internet.discovery().find(ServerName("a.ex"))).endpoints) == 8


async def test_a_target_of_the_root_means_no_service(internet: Internet) -> None:
    internet.dns.services[FED + "a.ex"] = srv("")
    with pytest.raises(DiscoveryError):
        await internet.discovery().find(ServerName("a.ex"))


async def test_silent_name_servers_are_done_without(internet: Internet) -> None:
    internet.dns.failing = {FED + "a.ex"}
    internet.dns.services[OLD + "a.ex"] = srv("s.ex")
    discovery = internet.discovery()
    assert (await discovery.find(ServerName("a.ex"))).endpoints == (("s.ex", 10),)
    internet.dns.failing.add(OLD + "a.ex")
    assert (await discovery.find(ServerName("a.ex"))).endpoints == (("a.ex", 8448),)


async def test_onion_names_are_kept_from_the_dns(internet: Internet) -> None:
    found = await internet.discovery().find(ServerName("abc.onion"))
    assert found.endpoints == (("abc.onion", 8448),)
    assert not any(name.startswith("_matrix") for name in internet.dns.asked)


@pytest.mark.parametrize("name", ["", "a b", "a.ex:0", "https://a.ex", "[::1"])
async def test_a_malformed_name_leads_nowhere(internet: Internet, name: str) -> None:
    with pytest.raises(DiscoveryError):
        await internet.discovery().find(ServerName(name))


@pytest.mark.parametrize(
    ("before", "after", "minutes", "expected"),
    [
        ("b.ex:1", "c.ex:2", 6, ("c.ex", 2)),
        ("b.ex:1", None, 6, ("a.ex", 8448)),
        ("b.ex:1", "b.ex:1", 6, None),
        ("b.ex:1", "c.ex:2", 4, None),
        (None, "c.ex:2", 6, None),
    ],
)
async def test_find_again(
    internet: Internet,
    before: str | None,
    after: str | None,
    minutes: int,
    expected: tuple[str, int] | None,
) -> None:
    """Whoever moved is found at the new place once the old delegation has some age."""
    await delegate(internet, "a.ex", before, after)
    discovery = internet.discovery()
    first = await discovery.find(ServerName("a.ex"))
    internet.clock.now += minutes * 60
    again: Destination | None = await discovery.find_again(first)
    assert (again and again.endpoints[0]) == expected
