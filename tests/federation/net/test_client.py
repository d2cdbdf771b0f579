import asyncio
import gzip
import json
from typing import Any

import pytest

from federation import canonical_json, x_matrix
from federation.errors import (
    AddressRefusedError,
    CanonicalJSONError,
    ConnectError,
    DiscoveryError,
    HttpError,
    ResponseFormatError,
    ResponseTooLargeError,
    TransportError,
)
from federation.identifiers import ServerName
from federation.net.addresses import AddressPolicy
from federation.net.client import FederationClient
from federation.net.dns import SrvRecord
from federation.net.target import encode_target
from federation.net.transport import Limits
from tests.federation.net.loopback import (
    OUR_KEY,
    OUR_NAME,
    Internet,
    Respond,
    Seen,
    Server,
    answering,
    http,
)

OK = http()
PUBLIC, OTHER = "1.2.3.4", "5.6.7.8"
A = ServerName("a.example")
EVENT = encode_target("_matrix", "federation", "v1", "event", "$a/b c?d")
SEND = encode_target("_matrix", "federation", "v1", "send", "1")


async def serve(
    internet: Internet,
    respond: Respond | bytes = OK,
    name: str = "a.example",
) -> Server:
    """A server on the fall-back port of its own name, without delegation."""
    internet.dns.hosts[name] = [[PUBLIC]]
    return await internet.serve(name, PUBLIC, 8448, respond)


def is_ours(seen: Seen, content: object | None = None, destination: str = A) -> bool:
    """Whether the request carries our signature over exactly what came in."""
    verdict = x_matrix.verify(
        x_matrix.parse(seen.headers["authorization"]),
        destinations={ServerName(destination)},
        method=seen.method,
        uri=seen.target,
        content=content,
        keys={OUR_KEY.key_id: OUR_KEY.verify_key},
    )
    return isinstance(verdict, x_matrix.Authenticated) and verdict.origin == OUR_NAME


async def test_get(internet: Internet) -> None:
    server = await serve(internet, http(body=b'{"ok": 1.5}'))
    uri = encode_target("_matrix", "x", "!r/ü:b", query=[("v", "1"), ("q", "a b+%/")])
    assert await internet.client().get_json(A, uri) == {"ok": 1.5}
    (seen,) = server.seen
    assert (seen.method, seen.target) == ("GET", uri)
    assert seen.target == "/_matrix/x/%21r%2F%C3%BC%3Ab?v=1&q=a%20b%2B%25%2F"
    assert (seen.headers["host"], seen.sni) == ("a.example", "a.example")
    assert seen.headers["user-agent"] == "Hearth"
    assert seen.headers["accept-encoding"] == "gzip"
    assert "content-type" not in seen.headers
    assert is_ours(seen)


@pytest.mark.parametrize(
    "uri", ["/a/../b/./c//d", "/%7e%2E?x", "/a?b=%2f&&c=;:@!$'()*,", "/*?~=[]|^`{}<>\\"]
)
async def test_the_target_goes_out_as_it_was_signed(internet: Internet, uri: str) -> None:
    server = await serve(internet)
    await internet.client().get_json(A, uri)
    assert server.seen[0].target == uri
    assert is_ours(server.seen[0])


@pytest.mark.parametrize("uri", ["", "x", "/a b", "/a#b", "/ü", "/a\r\nX: y"])
async def test_a_target_that_cannot_be_sent(internet: Internet, uri: str) -> None:
    with pytest.raises(ValueError):
        await internet.client().get_json(A, uri)


async def test_put_and_post(internet: Internet) -> None:
    server = await serve(internet, http(body=b'{"pdus": {}}'))
    client = internet.client()
    content = {"pdus": [{"depth": 2**70, "content": {"x": 1.1}}], "ü": "\U0001f525"}
    assert await client.put_json(A, SEND, content) == {"pdus": {}}
    assert await client.post_json(A, SEND, {}) == {"pdus": {}}
    put, post = server.seen
    assert (put.method, post.method) == ("PUT", "POST")
    assert put.headers["content-type"] == post.headers["content-type"] == "application/json"
    assert (json.loads(put.body), post.body) == (content, b"{}")
    assert is_ours(put, canonical_json.decode(put.body, strict=False))
    assert is_ours(post, {})


async def test_a_content_without_json_form(internet: Internet) -> None:
    with pytest.raises(CanonicalJSONError):
        await internet.client().put_json(A, SEND, {"x": float("nan")})


async def test_unsigned(internet: Internet) -> None:
    server = await serve(internet)
    await internet.client().get_json(A, "/_matrix/key/v2/server", signed=False)
    await internet.client().post_json(A, "/_matrix/key/v2/query", {}, signed=False)
    assert all("authorization" not in seen.headers for seen in server.seen)


HOSTS = [
    # step, name, .well-known, SRV, the address and port reached, Host, certificate, SNI
    ("1", PUBLIC, None, None, (PUBLIC, 8448), PUBLIC, PUBLIC, None),
    ("1", "[2600::1]:99", None, None, ("2600::1", 99), "[2600::1]:99", "2600::1", None),
    ("2", "a.example:99", None, None, (PUBLIC, 99), "a.example:99", "a.example", "a.example"),
    ("3.1", A, "5.6.7.8:99", None, (OTHER, 99), "5.6.7.8:99", OTHER, None),
    ("3.2", A, "b.example:99", None, (OTHER, 99), "b.example:99", "b.example", "b.example"),
    ("3.3", A, "b.example", "_matrix-fed", ("9.9.9.9", 10), "b.example", "b.example", "b.example"),
    ("3.4", A, "b.example", "_matrix", ("9.9.9.9", 10), "b.example", "b.example", "b.example"),
    ("3.5", A, "b.example", None, (OTHER, 8448), "b.example", "b.example", "b.example"),
    ("4", A, None, "_matrix-fed", ("9.9.9.9", 10), "a.example", "a.example", "a.example"),
    ("5", A, None, "_matrix", ("9.9.9.9", 10), "a.example", "a.example", "a.example"),
    ("6", A, None, None, (PUBLIC, 8448), "a.example", "a.example", "a.example"),
]


@pytest.mark.parametrize(
    ("step", "name", "delegated", "service", "where", "host", "certificate", "sni"), HOSTS
)
async def test_what_servers_see_of_each_step_of_discovery(
    internet: Internet,
    step: str,
    name: str,
    delegated: str | None,
    service: str | None,
    where: tuple[str, int],
    host: str,
    certificate: str,
    sni: str | None,
) -> None:
    """Signed for the name before delegation, with the `Host` and certificate of after it."""
    internet.dns.hosts |= {
        "a.example": [[PUBLIC]],
        "b.example": [[OTHER]],
        "s.example": [["9.9.9.9"]],
    }
    if delegated:
        pointer = http(body=json.dumps({"m.server": delegated}).encode())
        await internet.serve("a.example", PUBLIC, 443, pointer)
    if service:
        owner = f"{service}._tcp.{delegated or name}"
        internet.dns.services[owner] = [SrvRecord(0, 0, 10, "s.example")]
    right = await internet.serve(certificate, *where, http())
    assert await internet.client().get_json(ServerName(name), EVENT) == {}
    (seen,) = right.seen
    assert (seen.headers["host"], seen.sni) == (host, sni)
    assert is_ours(seen, destination=name)

    wrong = await internet.serve("s.example", *where, http())
    with pytest.raises(ConnectError, match="certificate"):
        await internet.client().get_json(ServerName(name), EVENT)
    assert wrong.seen == []


@pytest.mark.parametrize("name", ["127.0.0.1", "[::1]:8448", "10.0.0.1:80", "in.example:8448"])
async def test_names_of_private_places(internet: Internet, name: str) -> None:
    internet.dns.hosts["in.example"] = [["192.168.1.1"]]
    with pytest.raises(AddressRefusedError):
        await internet.client().get_json(ServerName(name), EVENT)
    assert internet.dialled == []


async def test_services_and_delegations_to_private_places(internet: Internet) -> None:
    internet.dns.hosts |= {"a.example": [[PUBLIC]], "in.example": [["10.0.0.1"]]}
    internet.dns.services["_matrix-fed._tcp.a.example"] = [SrvRecord(0, 0, 80, "in.example")]
    with pytest.raises(AddressRefusedError):
        await internet.client().get_json(A, EVENT)
    await internet.serve("a.example", PUBLIC, 443, http(body=b'{"m.server": "127.0.0.1:80"}'))
    with pytest.raises(AddressRefusedError):
        await internet.client().get_json(A, EVENT)
    assert set(internet.dialled) == {(PUBLIC, 443)}


async def test_a_private_place_that_is_permitted(internet: Internet) -> None:
    await internet.serve("10.0.0.1", "10.0.0.1", 8448, http())
    transport = internet.transport(AddressPolicy.parse(allowed=["10.0.0.0/24"]))
    assert await internet.client(transport).get_json(ServerName("10.0.0.1"), EVENT) == {}


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
async def test_the_next_endpoint_serves_where_the_first_cannot(
    internet: Internet, method: str
) -> None:
    """One refuses, one has no address, one a wrong certificate: nothing was sent to them."""
    targets = ["refused.example", "absent.example", "wrong.example", "right.example"]
    internet.dns.services["_matrix-fed._tcp.a.example"] = [
        SrvRecord(priority, 0, 1, target) for priority, target in enumerate(targets)
    ]
    internet.dns.hosts |= {
        "refused.example": [["7.7.7.7"]],
        "wrong.example": [[OTHER]],
        "right.example": [[PUBLIC]],
    }
    wrong = await internet.serve("wrong.example", OTHER, 1, http())
    right = await internet.serve("a.example", PUBLIC, 1, http())
    content: dict[str, Any] | None = None if method == "GET" else {}
    assert (await internet.client().request(method, A, SEND, content)).body == b"{}"
    assert (len(wrong.seen), len(right.seen)) == (0, 1)


async def test_the_first_failure_is_told_when_all_fail(internet: Internet) -> None:
    internet.dns.hosts["a.example"] = [["10.0.0.1"]]
    internet.dns.failing.add("s.example")
    internet.dns.services["_matrix-fed._tcp.a.example"] = [
        SrvRecord(0, 0, 1, "s.example"),
        SrvRecord(1, 0, 1, "a.example"),
    ]
    with pytest.raises(DiscoveryError, match=r"s\.example"):
        await internet.client().get_json(A, EVENT)


async def test_an_endpoint_that_answered_is_the_last(internet: Internet) -> None:
    """The request may have been carried out: another server must not carry it out again."""
    internet.dns.hosts |= {"a.example": [[PUBLIC]], "b.example": [[OTHER]]}
    internet.dns.services["_matrix-fed._tcp.a.example"] = [
        SrvRecord(0, 0, 1, "a.example"),
        SrvRecord(1, 0, 1, "b.example"),
    ]
    await internet.serve("a.example", PUBLIC, 1, b"nonsense\r\n\r\n")
    second = await internet.serve("a.example", OTHER, 1, http())
    with pytest.raises(TransportError):
        await internet.client().put_json(A, SEND, {})
    assert second.seen == []


async def test_a_server_that_moved_is_found(internet: Internet) -> None:
    internet.dns.hosts |= {"a.example": [[PUBLIC]], "b.example": [[OTHER]]}
    pointers = [http(body=b'{"m.server": "b.example:%d"}' % port) for port in (1, 2)]
    await internet.serve("a.example", PUBLIC, 443, answering(*pointers))
    await internet.serve("b.example", OTHER, 2, http())
    client = internet.client()
    with pytest.raises(ConnectError):
        await client.get_json(A, EVENT)
    internet.clock.now += 600
    assert await client.get_json(A, EVENT) == {}


@pytest.mark.parametrize(
    ("status", "body", "errcode", "message"),
    [
        (403, b'{"errcode": "M_FORBIDDEN", "error": "No"}', "M_FORBIDDEN", "No"),
        (404, b'{"errcode": 5, "error": ["x"]}', "M_UNKNOWN", ""),
        (502, b"<html>", "M_UNKNOWN", ""),
        (500, b"", "M_UNKNOWN", ""),
        (400, b"[]", "M_UNKNOWN", ""),
        (302, b"{}", "M_UNKNOWN", ""),
        (429, b'{"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 5}', "M_LIMIT_EXCEEDED", ""),
    ],
)
async def test_other_statuses(
    internet: Internet, status: int, body: bytes, errcode: str, message: str
) -> None:
    await serve(internet, http(status, body))
    with pytest.raises(HttpError) as caught:
        await internet.client().get_json(A, EVENT)
    error = caught.value
    assert (error.status, error.errcode, error.message) == (status, errcode, message)
    assert error.body == body


async def test_an_error_is_told_even_if_its_reason_cannot_be_read(internet: Internet) -> None:
    await serve(internet, http(404, b"not gzip", Content_Encoding="gzip"))
    with pytest.raises(HttpError) as caught:
        await internet.client().get_json(A, EVENT)
    assert (caught.value.status, caught.value.body) == (404, b"")


async def test_a_giant_reason_is_cut(internet: Internet) -> None:
    await serve(internet, http(404, b"x" * 1_000_000))
    with pytest.raises(HttpError) as caught:
        await internet.client().get_json(A, EVENT)
    assert len(caught.value.body) == 65536


async def test_redirects_are_not_followed(internet: Internet) -> None:
    server = await serve(internet, http(307, Location="https://a.example:8448/elsewhere"))
    with pytest.raises(HttpError):
        await internet.client().get_json(A, EVENT)
    assert [seen.target for seen in server.seen] == [EVENT]


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b"\xff", b'{"x": NaN}'])
async def test_an_answer_that_is_no_json_object(internet: Internet, body: bytes) -> None:
    await serve(internet, http(body=body))
    with pytest.raises(ResponseFormatError):
        await internet.client().get_json(A, EVENT)


async def test_the_raw_answer(internet: Internet) -> None:
    await serve(internet, http(201, gzip.compress(b'{"a":1}'), Content_Encoding="gzip", X_Y="z"))
    response = await internet.client().request("GET", A, EVENT)
    assert (response.status, response.headers["x-y"]) == (201, "z")
    assert (response.body, response.json()) == (b'{"a":1}', {"a": 1})


def chunked(pieces: int) -> Respond:
    async def respond(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(pieces):
            writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    return respond


@pytest.mark.parametrize(
    "respond",
    [
        http(body=b"x" * 2000),
        http(body=gzip.compress(b"x" * 2000), Content_Encoding="gzip"),
        chunked(2),
    ],
)
async def test_an_answer_that_is_too_large(internet: Internet, respond: Respond | bytes) -> None:
    await serve(internet, respond)
    client = internet.client()
    assert len((await client.request("GET", A, EVENT)).body) >= 2000
    with pytest.raises(ResponseTooLargeError):
        await client.get_json(A, EVENT, limits=Limits(body=1999))


async def test_a_bomb(internet: Internet) -> None:
    bomb = gzip.compress(b" " * 10_000_000)
    assert len(bomb) < 10_000
    await serve(internet, http(body=bomb, Content_Encoding="gzip"))
    with pytest.raises(ResponseTooLargeError):
        await internet.client(limits=Limits(body=1_000_000)).get_json(A, EVENT)


async def drip(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Never silent and never done."""
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1\r\n \r\n")
        await writer.drain()
        await asyncio.sleep(0)


async def informational(seen: Seen, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0)


@pytest.mark.parametrize("respond", [drip, informational])
async def test_an_answer_without_end(internet: Internet, respond: Respond) -> None:
    await serve(internet, respond)
    limits = Limits(total=0.06, idle=0.05)
    with pytest.raises(TransportError, match="within"):
        await internet.client(limits=limits).get_json(A, EVENT)


async def test_cancelling(internet: Internet) -> None:
    reached = asyncio.Event()

    async def respond(seen: Seen, writer: asyncio.StreamWriter) -> None:
        reached.set()
        await asyncio.Event().wait()

    await serve(internet, respond)
    request = asyncio.create_task(internet.client().get_json(A, EVENT))
    await reached.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request


async def test_a_stream_comes_in_pieces(internet: Internet) -> None:
    """The second piece is sent only when the first has been read."""
    read = asyncio.Event()

    async def respond(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none")
        await read.wait()
        writer.write(b"two")

    await serve(internet, respond)
    pieces = []
    async with internet.client().stream("GET", A, EVENT) as reply:
        assert reply.status == 200
        async for chunk in reply.chunks:
            pieces.append(chunk)
            read.set()
    assert pieces == [b"one", b"two"]


async def sizes(client: FederationClient, seen: list[int]) -> None:
    """Read a stream of at most a megabyte, and write down the sizes of its pieces."""
    async with client.stream("GET", A, EVENT, limits=Limits(body=1_000_000)) as reply:
        async for chunk in reply.chunks:
            seen.append(len(chunk))  # noqa: PERF401 - what was read before a failure counts


async def test_a_stream_ends_at_its_limit(internet: Internet) -> None:
    await serve(internet, chunked(5000))
    seen: list[int] = []
    with pytest.raises(ResponseTooLargeError):
        await sizes(internet.client(), seen)
    assert 0 < sum(seen) <= 1_000_000


async def test_a_stream_that_fails_is_an_error(internet: Internet) -> None:
    await serve(internet, http(404, b'{"errcode": "M_NOT_FOUND"}'))
    with pytest.raises(HttpError, match="M_NOT_FOUND"):
        await sizes(internet.client(), [])


async def test_the_time_of_a_stream_includes_its_reader(internet: Internet) -> None:
    await serve(internet)
    with pytest.raises(TransportError, match="within"):
        async with internet.client().stream("GET", A, EVENT, limits=Limits(total=0.05)):
            await asyncio.Event().wait()
