import asyncio
import json
from dataclasses import replace

import pytest
from multidict import CIMultiDict

from federation.identifiers import ServerName
from federation.net.transport import Limits
from federation.net.well_known import Answer, Memory, read_answer, remember
from tests.federation.net.loopback import Internet, Seen, Server, answering, http

MINUTE, HOUR = 60.0, 3600.0
NOW = 1_700_000_000.0
PUBLIC = "1.2.3.4"
DELEGATED = ServerName("matrix.a.example:443")


def pointer(name: object = DELEGATED, status: int = 200, **headers: str) -> bytes:
    return http(status, json.dumps({"m.server": name}).encode(), **headers)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b'{"m.server": "b.example"}', Answer(ServerName("b.example"))),
        (200, b'{"m.server": "b.example:1", "x": 1.5}', Answer(ServerName("b.example:1"))),
        (200, b'{"m.server": "[::1]:8448"}', Answer(ServerName("[::1]:8448"))),
        (200, b'{"m.server": "https://b.example"}', Answer(None)),
        (200, b'{"m.server": ""}', Answer(None)),
        (200, b'{"m.server": ["b.example"]}', Answer(None)),
        (200, b'{"server": "b.example"}', Answer(None)),
        (200, b'["b.example"]', Answer(None)),
        (200, b"<html>", Answer(None)),
        (200, b"\xff", Answer(None)),
        (201, b'{"m.server": "b.example"}', Answer(None)),
        (404, b'{"m.server": "b.example"}', Answer(None)),
        (429, b"{}", Answer(None, is_temporary=True)),
        (503, b'{"m.server": "b.example"}', Answer(None, is_temporary=True)),
    ],
)
def test_read_answer(status: int, body: bytes, expected: Answer) -> None:
    assert read_answer(status, {}, body, NOW) == expected
    headers = CIMultiDict({"Cache-Control": "max-age=7"})
    assert read_answer(status, headers, body, NOW) == replace(expected, lifetime=7)


@pytest.mark.parametrize(
    ("lifetime", "expected"),
    [
        (None, 24 * HOUR),
        (0.0, 5 * MINUTE),
        (10 * MINUTE, 10 * MINUTE),
        (365 * 24 * HOUR, 48 * HOUR),
    ],
)
def test_how_long_a_delegation_is_kept(lifetime: float | None, expected: float) -> None:
    before = Memory(None, NOW - 1, NOW - 1, NOW, failures=9)
    kept = remember(Answer(DELEGATED, lifetime), before, NOW)
    assert kept == Memory(DELEGATED, heard=NOW, asked=NOW, due=NOW + expected)


def test_failures_back_off_up_to_an_hour() -> None:
    memory, pauses = None, []
    for _ in range(8):
        memory = remember(Answer(None), memory, NOW)
        pauses.append((memory.due - NOW) / MINUTE)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize(("lifetime", "minutes"), [(0.0, 1), (600.0, 10), (86400.0, 60)])
def test_an_error_may_ask_to_be_kept(lifetime: float, minutes: int) -> None:
    assert remember(Answer(None, lifetime), None, NOW).due == NOW + minutes * MINUTE


@pytest.mark.parametrize(
    ("answer", "hours_later", "expected"),
    [
        (Answer(None, is_temporary=True), 25, DELEGATED),
        (Answer(None, is_temporary=True), 71, DELEGATED),
        (Answer(None, is_temporary=True), 73, None),
        (Answer(None), 25, None),  # a 404 takes the delegation back at once
    ],
)
def test_who_is_silent_keeps_the_delegation_for_a_while(
    answer: Answer, hours_later: float, expected: str | None
) -> None:
    known = remember(Answer(DELEGATED), None, NOW)
    later = NOW + hours_later * HOUR
    memory = remember(answer, known, later)
    assert memory.delegated == expected
    assert memory.due == later + MINUTE


async def test_asked_once_until_it_is_due(internet: Internet) -> None:
    internet.dns.hosts["a.example"] = [[PUBLIC]]
    responses = answering(
        pointer("one.example", Cache_Control="max-age=600"),
        pointer("two.example", Expires="Tue, 14 Nov 2023 22:53:20 GMT"),
        pointer("three.example", Content_Type="text/plain"),
    )
    server = await internet.serve("a.example", PUBLIC, 443, responses)
    well_known = internet.well_known()
    found = []
    for passed in (0, 599, 2, 1797, 3000, 86000, 86401):
        internet.clock.now += passed
        found.append(await well_known.find("A.example" if passed % 2 else "a.example"))
    one, two, three = "one.example", "two.example", "three.example"
    assert found == [one, one, two, two, three, three, three]
    assert len(server.seen) == 4
    first = server.seen[0]
    assert (first.method, first.target) == ("GET", "/.well-known/matrix/server")
    assert (first.headers["host"], first.sni) == ("a.example", "a.example")
    assert first.headers["user-agent"] == "Hearth"
    assert "authorization" not in first.headers


async def test_a_failure_is_remembered_too(internet: Internet) -> None:
    internet.dns.hosts["a.example"] = [[PUBLIC]]
    server = await internet.serve("a.example", PUBLIC, 443, answering(http(404), pointer()))
    well_known = internet.well_known()
    assert await well_known.find("a.example") is None
    internet.clock.now += 59
    assert await well_known.find("a.example") is None
    assert len(server.seen) == 1
    internet.clock.now += 2
    assert await well_known.find("a.example") == DELEGATED


async def test_find_again_asks_anew_once_the_answer_has_some_age(internet: Internet) -> None:
    internet.dns.hosts["a.example"] = [[PUBLIC]]
    await internet.serve(
        "a.example", PUBLIC, 443, answering(pointer("one.example"), pointer("two.example"))
    )
    well_known = internet.well_known()
    assert await well_known.find_again("a.example", 300) == "one.example"
    internet.clock.now += 299
    assert await well_known.find_again("a.example", 300) == "one.example"
    internet.clock.now += 2
    assert await well_known.find_again("a.example", 300) == "two.example"
    assert await well_known.find("a.example") == "two.example"


class Gate:
    """Answers once it is opened."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        self.reached.set()
        await self.opened.wait()
        writer.write(pointer())


async def test_all_who_ask_at_once_share_one_request(internet: Internet) -> None:
    """The first one gives up; the others get the answer nevertheless."""
    gate = Gate()
    internet.dns.hosts["a.example"] = [[PUBLIC]]
    server = await internet.serve("a.example", PUBLIC, 443, gate)
    well_known = internet.well_known()
    first, *others = (asyncio.create_task(well_known.find("a.example")) for _ in range(10))
    await gate.reached.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gate.opened.set()
    assert await asyncio.gather(*others) == [DELEGATED] * 9
    assert len(server.seen) == 1


async def test_closing_ends_the_looks_under_way(internet: Internet) -> None:
    gate = Gate()
    internet.dns.hosts["a.example"] = [[PUBLIC]]
    await internet.serve("a.example", PUBLIC, 443, gate)
    well_known = internet.well_known()
    asker = asyncio.create_task(well_known.find("a.example"))
    await gate.reached.wait()
    await well_known.close()
    with pytest.raises(asyncio.CancelledError):
        await asker


async def test_the_memory_is_bounded(internet: Internet) -> None:
    internet.dns.hosts = {host: [[PUBLIC]] for host in ("a.example", "b.example", "c.example")}
    server = await internet.serve(("a.example", "b.example", "c.example"), PUBLIC, 443, pointer())
    well_known = internet.well_known(size=2)
    for host in ("a.example", "b.example", "a.example", "c.example", "a.example", "b.example"):
        await well_known.find(host)
    assert [seen.headers["host"] for seen in server.seen] == [
        "a.example",
        "b.example",
        "c.example",
        "b.example",
    ]


async def redirecting(internet: Internet, *responses: bytes) -> Server:
    internet.dns.hosts["a.example"] = [[PUBLIC]]
    return await internet.serve("a.example", PUBLIC, 443, answering(*responses))


@pytest.mark.parametrize(
    ("location", "host", "target"),
    [
        ("https://B.example/x%2e?y=%2Fz#part", "b.example", "/x%2e?y=%2Fz"),
        ("//b.example:444/x", "b.example:444", "/x"),
        ("/elsewhere", "a.example", "/elsewhere"),
        ("server.json", "a.example", "/.well-known/matrix/server.json"),
    ],
)
async def test_a_redirect_is_followed(
    internet: Internet, location: str, host: str, target: str
) -> None:
    internet.dns.hosts["b.example"] = [["5.6.7.8"]]
    first = await redirecting(internet, http(302, Location=location), pointer())
    second = await internet.serve("b.example", "5.6.7.8", 443, pointer())
    internet.routes["5.6.7.8", 444] = second.port
    assert await internet.well_known().find("a.example") == DELEGATED
    last = (second.seen or first.seen)[-1]
    assert (last.headers["host"], last.target) == (host, target)


@pytest.mark.parametrize(("redirects", "expected"), [(10, DELEGATED), (11, None)])
async def test_ten_redirects_are_enough(
    internet: Internet, redirects: int, expected: str | None
) -> None:
    hops = [http(307, Location=f"/{number}") for number in range(redirects)]
    server = await redirecting(internet, *hops, pointer())
    assert await internet.well_known().find("a.example") == expected
    assert len(server.seen) == 11


@pytest.mark.parametrize(
    "location",
    [
        "/.well-known/matrix/server",  # in a circle
        "http://a.example/",
        "https://user:secret@a.example/",
        "https:///",
        "ftp://a.example/",
        "https://a.example:99999/",
        "https://[::1/",
        "https://a..example/",
        "https://" + "b" * 70 + ".example/",
        "",
    ],
)
async def test_a_redirect_that_leads_nowhere(internet: Internet, location: str) -> None:
    server = await redirecting(internet, http(301, Location=location), pointer())
    assert await internet.well_known().find("a.example") is None
    assert len(server.seen) == 1
    assert set(internet.dialled) == {(PUBLIC, 443)}


@pytest.mark.parametrize("location", ["https://127.0.0.1/", "https://[::1]/", "https://in.example"])
async def test_a_redirect_to_a_private_address(internet: Internet, location: str) -> None:
    internet.dns.hosts["in.example"] = [["10.0.0.1"]]
    await redirecting(internet, http(302, Location=location), pointer())
    assert await internet.well_known().find("a.example") is None
    assert internet.dialled == [(PUBLIC, 443)]


@pytest.mark.parametrize(
    ("padding", "expected"), [(50 * 1024 - 40, DELEGATED), (50 * 1024 + 1, None)]
)
async def test_a_giant_is_not_read(internet: Internet, padding: int, expected: str | None) -> None:
    internet.dns.hosts["a.example"] = [[PUBLIC]]
    body = json.dumps({"m.server": DELEGATED}).encode() + b" " * padding
    await internet.serve("a.example", PUBLIC, 443, http(200, body))
    assert await internet.well_known().find("a.example") == expected


async def test_a_slow_server_is_not_waited_for(internet: Internet) -> None:
    internet.dns.hosts["a.example"] = [[PUBLIC]]
    await internet.serve("a.example", PUBLIC, 443, Gate())
    well_known = internet.well_known(limits=Limits(total=0.05))
    assert await well_known.find("a.example") is None
