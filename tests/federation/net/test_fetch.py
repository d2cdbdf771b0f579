"""Where plain requests lead, and where they do not."""

import asyncio
from dataclasses import replace

import pytest

from federation.errors import AddressRefusedError, ResponseFormatError
from federation.net.addresses import AddressPolicy
from federation.net.connector import happy_eyeballs
from federation.net.fetch import HTTPS_ONLY, Way, ask, fetch
from federation.net.transport import Limits, Transport
from tests.federation.net.loopback import Internet, Listener, http

LOOPBACK = AddressPolicy.parse(allowed=["127.0.0.0/8"])
PLAIN = Way(is_plain=True, headers={"Accept": "text/html"})
PUBLIC = "1.2.3.4"


class PlainServer(Listener):
    """An HTTP server without TLS; `answers` are given by path."""

    def __init__(self, answers: dict[str, bytes]) -> None:
        super().__init__()
        self.answers = answers
        self.seen: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := (await reader.readuntil(b"\r\n\r\n")).decode():
            self.seen.append(head)
            writer.write(self.answers[head.split(" ")[1]])
            await writer.drain()


async def get(transport: Transport, url: str, way: Way = HTTPS_ONLY) -> tuple[bytes, str]:
    async with fetch(transport, url, Limits(), way) as reply:
        return await reply.read(), reply.url


def transport(internet: Internet, policy: AddressPolicy = LOOPBACK) -> Transport:
    return internet.transport(policy, dial=happy_eyeballs)


async def test_over_plain_http_where_that_will_do(internet: Internet) -> None:
    async with PlainServer({"/a?b": http(302, Location="c"), "/c": http(body=b"here")}) as server:
        root = f"http://127.0.0.1:{server.port}"
        found = await get(transport(internet), f"{root}/a?b#part", PLAIN)
        assert found == (b"here", f"{root}/c")
        assert len(server.seen) == 2
        for head in server.seen:
            assert f"Host: 127.0.0.1:{server.port}\r\n" in head
            assert "Accept: text/html\r\n" in head
        with pytest.raises(ResponseFormatError):
            await get(transport(internet), f"{root}/c")
        with pytest.raises(ResponseFormatError):
            async with ask(transport(internet), "GET", f"{root}/c", Limits()):
                pass
        assert len(server.seen) == 2


@pytest.mark.parametrize("name", ["127.0.0.1", "inner.example"])
async def test_plain_http_reaches_no_further(internet: Internet, name: str) -> None:
    internet.dns.hosts["inner.example"] = [["127.0.0.1"]]
    async with PlainServer({"/": http()}) as server:
        with pytest.raises(AddressRefusedError):
            await get(transport(internet, AddressPolicy()), f"http://{name}:{server.port}/", PLAIN)
        assert server.seen == []


async def test_a_redirect_down_to_plain_http(internet: Internet) -> None:
    internet.dns.hosts["a.example"] = [[PUBLIC]]
    internet.dns.hosts["b.example"] = [[PUBLIC]]
    await internet.serve("a.example", PUBLIC, 443, http(302, Location="http://b.example/x"))
    async with PlainServer({"/x": http(body=b"plain")}) as server:
        internet.routes[PUBLIC, 80] = server.port
        url = "https://a.example/"
        assert await get(internet.transport(), url, PLAIN) == (b"plain", "http://b.example/x")
        for way in (HTTPS_ONLY, replace(PLAIN, passes=lambda host: host != "b.example")):
            with pytest.raises(ResponseFormatError):
                await get(internet.transport(), url, way)
        assert len(server.seen) == 1


@pytest.mark.parametrize("url", ["", "a", "http://", "http://[", "ftp://a/", "http://a:b@c/"])
async def test_what_is_no_url(internet: Internet, url: str) -> None:
    with pytest.raises(ResponseFormatError):
        await get(internet.transport(), url, PLAIN)
