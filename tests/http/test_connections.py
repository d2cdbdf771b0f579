"""Patience with the other end of a connection, and its end."""

import asyncio
import io
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from homeserver.http.bodies import Afoot, Pace
from homeserver.http.connections import Connection, Patience
from tests.http.rig import PREFIX, Rig, Wire, served


async def until(condition: Callable[[], object]) -> None:
    """Let the server go on until something holds that it has no event for."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - no event
            await asyncio.sleep(0)


@pytest.mark.parametrize("trickle", [b"", b"{"])
@pytest.mark.parametrize("path", [f"{PREFIX}/raw", "/_matrix/media/v3/upload"])
async def test_a_body_that_does_not_come(path: str, trickle: bytes) -> None:
    async with served(pace=Pace(patience=0.05), patience=Patience(linger=0.05)) as rig:
        wire = await rig.connect()
        wire.send("POST", path, Content_Length="100")
        wire.writer.write(trickle)
        answered = await wire.receive()
        assert (answered.status, answered.errcode) == (408, "M_UNKNOWN")
        assert await wire.is_closed()


async def test_a_body_that_trickles() -> None:
    """Each byte comes in time, all of them do not."""
    async with served(pace=Pace(patience=0.1), patience=Patience(linger=0.05)) as rig:
        wire = await rig.connect()
        wire.send("POST", f"{PREFIX}/raw", Content_Length="1000")
        answer = asyncio.create_task(wire.receive())
        while not answer.done():
            wire.writer.write(b" ")
            await asyncio.wait([answer], timeout=0.02)
        assert (await answer).status == 408


async def test_bodies_that_never_end_take_only_so_much_memory() -> None:
    """Whoever begins many large bodies is sent away; others are read as before."""
    async with served(afoot=Afoot(1000, 600), patience=Patience(linger=0.05)) as rig:
        wires = [await rig.connect() for _ in range(4)]
        for wire in wires:
            wire.send("POST", f"{PREFIX}/bytes", Content_Length="1000")
            wire.writer.write(b"x" * 250)
            await wire.writer.drain()
            await asyncio.sleep(0.05)
        answers = [asyncio.create_task(wire.receive()) for wire in wires]
        done, _ = await asyncio.wait(answers, timeout=0.5)
        refused = [answer.result() for answer in done]
        assert [(a.status, a.errcode) for a in refused] == [(429, "M_LIMIT_EXCEEDED")] * 2
        for wire, answer in zip(wires, answers, strict=True):
            if not answer.done():
                wire.writer.close()
                answer.cancel()
        await asyncio.gather(*answers, return_exceptions=True)
        # What they had filled is free again.
        wire = await rig.connect()
        wire.send("POST", f"{PREFIX}/bytes", Content_Length="500")
        wire.writer.write(b"x" * 200)
        await asyncio.sleep(0.05)
        wire.writer.write(b"x" * 300)
        assert (await wire.receive()).json == {"length": 500}


def test_a_slow_body_that_comes() -> None:
    pace = Pace(patience=30, bytes_per_second=1000)
    assert (pace.allowed(0), pace.allowed(5000)) == (30, 35)


async def test_a_head_that_does_not_come(rig: Rig) -> None:
    """Byte by byte, or not at all, the time runs from the first one on."""
    loop = asyncio.get_running_loop()
    slow, idle, good = [await rig.connect() for _ in range(3)]
    await good.ask("GET", f"{PREFIX}/page")
    slow.writer.write(b"GET / HTTP/1.1\r\nHost: ")
    busy = await rig.connect()
    busy.send("GET", f"{PREFIX}/sync")
    await rig.house.entered.wait()
    await until(lambda: any(c.head_began for c in rig.connections._open if not c.busy))
    rig.connections.sweep(loop.time() + 15)
    slow.writer.write(b"x")
    await good.ask("GET", f"{PREFIX}/page")
    assert len(rig.connections._open) == 4
    rig.connections.sweep(loop.time() + 25)
    assert await slow.is_closed()
    assert len(rig.connections._open) == 3
    assert (await good.ask("GET", f"{PREFIX}/page")).status == 200
    await idle.ask("GET", f"{PREFIX}/page")


async def test_an_idle_connection_ends() -> None:
    async with served(patience=Patience(idle=0.05)) as rig:
        fresh, used = [await rig.connect() for _ in range(2)]
        await used.ask("GET", f"{PREFIX}/page")
        assert await fresh.is_closed()
        assert await used.is_closed()


async def test_whoever_does_not_read(rig: Rig) -> None:
    """What waits for them is bounded, and they are let go in the end."""
    loop = asyncio.get_running_loop()
    wire = await rig.connect(limit=1024)
    wire.send("GET", f"{PREFIX}/stream/1000")
    await until(lambda: any(connection._paused for connection in rig.connections._open))
    (connection,) = rig.connections._open
    assert connection.wire is not None
    assert connection.wire.get_write_buffer_size() < 1_000_000
    now = loop.time()
    rig.connections.sweep(now)
    rig.connections.sweep(now + 50)
    assert not rig.house.left.is_set()
    rig.connections.sweep(now + 70)
    await asyncio.wait_for(rig.house.left.wait(), 5)
    await until(lambda: not rig.connections._open)


@dataclass
class FakeWire(asyncio.Transport):
    """A transport of which only the amount that nobody took is looked at."""

    unread: int = 0

    def get_write_buffer_size(self) -> int:
        return self.unread


@pytest.mark.parametrize(
    ("looks", "past"),
    [
        ([(0, 9, False), (50, 9, False), (61, 9, False)], True),
        ([(0, 9, False), (50, 10, False), (61, 11, False)], True),  # more came, none was taken
        ([(0, 9, False), (50, 8, False), (61, 8, False)], False),
        ([(0, 9, False), (50, 9, True), (61, 9, False)], False),  # drained and filled again
        ([(0, 9, False), (50, 9, True), (111, 9, False)], True),
        ([(0, 9, False), (50, 0, False), (61, 9, False)], False),
        ([(0, 0, False), (100, 9, False)], False),
        ([(0, 9, False), (100, 0, False)], False),
    ],
)
async def test_how_long_an_answer_may_wait(
    rig: Rig, looks: list[tuple[float, int, bool]], past: bool
) -> None:
    connection = rig.connections()
    assert isinstance(connection, Connection)
    wire = connection.wire = FakeWire()
    for now, unread, drained in looks:
        wire.unread = unread
        if drained:
            connection.pause_writing()
            connection.resume_writing()
        found = connection.is_past(Patience(unread=60), now)
    assert found is past


async def test_whoever_reads_slowly_is_borne(rig: Rig) -> None:
    loop = asyncio.get_running_loop()
    wire = await rig.connect(limit=1024)
    wire.send("GET", f"{PREFIX}/stream/400")
    await wire.reader.readuntil(b"\r\n\r\n")
    for turn in range(8):
        rig.connections.sweep(loop.time() + turn * 50)
        await wire.reader.readexactly(50 * 65536)
    assert rig.house.left.is_set()


async def test_whoever_reads_and_goes_is_not_answered(rig: Rig) -> None:
    wire = await rig.connect()
    wire.send("GET", f"{PREFIX}/sync")
    await rig.house.entered.wait()
    wire.writer.transport.abort()
    await asyncio.wait_for(rig.house.left.wait(), 5)
    assert rig.observed == []


async def test_whoever_writes_and_goes_gets_their_wish(rig: Rig) -> None:
    wire = await rig.connect()
    wire.send("POST", f"{PREFIX}/stubborn", b"{}")
    await rig.house.entered.wait()
    wire.writer.transport.abort()
    await until(lambda: not rig.connections._open)
    assert not rig.house.left.is_set()
    rig.house.release.set()
    await until(lambda: rig.observed)
    assert rig.house.seen == ["written"]


async def test_whoever_goes_while_sending(rig: Rig, logged: io.StringIO) -> None:
    wire = await rig.connect()
    wire.send("POST", f"{PREFIX}/raw", Content_Length="100")
    wire.writer.write(b'{"a":')
    await until(lambda: any(connection.busy for connection in rig.connections._open))
    wire.writer.transport.abort()
    await until(lambda: rig.observed)
    assert logged.getvalue() == ""


async def test_half_an_answer_is_not_taken_for_all(rig: Rig) -> None:
    wire = await rig.connect()
    wire.send("GET", f"{PREFIX}/torn")
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await wire.receive()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),  # TLS
        (b"SSH-2.0-x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n", 400),
        (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 200 + b"\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    ],
)
async def test_what_is_not_http(rig: Rig, sent: bytes, status: int, logged: io.StringIO) -> None:
    wire = await rig.connect()
    wire.writer.write(sent)
    answered = await wire.receive()
    assert answered.status == status
    assert answered.errcode in {"M_UNKNOWN", "M_TOO_LARGE"}
    assert answered.headers["Access-Control-Allow-Origin"] == "*"
    assert await wire.is_closed()
    assert logged.getvalue() == ""


async def test_a_long_filter_in_a_query_is_fine(rig: Rig) -> None:
    answered = await rig.ask("GET", f"{PREFIX}/query?since={'a' * 20_000}")
    assert len(answered.json[4]) == 20_000


async def _end(rig: Rig, within: float) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await rig.server.stop(within)
    return loop.time() - began


async def test_the_end_of_a_long_poll() -> None:
    """It is answered with what there is, at once; idle connections close; no new ones come."""
    async with served() as rig:
        poll, idle = [await rig.connect() for _ in range(2)]
        await idle.ask("GET", f"{PREFIX}/page")
        poll.send("GET", f"{PREFIX}/sync")
        await rig.house.entered.wait()
        assert await _end(rig, 10) < 2
        answered = await poll.receive()
        assert answered.json == {"next_batch": "s1"}
        assert answered.headers["Connection"] == "close"
        assert await idle.is_closed()
        with pytest.raises(OSError):
            await rig.connect()


async def test_the_end_of_what_takes_too_long() -> None:
    async with served() as rig:
        stubborn, unread = [await rig.connect(limit=1024) for _ in range(2)]
        stubborn.send("POST", f"{PREFIX}/stubborn", b"")
        unread.send("GET", f"{PREFIX}/stream/1000")
        await rig.house.entered.wait()
        await until(lambda: any(c._paused for c in rig.connections._open))
        connections = rig.connections
        assert 0.05 < await _end(rig, 0.1) < 1
        await until(lambda: not connections._open)
        await rig.house.left.wait()
        assert rig.house.seen == []
        assert await stubborn.is_closed()
        assert await unread.is_closed()


async def test_the_end_waits_for_what_is_under_way() -> None:
    async with served() as rig:
        wire: Wire = await rig.connect()
        wire.send("POST", f"{PREFIX}/stubborn", b"")
        await rig.house.entered.wait()
        ending = asyncio.create_task(rig.server.stop(10))
        await asyncio.sleep(0)
        rig.house.release.set()
        assert (await wire.receive()).json == {}
        await ending
        assert rig.house.seen == ["written"]
