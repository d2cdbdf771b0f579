"""What every endpoint has in common, seen from the other end of a socket."""

import asyncio
import io
import json

import pytest

from tests.http.rig import BODY_LIMIT, PREFIX, Rig, Wire, served

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE, OPTIONS",
}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/page", 200),
        ("HEAD", "/page", 200),
        ("GET", "/stream/1", 200),
        ("GET", "/redirect", 302),
        ("GET", "/teapot", 418),
        ("GET", "/refuses", 403),
        ("GET", "/nowhere", 404),
        ("DELETE", "/page", 405),
        ("GET", "/account/whoami", 401),
        ("GET", "/late", 504),
        ("GET", "/fails", 500),
        ("POST", "/typed", 400),
        ("OPTIONS", "/page", 200),
        ("OPTIONS", "/nowhere", 200),
        ("OPTIONS", "/account/whoami", 200),
    ],
)
async def test_cors_is_everywhere(rig: Rig, method: str, path: str, status: int) -> None:
    answered = await rig.ask(method, PREFIX + path)
    assert answered.status == status
    assert CORS.items() <= dict(answered.headers).items()
    allowed = answered.headers["Access-Control-Allow-Headers"].split(", ")
    assert {"X-Requested-With", "Content-Type", "Authorization"} <= set(allowed)
    exposed = answered.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"ETag", "Retry-After"} <= set(exposed)


async def test_options_run_no_logic(rig: Rig) -> None:
    wire = await rig.connect()
    assert (await wire.ask("OPTIONS", f"{PREFIX}/sync")).body == b""
    assert (await wire.ask("OPTIONS", "*")).status == 200
    assert not rig.house.entered.is_set()


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/", 404),
        ("GET", "//", 404),
        ("GET", "/_matrix/client/v3", 404),
        ("GET", f"{PREFIX}/account/whoami/", 404),
        ("GET", f"{PREFIX}/account/whoami/more", 404),
        ("GET", f"/{PREFIX}/account/whoami", 404),
        ("GET", f"{PREFIX}/directory/room/", 404),
        ("GET", "/_matrix/client/v2/account/whoami", 404),
        ("GET", f"{PREFIX}/%61ccount/whoam%69", 401),
        ("GET", "/_synapse/admin/v1/room", 404),  # another listener's
        ("POST", f"{PREFIX}/account/whoami", 405),
        ("PATCH", f"{PREFIX}/account/whoami", 405),
        ("GET", "/_matrix/federation/v1/send/1", 405),
        ("PUT", "/_matrix/federation/v2/send/1", 404),
        ("CONNECT", "example.org:443", 404),
        ("GET", f"http://example.org{PREFIX}/account/whoami?a=b", 401),
    ],
)
async def test_unknown_paths_and_methods_come_before_authentication(
    rig: Rig, method: str, target: str, status: int
) -> None:
    answered = await rig.ask(method, target, Authorization="Bearer nobody")
    assert answered.status == status
    unknown = {401: "M_UNKNOWN_TOKEN"}.get(status, "M_UNRECOGNIZED")
    assert answered.errcode == unknown


async def test_wrong_method_names_the_right_ones(rig: Rig) -> None:
    answered = await rig.ask("DELETE", f"{PREFIX}/page")
    assert answered.headers["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize(
    "path",
    [
        f"{PREFIX}/account/whoami",
        "/_matrix/client/r0/account/whoami",
        "/_matrix/client/unstable/org.example/account/whoami",
    ],
)
async def test_other_names_of_a_path(rig: Rig, path: str) -> None:
    assert (await rig.ask("GET", path, Authorization="Bearer ann")).json == {"user_id": "ann"}


async def test_head_is_get_without_its_body(rig: Rig) -> None:
    wire = await rig.connect()
    got = await wire.ask("GET", f"{PREFIX}/page")
    head = await wire.ask("HEAD", f"{PREFIX}/page")
    assert head.headers["Content-Length"] == got.headers["Content-Length"] == "3"
    head = await wire.ask("HEAD", f"{PREFIX}/stream/2")
    assert head.headers["Content-Length"] == "131072"
    assert (await wire.ask("GET", f"{PREFIX}/page")).body == b"<p>"  # nothing was left over


@pytest.mark.parametrize(
    ("sent", "alias"),
    [
        ("%23a:example.org", "#a:example.org"),
        ("%23a%3Aexample.org", "#a:example.org"),
        ("%23a%2Fb%3aexample.org", "#a/b:example.org"),
        ("%23a%252Fb:example.org", "#a%2Fb:example.org"),
        ("%23a%25:example.org", "#a%:example.org"),
        ("%23a%zz:example.org", "#a%zz:example.org"),
        ("%23a+b:example.org", "#a+b:example.org"),
        ("%23a%20b:example.org", "#a b:example.org"),
        ("%23%C3%A9:example.org", "#é:example.org"),
        ("%23\xc3\xa9:example.org", None),  # UTF-8 that should have been encoded
        ("%23%C3:example.org", None),
        ("%23\xff:example.org", None),
        ("%23%ED%A0%80:example.org", None),
        ("%23a%00:example.org", None),
        ("%40a:example.org", None),
        ("%23a", None),
        ("%23" + "a" * 300 + ":example.org", None),
    ],
)
async def test_parameters_are_decoded_once(rig: Rig, sent: str, alias: str | None) -> None:
    answered = await rig.ask("GET", f"{PREFIX}/directory/room/{sent}")
    if alias is None:
        assert answered.status == 400
    else:
        assert answered.json == {"alias": alias}


@pytest.mark.parametrize(
    ("rest", "key"),
    [("/m.room.name", ""), ("/m.room.name/", ""), ("/m.x/a%2Fb", "a/b"), ("/m.x/%40a:b", "@a:b")],
)
async def test_a_missing_state_key_is_empty(rig: Rig, rest: str, key: str) -> None:
    answered = await rig.ask("PUT", f"{PREFIX}/rooms/!r:h/state{rest}", b"{}")
    kind = rest.split("/")[1]
    assert answered.json == {"roomId": "!r:h", "eventType": kind, "stateKey": key, "body": {}}


@pytest.mark.parametrize("rest", ["", "global/", "global/override/a%2Fb", "a//b"])
async def test_a_tail_is_as_it_was_sent(rig: Rig, rest: str) -> None:
    assert (await rig.ask("GET", f"{PREFIX}/pushrules/{rest}")).json == {"rest": rest}
    assert (await rig.ask("GET", f"{PREFIX}/pushrules")).status == 404


GOOD, NOT_JSON, BAD_JSON = "", "M_NOT_JSON", "M_BAD_JSON"
INVALID, MISSING = "M_INVALID_PARAM", "M_MISSING_PARAM"


def nested(levels: int) -> bytes:
    return b'{"text":"a","about":' + b'{"a":' * levels + b"1" + b"}" * levels + b"}"


@pytest.mark.parametrize(
    ("body", "typed", "raw"),
    [
        (b"", NOT_JSON, NOT_JSON),
        (b" ", NOT_JSON, NOT_JSON),
        (b"{", NOT_JSON, NOT_JSON),
        (b"{}{}", NOT_JSON, NOT_JSON),
        (b"text=a", NOT_JSON, NOT_JSON),
        (b"\xff", NOT_JSON, NOT_JSON),
        (b'{"text":"\xff"}', NOT_JSON, NOT_JSON),
        (b'{"text":"\xed\xa0\x80"}', NOT_JSON, NOT_JSON),
        (b'\xef\xbb\xbf{"text":"a"}', NOT_JSON, NOT_JSON),
        ('{"text":"a"}'.encode("utf-16"), NOT_JSON, NOT_JSON),
        (b'{"text":"\\ud800"}', NOT_JSON, NOT_JSON),
        (b'{"text":"a","extra":NaN}', NOT_JSON, NOT_JSON),
        (b'{"text":"a","extra":-Infinity}', NOT_JSON, NOT_JSON),
        (b"NaN", NOT_JSON, NOT_JSON),
        (b"[]", BAD_JSON, BAD_JSON),
        (b"null", BAD_JSON, BAD_JSON),
        (b'"text"', BAD_JSON, BAD_JSON),
        (b"1", BAD_JSON, BAD_JSON),
        (b"{}", MISSING, GOOD),
        (b'{"text":null}', BAD_JSON, GOOD),
        (b'{"text":1}', BAD_JSON, GOOD),
        (b'{"text":["a"]}', BAD_JSON, GOOD),
        (b'{"text":"a","count":"1"}', BAD_JSON, GOOD),
        (b'{"text":"a","count":1.5}', BAD_JSON, GOOD),
        (b'{"text":"a","count":true}', BAD_JSON, GOOD),
        (b'{"text":"a","count":%d}' % 2**70, BAD_JSON, GOOD),
        (b'{"text":"a","count":' + b"9" * 5000 + b"}", NOT_JSON, NOT_JSON),
        (b'{"text":"a","count":-1}', INVALID, GOOD),
        (b'{"text":"a","preset":"none"}', INVALID, GOOD),
        (b'{"text":"a","about":[]}', BAD_JSON, GOOD),
        (b'{"text":"a","unknown":{"a":[1.5]}}', GOOD, GOOD),
        (b'{"text":"\\u0000"}', GOOD, GOOD),
        (b'{"text":"\\ud83d\\ude00"}', GOOD, GOOD),
        (nested(200), GOOD, GOOD),
        (nested(400), GOOD, GOOD),
        (nested(600), BAD_JSON, BAD_JSON),
        (nested(9000), NOT_JSON, NOT_JSON),
        (b"[" * 50_000, NOT_JSON, NOT_JSON),
        (b'{"text":"' + b"a" * BODY_LIMIT + b'"}', "M_TOO_LARGE", "M_TOO_LARGE"),
        (b" " * 10_000_000, "M_TOO_LARGE", "M_TOO_LARGE"),
    ],
)
async def test_bodies(rig: Rig, body: bytes, typed: str, raw: str) -> None:
    for path, errcode in (("typed", typed), ("raw", raw)):
        answered = await rig.ask("POST", f"{PREFIX}/{path}", body, Content_Type="text/plain")
        if errcode:
            assert answered.errcode == errcode
            assert answered.status == (413 if errcode == "M_TOO_LARGE" else 400)
        else:
            assert answered.status == 200
            given = json.loads(body)
            expected = {"text": given.get("text"), "about": given.get("about", {})}
            assert answered.json == (given if path == "raw" else expected)


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        ("optional", None, {"reason": None}),
        ("optional", b"", {"reason": None}),
        ("optional", b'{"reason":"r"}', {"reason": "r"}),
        ("absent", None, {"absent": True}),
        ("absent", b"{}", {"absent": False}),
        ("bytes", b"\xff\xff", {"length": 2}),
        ("bytes", None, {"length": 0}),
    ],
)
async def test_bodies_that_may_be_empty(
    rig: Rig, path: str, body: bytes | None, answer: object
) -> None:
    assert (await rig.ask("POST", f"{PREFIX}/{path}", body)).json == answer


async def test_absent_is_not_null(rig: Rig) -> None:
    assert (await rig.ask("POST", f"{PREFIX}/absent", b"null")).errcode == "M_BAD_JSON"


@pytest.mark.parametrize("body", [b'{"a":1.5}', b'{"a":%d}' % 2**53, b'{"a":[1e3]}'])
async def test_events_must_be_canonical(rig: Rig, body: bytes) -> None:
    path = f"{PREFIX}/rooms/!r:h/state/m.x"
    assert (await rig.ask("PUT", path, body)).errcode == "M_BAD_JSON"


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("", [10, "f", False, [], None]),
        ("limit=5&dir=b&full=true&since=s%2B1+2", [5, "b", True, [], "s+1 2"]),
        ("via=a&via=b%26c&via=", [10, "f", False, ["a", "b&c", ""], None]),
        ("limit=5&limit=6&unknown=x&access_token=t", [5, "f", False, [], None]),
        ("since=", [10, "f", False, [], ""]),
        ("since=null", [10, "f", False, [], "null"]),
        ("limit", "M_INVALID_PARAM"),
        ("limit=x", "M_INVALID_PARAM"),
        ("limit=-1", "M_INVALID_PARAM"),
        ("limit=" + "9" * 5000, "M_INVALID_PARAM"),
        ("dir=up", "M_INVALID_PARAM"),
        ("full=maybe", "M_INVALID_PARAM"),
        ("since=%ff", "M_INVALID_PARAM"),
        ("since=\xff", "M_UNKNOWN"),  # not HTTP
        ("&".join(["via=a"] * 1001), "M_INVALID_PARAM"),
    ],
)
async def test_queries(rig: Rig, query: str, answer: object) -> None:
    answered = await rig.ask("GET", f"{PREFIX}/query?{query}")
    assert (answered.errcode if isinstance(answer, str) else answered.json) == answer


async def test_a_query_that_lacks_something(rig: Rig) -> None:
    assert (await rig.ask("GET", f"{PREFIX}/needed?user=a")).errcode == "M_MISSING_PARAM"
    assert (await rig.ask("GET", f"{PREFIX}/needed?user_id=a")).json == {"user": "a"}


@pytest.mark.parametrize(
    ("path", "header", "token", "status", "answer"),
    [
        ("account/whoami", "", "", 401, "M_MISSING_TOKEN"),
        ("account/whoami", "Bearer ", "", 401, "M_MISSING_TOKEN"),
        ("account/whoami", "Basic YQ==", "", 401, "M_MISSING_TOKEN"),
        ("account/whoami", "Bearer nobody", "", 401, "M_UNKNOWN_TOKEN"),
        ("account/whoami", "Bearer nobody", "ann", 401, "M_UNKNOWN_TOKEN"),  # the header first
        ("account/whoami", "Bearer ann", "nobody", 200, "ann"),
        ("account/whoami", "bearer  ann", "", 200, "ann"),
        ("account/whoami", "", "ann", 200, "ann"),
        ("account/whoami", "Bearer guest", "", 403, "M_GUEST_ACCESS_FORBIDDEN"),
        ("guests", "Bearer guest", "", 200, "guest"),
        ("anybody", "", "", 200, None),
        ("anybody", "Bearer ann", "", 200, "ann"),
        ("anybody", "Bearer nobody", "", 401, "M_UNKNOWN_TOKEN"),
    ],
)
async def test_who_asks(
    rig: Rig, path: str, header: str, token: str, status: int, answer: str | None
) -> None:
    query = f"?access_token={token}" if token else ""
    headers = {"Authorization": header} if header else {}
    answered = await rig.ask("GET", f"{PREFIX}/{path}{query}", None, **headers)
    assert answered.status == status
    assert (answered.json["user_id"] if status == 200 else answered.errcode) == answer


async def test_tokens_in_queries_can_be_switched_off() -> None:
    async with served(query_token=False) as rig:
        answered = await rig.ask("GET", f"{PREFIX}/account/whoami?access_token=ann")
        assert answered.errcode == "M_MISSING_TOKEN"


async def test_other_kinds_of_callers() -> None:
    async with served(serves=("client", "admin")) as rig:
        for token, status in (("ann", 403), ("admin", 200)):
            bearer = f"Bearer {token}"
            answered = await rig.ask("GET", "/_synapse/admin/v1/room", Authorization=bearer)
            assert answered.status == status
        ping = "/_matrix/client/v1/appservice/irc/ping"
        assert (await rig.ask("POST", ping, Authorization="Bearer ann")).status == 401
        assert (await rig.ask("POST", ping, Authorization="Bearer bridge")).status == 200


async def test_another_server_signs_target_and_body(rig: Rig) -> None:
    target, body = "/_matrix/federation/v1/send/%311?a=%62", b'{"pdus":[]}'
    signed = f"X-Matrix {len(target) + len(body)}"
    answered = await rig.ask("PUT", target, body, Authorization=signed)
    assert answered.json == {"origin": "peer.example", "target": target, "raw": len(body)}
    assert (await rig.ask("PUT", target, body + b" ", Authorization=signed)).status == 403


async def test_bodies_of_others_are_not_looked_at_first(rig: Rig) -> None:
    """Whoever may not ask is told so, whatever they send."""
    answered = await rig.ask("PUT", f"{PREFIX}/limited/r", b"\xff", Authorization="Bearer x")
    assert answered.errcode == "M_UNKNOWN_TOKEN"


async def test_errors_have_an_id_that_is_in_the_log(rig: Rig, logged: io.StringIO) -> None:
    answered = await rig.ask("GET", f"{PREFIX}/fails?access_token=secret", User_Agent="me/1")
    assert (answered.status, answered.errcode) == (500, "M_UNKNOWN")
    await rig.ask("GET", f"{PREFIX}/directory/room/%23secret:example.org")
    (line,) = logged.getvalue().splitlines()
    said = json.loads(line)
    assert said["level"] == "error"
    assert said["error_id"] == answered.json["error"].split()[-1]
    assert said["route"] == f"{PREFIX}/fails"
    assert "in fails" in said["exception"]
    assert "somebody" not in answered.body.decode()
    for private in ("secret", "somebody", "me/1", "127.0.0.1"):
        assert private not in line


@pytest.mark.parametrize(
    ("path", "status", "errcode"),
    [
        ("refuses", 403, "M_FORBIDDEN"),
        ("late", 504, "M_UNKNOWN"),
        ("timeout", 500, "M_UNKNOWN"),
        ("disconnected", 500, "M_UNKNOWN"),
    ],
)
async def test_what_a_handler_raises(rig: Rig, path: str, status: int, errcode: str) -> None:
    answered = await rig.ask("GET", f"{PREFIX}/{path}")
    assert (answered.status, answered.errcode) == (status, errcode)
    assert (f"{PREFIX}/{path}", status) in rig.observed


async def test_errors_carry_what_belongs_to_them(rig: Rig) -> None:
    answered = await rig.ask("GET", f"{PREFIX}/refuses")
    assert answered.json == {"errcode": "M_FORBIDDEN", "error": "not you", "room_version": "12"}


async def test_answers_that_are_more_than_json(rig: Rig) -> None:
    wire = await rig.connect()
    teapot = await wire.ask("GET", f"{PREFIX}/teapot")
    assert (teapot.status, teapot.headers["ETag"], teapot.body) == (
        418,
        "1",
        b'{"huge":1180591620717411303424}',
    )
    assert teapot.headers["Cache-Control"] == "public"
    page = await wire.ask("GET", f"{PREFIX}/page")
    assert page.headers["Content-Type"] == "text/html"
    away = await wire.ask("GET", f"{PREFIX}/redirect")
    assert (away.status, away.headers["Location"]) == (302, "https://example.org/")
    streamed = await wire.ask("GET", f"{PREFIX}/stream/40")
    assert len(streamed.body) == 40 * 65536
    assert rig.house.left.is_set()


async def test_nothing_is_said_of_what_we_are_made_of(rig: Rig) -> None:
    assert (await rig.ask("GET", f"{PREFIX}/page")).headers["Server"] == "Hearth"


async def test_limits(rig: Rig) -> None:
    wire = await rig.connect()

    async def send(token: str) -> int:
        target = f"{PREFIX}/limited/r"
        return (await wire.ask("PUT", target, Authorization=f"Bearer {token}")).status

    assert [await send("ann") for _ in range(3)] == [200, 200, 429]
    assert [await send("admin") for _ in range(3)] == [200, 200, 200]  # is not limited
    rig.clock.now = 4999
    assert await send("ann") == 429
    rig.clock.now = 5000
    assert [await send("ann") for _ in range(2)] == [200, 429]
    answered = await wire.ask("PUT", f"{PREFIX}/limited/r", Authorization="Bearer ann")
    assert answered.errcode == "M_LIMIT_EXCEEDED"
    assert answered.json["retry_after_ms"] == 5000
    assert answered.headers["Retry-After"] == "5"
    assert answered.headers["Access-Control-Allow-Origin"] == "*"


async def test_limits_by_room_and_by_address(rig: Rig) -> None:
    wire = await rig.connect()

    async def join(room: str, address: str) -> int:
        headers = {"Authorization": "Bearer ann", "X_Forwarded_For": address}
        return (await wire.ask("POST", f"{PREFIX}/joined/{room}", b"", **headers)).status

    assert [await join("%61", "192.0.2.1"), await join("a", "192.0.2.1")] == [200, 429]
    assert [await join(room, "192.0.2.2") for room in "bcde"] == [200, 200, 200, 429]
    assert await join("f", "192.0.2.1") == 200


async def test_limits_of_a_whole_table(rig: Rig) -> None:
    target = "/_matrix/federation/v1/send/1"
    signed = {"Authorization": f"X-Matrix {len(target) + 2}"}
    asked = [await rig.ask("PUT", target, b"{}", **signed) for _ in range(3)]
    assert [answered.status for answered in asked] == [200, 200, 429]


async def test_many_at_once(rig: Rig) -> None:
    async def one(number: int) -> bool:
        wire = await rig.connect()
        asked = [
            await wire.ask("POST", f"{PREFIX}/raw", b'{"n":%d}' % (number * 100 + turn))
            for turn in range(10)
        ]
        return [a.json["n"] for a in asked] == [number * 100 + turn for turn in range(10)]

    assert all(await asyncio.gather(*map(one, range(30))))


async def test_requests_in_one_breath(rig: Rig) -> None:
    wire = await rig.connect()
    for number in range(5):
        wire.send("POST", f"{PREFIX}/raw", b'{"n":%d}' % number)
    assert [(await wire.receive()).json["n"] for _ in range(5)] == list(range(5))


async def _chunked(wire: Wire, path: str, pieces: list[bytes]) -> None:
    wire.send("POST", path, Transfer_Encoding="chunked")
    for piece in [*pieces, b""]:
        wire.writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))


async def test_a_body_in_pieces(rig: Rig) -> None:
    wire = await rig.connect()
    await _chunked(wire, f"{PREFIX}/typed", [b'{"te', b'xt":', b'"a"}'])
    assert (await wire.receive()).json["text"] == "a"
    await _chunked(wire, f"{PREFIX}/raw", [b"a" * 50_000] * 3)
    assert (await wire.receive()).errcode == "M_TOO_LARGE"


async def test_a_body_without_an_end(rig: Rig) -> None:
    wire = await rig.connect()
    wire.send("POST", f"{PREFIX}/raw", Transfer_Encoding="chunked")
    wire.writer.write(b"%x\r\n" % 10**9 + b"a" * (BODY_LIMIT + 1))
    assert (await wire.receive()).errcode == "M_TOO_LARGE"


async def test_uploads_have_a_limit_of_their_own(rig: Rig) -> None:
    path = "/_matrix/media/r0/upload"
    answered = await rig.ask("POST", path, bytes(9 * BODY_LIMIT), Content_Type="image/png")
    assert answered.json == {"length": 9 * BODY_LIMIT, "type": "image/png"}
    assert (await rig.ask("POST", path, bytes(11 * BODY_LIMIT))).errcode == "M_TOO_LARGE"


async def test_a_large_body_is_refused_before_it_comes(rig: Rig) -> None:
    wire = await rig.connect()
    wire.send("POST", f"{PREFIX}/raw", Content_Length=str(10**12))
    assert (await wire.receive()).errcode == "M_TOO_LARGE"


async def test_whoever_asks_whether_to_go_on(rig: Rig) -> None:
    """curl does so before large bodies."""
    wire = await rig.connect()
    wire.send("POST", f"{PREFIX}/bytes", Content_Length="5", Expect="100-continue")
    assert (await wire.receive()).status == 100
    wire.writer.write(b"hello")
    assert (await wire.receive()).json == {"length": 5}
    wire.send("POST", f"{PREFIX}/raw", Content_Length="5", Expect="100-continue")
    assert (await wire.receive()).status == 100
    wire.writer.write(b"hello")
    assert (await wire.receive()).errcode == "M_NOT_JSON"
    wire.send("POST", f"{PREFIX}/bytes", Content_Length=str(10**9), Expect="100-continue")
    assert (await wire.receive()).status == 413


async def test_small_bodies_stay_small(rig: Rig) -> None:
    """No unfolding of compressed bodies."""
    answered = await rig.ask("POST", f"{PREFIX}/bytes", bytes(10), Content_Encoding="gzip")
    assert answered.json == {"length": 10}
