"""Much of what is cheap to send, and strangers in numbers.

https://spec.matrix.org/v1.19/server-server-api/#edus
"""

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

from federation.identifiers import KeyID, ServerName, UserID
from federation.net.key_ring import KeyRequest
from federation.signing import SigningKey
from homeserver.config.settings import RateLimits
from homeserver.config.values import Rate
from homeserver.ending import end
from homeserver.rooms.typing import MOST
from tests.database import Server
from tests.federation.net.loopback import Authority
from tests.hostile.asking import ask, signature
from tests.hostile.harm import unharmed
from tests.server_server.answering import peering
from tests.server_server.conftest import V3, Scene
from tests.server_server.peer import V1
from tests.servers import federating


async def statements(scene: Scene) -> int:
    """How many the server has run by now, about."""
    async with scene.hearth.parts.base.process.database.reader() as conn:
        return int(
            await conn.fetchval(
                "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
            )
        )


def typing(scene: Scene, localpart: str, *, is_typing: bool = True) -> Any:
    content = {"room_id": scene.room.room_id, "user_id": scene.peer.user(localpart)}
    return {"edu_type": "m.typing", "content": {**content, "typing": is_typing}}


async def test_many_small_things(scene: Scene) -> None:
    """Thousands of typing notifications, receipts and presences: a few transactions each."""
    peer, room_id, eve = scene.peer, scene.room.room_id, scene.peer.user("eve")
    receipt = {"data": {"ts": 1}, "event_ids": ["$unknown"]}
    floods: list[list[Any]] = [
        [typing(scene, f"nobody{n}") for n in range(99)] + [typing(scene, "eve")],
        [{"edu_type": "m.receipt", "content": {
            f"!{m}x{n}:elsewhere.test": {"m.read": {eve: receipt}} for n in range(100)}}
            for m in range(100)],
        [{"edu_type": "m.receipt", "content": {room_id: {"m.read": {
            **{f"@u{n}:{peer.name}": receipt for n in range(100)},
            scene.ann.user_id: receipt, "@x:nowhere.invalid": receipt}}}} for _ in range(100)],
        [{"edu_type": "m.presence", "content": {"push": [
            {"user_id": f"@{m}u{n}:{peer.name}", "presence": "online"} for n in range(100)]}}
            for m in range(100)],
        [{"edu_type": f"m.unknown{n}", "content": {"x": "y" * 1000}} for n in range(100)],
    ]  # fmt: skip
    async with unharmed(scene):
        before = await statements(scene)
        for edus in floods:
            async with asyncio.timeout(5):
                await peer.send([], edus)
        # PostgreSQL counts late, and what goes on beside it too.
        assert await statements(scene) - before < 400
    synced = (await scene.ann.get(f"{V3}/sync", timeout=0)).ok()
    (shown,) = synced["rooms"]["join"][room_id]["ephemeral"]["events"]
    assert shown == {"type": "m.typing", "content": {"user_ids": [eve]}}


async def test_people_here_are_seen_typing_whoever_else_does(scene: Scene) -> None:
    """Those of another server take no place from them, and only so many are shown."""
    parts, room_id = scene.hearth.parts, scene.room.room_id
    process, told = parts.base.process, parts.reading.typing
    async with process.database.reader() as conn:
        room = (await process.numbers.rooms.find(conn, [room_id]))[room_id]
    for number in range(3 * MOST):
        told._say(room, UserID(f"@a{number}:{scene.peer.name}"), process.now() + 60_000)
    assert len(told.now(room)) == MOST
    path = f"{scene.path}/typing/{scene.ann.user_id}"
    (await scene.ann.put(path, {"typing": True, "timeout": 30_000})).ok()
    assert scene.ann.user_id in told.now(room)
    assert len(told.now(room)) == MOST
    # Who types already may say so again.
    first = UserID(f"@a0:{scene.peer.name}")
    told._say(room, first, process.now() + 60_000)
    assert first in told._typing[room]


async def test_many_connections_that_say_nothing(scene: Scene) -> None:
    """Nor ones that stop in the middle of a body that is announced or chunked."""
    port = int(scene.hearth.url.rpartition(":")[2])
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
    writers = []
    target = f"{V1}/send/slow"
    header = signature(scene.peer, "PUT", target, b"{}")
    for number in range(10):
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        length = "Content-Length: 16000000" if number % 2 else "Transfer-Encoding: chunked"
        head = f"PUT {target} HTTP/1.1\r\nHost: x\r\nAuthorization: {header}\r\n{length}\r\n\r\n"
        writer.write(head.encode() + (b'{"pdus":' if number % 2 else b"400\r\n{"))
        await writer.drain()
        writers.append(writer)
    async with unharmed(scene), asyncio.timeout(5):
        assert await scene.peer.send([]) == {}
    for sock in silent:
        sock.close()
    for writer in writers:
        writer.transport.abort()


async def test_a_compressed_body_is_not_unpacked(scene: Scene) -> None:
    """A small body can unfold into a large one; nobody needs it."""
    packed, said = b"\x1f\x8b\x08\0" + b"\0" * 100, {"Content-Encoding": "gzip"}
    answer = await ask(scene.peer, "PUT", f"{V1}/send/z", packed, **said)
    assert (answer.status, answer.errcode) == (400, "M_NOT_JSON")


async def test_strangers_that_say_nothing(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> None:
    """Names of servers that take a connection and no more: somebody new is let in meanwhile."""
    with socket.create_server(("0.0.0.0", 0), backlog=200) as silent:  # noqa: S104
        port = silent.getsockname()[1]
        async with (
            federating(postgres, tmp_path, loopback_authority) as hearth,
            peering(hearth, loopback_authority) as late,
        ):
            keys = hearth.parts.federating.peers.keys
            names = [ServerName(f"127.0.0.{number}:{port}") for number in range(2, 35)]
            wanted = [KeyRequest(name, KeyID("ed25519:a"), 0) for name in names]
            asking = [asyncio.create_task(keys.get([one])) for one in wanted]
            await asyncio.sleep(0.5)
            async with asyncio.timeout(5):
                assert await late.send([]) == {}
            await end(*asking)


async def test_large_bodies_that_prove_nothing(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> None:
    """To see that a body is not signed it has to be read; that may be wished for only so often."""
    limits = RateLimits(federation_failures=Rate.parse("5/1h"))
    large = b'{"pdus": [' + b"[]," * 200_000 + b"[]]}"
    target = f"{V1}/send/large"
    async with (
        federating(postgres, tmp_path, loopback_authority, rate_limits=limits) as hearth,
        peering(hearth, loopback_authority) as known,
    ):
        assert await known.send([]) == {}
        unknown = signature(known, "PUT", target, b"{}").replace("ed25519:peer", "ed25519:none")
        answer = await ask(known, "PUT", target, b"{", Authorization=unknown)
        assert (answer.status, answer.errcode) == (401, "M_UNAUTHORIZED"), "before it is read"
        wrong = signature(known, "PUT", target, b"{}")
        answers = [await ask(known, "PUT", target, large, Authorization=wrong) for _ in range(3)]
        assert [answer.status for answer in answers] == [401, 429, 429]
        assert await known.send([]) == {}


async def test_strangers_without_number(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> None:
    """Who proves nothing makes us ask for few keys; those that we know are answered meanwhile."""
    limits = RateLimits(
        federation_failures=Rate.parse("5/1h"), federation_requests=Rate.parse("10/1h")
    )
    async with (
        federating(postgres, tmp_path, loopback_authority, rate_limits=limits) as hearth,
        peering(hearth, loopback_authority) as known,
        peering(hearth, loopback_authority) as late,
    ):
        assert await known.send([]) == {}
        wrong = SigningKey.from_seed("ed25519:other", bytes(32))
        target, answers = f"{V1}/event/$x", []
        for number in range(9):
            # Port 1 refuses at once: each of these names is asked for its keys.
            header = signature(known, "GET", target, None)
            header = header.replace(known.name, f"127.0.0.{number + 1}:1")
            answer = await ask(known, "GET", target, None, Authorization=header)
            answers.append(answer.status)
        assert answers == [401] * 5 + [429] * 4
        assert (await known.ask("GET", target, key=wrong))[0] == 429
        assert await known.send([]) == {}
        # Somebody new from the same address has to wait.
        assert (await late.ask("GET", target))[0] == 429
        assert late.asked == []
        # Who is known is limited by what it asks for, and by nothing that others do.
        statuses = [(await known.ask("GET", target))[0] for _ in range(10)]
        assert statuses == [404] * 8 + [429] * 2
