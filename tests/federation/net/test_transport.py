"""Connections, certificates, addresses, proxies and pooling, on one endpoint at a time."""

import asyncio
import gzip
import ssl
from dataclasses import replace

import pytest

from federation.errors import (
    AddressRefusedError,
    ConnectError,
    DiscoveryError,
    RequestError,
    ResponseTooLargeError,
    TransportError,
)
from federation.net.addresses import AddressPolicy
from federation.net.connector import Pool, happy_eyeballs
from federation.net.proxies import Proxy, ProxyRule
from federation.net.tls import TlsContexts, TlsSettings
from federation.net.transport import Endpoint, Limits, Outgoing, Transport, deadline
from tests.federation.net.loopback import (
    ConnectProxy,
    FakeDns,
    Internet,
    Seen,
    Server,
    SocksProxy,
    http,
)

PUBLIC, OTHER = "1.2.3.4", "5.6.7.8"
HELLO = http(body=b"hello")
LOOPBACK = AddressPolicy.parse(allowed=["127.0.0.0/8"])
GET = Outgoing(
    method="GET",
    endpoint=Endpoint("a.example", 8448),
    target="/x",
    host_header="a.example",
    tls_name="a.example",
)


async def ask(transport: Transport, request: Outgoing = GET, limits: Limits = Limits()) -> bytes:  # noqa: B008
    async with transport.send(request, limits) as reply:
        return await reply.read()


async def serve(internet: Internet, *names: str, answer: bytes = HELLO) -> Server:
    internet.dns.hosts["a.example"] = [[PUBLIC]]
    return await internet.serve(names or ("a.example",), PUBLIC, 8448, answer)


async def test_over_real_sockets(internet: Internet) -> None:
    """The one test without a pretended Internet: our resolver, happy eyeballs, loopback."""
    server = await serve(internet)
    internet.dns.hosts["a.example"] = [["127.0.0.2", "127.0.0.1", "::1"]]  # one answers
    request = replace(GET, endpoint=Endpoint("a.example", server.port))
    assert await ask(internet.transport(LOOPBACK, dial=happy_eyeballs), request) == b"hello"


@pytest.mark.parametrize(
    ("certificate", "tls_name", "sni"),
    [
        ("a.example", "a.example", "a.example"),
        ("a.example", "A.EXAMPLE", "A.EXAMPLE"),
        ("a.example", "a.example.", "a.example"),
        ("b.example", "b.example", "b.example"),  # whatever the endpoint is called
        ("*.b.example", "a.b.example", "a.b.example"),
        (PUBLIC, PUBLIC, None),
        ("2600::1", "2600::1", None),
    ],
)
async def test_the_certificate_is_checked_for_the_name(
    internet: Internet, certificate: str, tls_name: str, sni: str | None
) -> None:
    server = await serve(internet, certificate)
    assert await ask(internet.transport(), replace(GET, tls_name=tls_name)) == b"hello"
    assert server.seen[0].sni == sni


@pytest.mark.parametrize(
    ("certificate", "tls_name"),
    [("b.example", "a.example"), ("a.example", PUBLIC), (OTHER, PUBLIC), ("a.example", "x.y")],
)
async def test_a_certificate_for_another_name(
    internet: Internet, certificate: str, tls_name: str
) -> None:
    server = await serve(internet, certificate)
    with pytest.raises(ConnectError, match="certificate"):
        await ask(internet.transport(), replace(GET, tls_name=tls_name))
    assert server.seen == []


async def test_an_unknown_authority(internet: Internet) -> None:
    server = await serve(internet)
    with pytest.raises(ConnectError, match="certificate"):
        await ask(internet.transport(tls=TlsSettings()))
    assert server.seen == []


async def test_a_further_authority_beside_those_of_the_system(internet: Internet) -> None:
    await serve(internet)
    tls = TlsSettings(ca_file=internet.authority.file)
    assert await ask(internet.transport(tls=tls)) == b"hello"


async def test_certificates_are_overlooked_where_told_so(internet: Internet) -> None:
    await serve(internet, "b.example")
    transport = internet.transport(tls=TlsSettings(unverified=("*.Example",)))
    assert await ask(transport) == b"hello"
    with pytest.raises(ConnectError):
        await ask(transport, replace(GET, tls_name="a.elsewhere"))


@pytest.mark.parametrize("system_trust", [True, False])
async def test_the_authorities_of_the_system(
    internet: Internet, monkeypatch: pytest.MonkeyPatch, system_trust: bool
) -> None:
    await serve(internet)
    monkeypatch.setenv("SSL_CERT_FILE", str(internet.authority.file))
    transport = internet.transport(tls=TlsSettings(system_trust=system_trust))
    if system_trust:
        assert await ask(transport) == b"hello"
    else:
        with pytest.raises(ConnectError, match="certificate"):
            await ask(transport)


@pytest.mark.parametrize("name", ["a.example", "unverified.example"])
def test_old_tls_is_refused(name: str) -> None:
    context = TlsContexts(TlsSettings(unverified=("unverified.*",))).context_for(name)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.check_hostname is (name == "a.example")


@pytest.mark.parametrize(
    ("host", "records"),
    [
        ("127.0.0.1", []),
        ("::1", []),
        ("::ffff:10.0.0.1", []),
        ("a.example", ["10.0.0.1"]),
        ("a.example", ["192.168.0.1", "fd00::1"]),
    ],
)
async def test_private_addresses_are_refused(
    internet: Internet, host: str, records: list[str]
) -> None:
    internet.dns.hosts["a.example"] = [records]
    with pytest.raises(AddressRefusedError):
        await ask(internet.transport(), replace(GET, endpoint=Endpoint(host, 8448)))
    assert internet.dialled == []


async def test_of_mixed_addresses_the_public_ones_are_used(internet: Internet) -> None:
    await serve(internet)
    internet.dns.hosts["a.example"] = [["10.0.0.1", OTHER, "::1", PUBLIC]]
    assert await ask(internet.transport()) == b"hello"
    assert internet.dialled == [(OTHER, 8448), (PUBLIC, 8448)]


async def test_a_name_that_changes_its_address(internet: Internet) -> None:
    """What was judged is what is connected to; a second look-up is judged again."""
    await serve(internet, answer=http(body=b"hello", Connection="close"))
    internet.dns.hosts["a.example"] = [[PUBLIC], ["127.0.0.1"]]
    transport = internet.transport()
    assert await ask(transport) == b"hello"
    with pytest.raises(AddressRefusedError):
        await ask(transport)
    assert internet.dialled == [(PUBLIC, 8448)]
    assert internet.dns.asked == ["a.example", "a.example"]


@pytest.mark.parametrize("host", ["absent.example", "a..example", "-", "x" * 64, "127.1"])
async def test_a_name_without_address(internet: Internet, host: str) -> None:
    with pytest.raises(ConnectError):
        await ask(internet.transport(), replace(GET, endpoint=Endpoint(host, 8448)))


@pytest.mark.parametrize("name", ["a..example", ".example", "x" * 64])
async def test_a_name_that_tls_cannot_know(internet: Internet, name: str) -> None:
    await serve(internet)
    with pytest.raises(ConnectError):
        await ask(internet.transport(), replace(GET, tls_name=name))


async def test_a_silent_dns(internet: Internet) -> None:
    internet.dns.failing.add("a.example")
    with pytest.raises(DiscoveryError):
        await ask(internet.transport())


async def test_nobody_listens(internet: Internet) -> None:
    internet.dns.hosts["a.example"] = [[PUBLIC]]
    with pytest.raises(ConnectError, match="nobody listens"):
        await ask(internet.transport())


class SilentDns(FakeDns):
    async def addresses(self, host: str) -> list[None]:  # type: ignore[override]
        await asyncio.Event().wait()
        return []


async def test_connecting_takes_too_long(internet: Internet) -> None:
    internet.dns = SilentDns()
    with pytest.raises(ConnectError, match="too long"):
        await ask(internet.transport(), limits=Limits(connect=0.02))


async def test_the_answer_pauses_for_too_long(internet: Internet) -> None:
    await serve(internet, answer=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
    with pytest.raises(TransportError):
        await ask(internet.transport(), limits=Limits(idle=0.02))


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_an_answer_that_is_not_http(internet: Internet, answer: bytes) -> None:
    await serve(internet, answer=answer)
    with pytest.raises(TransportError) as caught:
        await ask(internet.transport())
    assert not isinstance(caught.value, ConnectError)


async def test_a_connection_that_breaks_in_the_answer(internet: Internet) -> None:
    async def respond(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
        await writer.drain()
        raise EOFError

    internet.dns.hosts["a.example"] = [[PUBLIC]]
    await internet.serve("a.example", PUBLIC, 8448, respond)
    with pytest.raises(TransportError):
        await ask(internet.transport())


async def test_connections_are_used_again(internet: Internet) -> None:
    server = await serve(internet, "a.example", "b.example")
    transport = internet.transport()
    for _ in range(3):
        await ask(transport)
    assert server.connections == 1
    await ask(transport, replace(GET, tls_name="b.example"))
    assert server.connections == 2  # what was proven is another name


async def test_an_answer_left_unread_spoils_the_connection(internet: Internet) -> None:
    server = await serve(internet, answer=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
    transport = internet.transport()
    for _ in range(2):
        async with transport.send(GET, Limits()) as reply:
            assert reply.status == 200
    assert server.connections == 2


async def test_one_server_gets_no_more_connections_than_allowed(internet: Internet) -> None:
    busy = highest = 0

    async def respond(seen: Seen, writer: asyncio.StreamWriter) -> None:
        nonlocal busy, highest
        busy += 1
        highest = max(highest, busy)
        await asyncio.sleep(0)
        busy -= 1
        writer.write(http())

    internet.dns.hosts["a.example"] = [[PUBLIC]]
    server = await internet.serve("a.example", PUBLIC, 8448, respond)
    transport = internet.transport(pool=Pool(per_server=2))
    await asyncio.gather(*(ask(transport) for _ in range(8)))
    assert (len(server.seen), server.connections) == (8, 2)
    assert highest <= 2


@pytest.mark.parametrize(("method", "is_repeated"), [("GET", True), ("PUT", True), ("POST", False)])
async def test_a_pooled_connection_that_has_gone_stale(
    internet: Internet, method: str, is_repeated: bool
) -> None:
    async def respond(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.connection == 1 and len(server.seen) == 2:
            raise EOFError
        writer.write(http(body=b"hello"))

    internet.dns.hosts["a.example"] = [[PUBLIC]]
    server = await internet.serve("a.example", PUBLIC, 8448, respond)
    transport = internet.transport()
    request = replace(GET, method=method, body=b"{}")
    await ask(transport, request)
    if is_repeated:
        assert await ask(transport, request) == b"hello"
        assert [seen.body for seen in server.seen] == [b"{}"] * 3
    else:
        with pytest.raises(TransportError):
            await ask(transport, request)
        assert len(server.seen) == 2


def through(url: str, pattern: str = "*") -> list[ProxyRule]:
    return [ProxyRule(pattern, Proxy.parse(url))]


async def test_an_http_proxy(internet: Internet) -> None:
    """The proxy is on a private address and sees a name; TLS is with the server."""
    server = await serve(internet)
    proxy = await internet.stack.enter_async_context(
        ConnectProxy({("a.example", 8448): server.port})
    )
    transport = internet.transport(proxies=through(f"http://ann:secret@127.0.0.1:{proxy.port}"))
    assert await ask(transport) == b"hello"
    assert await ask(transport) == b"hello"
    assert proxy.asked == [("a.example", 8448)]
    assert proxy.authorizations == ["Basic YW5uOnNlY3JldA=="]
    assert (server.seen[0].sni, server.connections) == ("a.example", 1)
    assert "proxy-authorization" not in server.seen[0].headers
    assert internet.dns.asked == []


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
async def test_a_socks_proxy(internet: Internet, scheme: str) -> None:
    server = await serve(internet)
    internet.dns.hosts["a.example"] = [["10.0.0.1", OTHER, PUBLIC]]
    proxy = await internet.stack.enter_async_context(
        SocksProxy({("a.example", 8448): server.port, (PUBLIC, 8448): server.port})
    )
    transport = internet.transport(proxies=through(f"{scheme}://127.0.0.1:{proxy.port}"))
    assert await ask(transport) == b"hello"
    assert server.seen[0].sni == "a.example"
    if scheme == "socks5":
        assert proxy.asked == [(OTHER, 8448), (PUBLIC, 8448)]
    else:
        assert proxy.asked == [("a.example", 8448)]
        assert internet.dns.asked == []


async def test_a_rule_decides_who_goes_through_the_proxy(internet: Internet) -> None:
    server = await serve(internet, "a.example", "abc.onion")
    proxy = await internet.stack.enter_async_context(SocksProxy({("abc.onion", 8448): server.port}))
    url = f"socks5h://127.0.0.1:{proxy.port}"
    transport = internet.transport(proxies=through(url, "*.onion"))
    onion = replace(GET, endpoint=Endpoint("abc.onion", 8448), tls_name="abc.onion")
    assert await ask(transport, onion) == b"hello"
    assert await ask(transport) == b"hello"
    assert proxy.asked == [("abc.onion", 8448)]
    assert internet.dns.asked == ["a.example"]
    named = replace(GET, names=("abc.onion",))
    with pytest.raises(ConnectError):
        await ask(transport, named)
    assert proxy.asked[-1] == ("a.example", 8448)


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
async def test_a_proxy_is_no_way_around_the_policy(internet: Internet, scheme: str) -> None:
    proxy = await internet.stack.enter_async_context(SocksProxy({}))
    transport = internet.transport(proxies=through(f"{scheme}://127.0.0.1:{proxy.port}"))
    with pytest.raises(AddressRefusedError):
        await ask(transport, replace(GET, endpoint=Endpoint("10.0.0.1", 8448)))
    assert proxy.asked == []


@pytest.mark.parametrize("kind", [ConnectProxy, SocksProxy])
async def test_a_proxy_that_refuses(
    internet: Internet, kind: type[ConnectProxy] | type[SocksProxy]
) -> None:
    proxy = await internet.stack.enter_async_context(kind({}))
    scheme = "http" if kind is ConnectProxy else "socks5h"
    with pytest.raises(ConnectError, match="proxy"):
        await ask(internet.transport(proxies=through(f"{scheme}://127.0.0.1:{proxy.port}")))


async def test_a_proxy_that_is_not_there(internet: Internet) -> None:
    async with SocksProxy({}) as proxy:
        url = f"socks5h://127.0.0.1:{proxy.port}"
    with pytest.raises(ConnectError):
        await ask(internet.transport(proxies=through(url)))


async def test_the_certificate_counts_behind_a_proxy_too(internet: Internet) -> None:
    server = await serve(internet, "b.example")
    proxy = await internet.stack.enter_async_context(SocksProxy({("a.example", 8448): server.port}))
    with pytest.raises(ConnectError, match="certificate"):
        await ask(internet.transport(proxies=through(f"socks5h://127.0.0.1:{proxy.port}")))
    assert server.seen == []


async def test_cookies_are_not_kept(internet: Internet) -> None:
    server = await serve(internet, answer=http(Set_Cookie="a=b"))
    transport = internet.transport()
    await ask(transport)
    await ask(transport)
    assert "cookie" not in server.seen[1].headers


async def test_deadline_leaves_others_errors_alone() -> None:
    with pytest.raises(RequestError):
        async with deadline(0):
            await asyncio.Event().wait()
    with pytest.raises(TimeoutError):
        async with deadline(60):
            raise TimeoutError


async def test_what_follows_the_compressed_body_is_bounded_too(internet: Internet) -> None:
    body = gzip.compress(b"hello") + bytes(10_000)
    await serve(internet, answer=http(body=body, Content_Encoding="gzip"))
    assert await ask(internet.transport()) == b"hello"
    with pytest.raises(ResponseTooLargeError):
        await ask(internet.transport(), limits=Limits(body=1000))


async def test_no_body_needs_no_inflating(internet: Internet) -> None:
    await serve(internet, answer=http(204, b"", Content_Encoding="gzip"))
    assert await ask(internet.transport()) == b""
