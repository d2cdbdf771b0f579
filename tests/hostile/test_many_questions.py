"""A server that asks without end, and one that is not who it was.

https://spec.matrix.org/v1.19/server-server-api/
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import aiohttp
import pytest

from federation.identifiers import EventID, RoomID, ServerName
from federation.signing import SigningKey
from homeserver.config.settings import RateLimits
from homeserver.config.values import Rate
from homeserver.http.dispatch import SERVER_AT_ONCE, SERVER_WAITING
from homeserver.rooms.resident import Resident
from tests.database import Server
from tests.federation.net.loopback import Authority
from tests.hostile.asking import ask, ask_with, signature
from tests.hostile.harm import unharmed
from tests.server_server.answering import peering
from tests.server_server.conftest import V3, Scene
from tests.server_server.peer import V1, Peer
from tests.servers import federating

FEW = 40


@pytest.fixture
async def limited(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> AsyncIterator[tuple[Scene, Peer]]:
    """A server that is asked a little, a peer in a room of it, and another peer there."""
    limits = RateLimits(federation_requests=Rate.parse(f"{FEW}/1h"))
    async with (
        federating(postgres, tmp_path, loopback_authority, rate_limits=limits) as hearth,
        peering(hearth, loopback_authority) as peer,
        peering(hearth, loopback_authority) as other,
    ):
        ann = await hearth.user("ann")
        wish = {"preset": "public_chat", "room_version": "11"}
        made = RoomID((await ann.post(f"{V3}/createRoom", wish)).ok()["room_id"])
        room = await peer.join(made, peer.user("eve"))
        await other.join(made, other.user("sam"))
        yield Scene(hearth, peer, ann, room), other


def questions(scene: Scene) -> list[tuple[str, str, bytes | None]]:
    """All that a server can ask again and again, each once."""
    room_id, tip = scene.room.room_id, scene.room.tips[0].event_id
    mallory = scene.peer.user("mallory")
    missing = {"earliest_events": [], "latest_events": [tip], "limit": 10}
    return [
        ("GET", f"{V1}/make_join/{room_id}/{mallory}?ver=11", None),
        ("GET", f"{V1}/make_knock/{room_id}/{mallory}?ver=11", None),
        ("GET", f"{V1}/make_leave/{room_id}/{mallory}", None),
        ("GET", f"{V1}/backfill/{room_id}?v={tip}&limit=100", None),
        ("POST", f"{V1}/get_missing_events/{room_id}", json.dumps(missing).encode()),
        ("GET", f"{V1}/state/{room_id}?event_id={tip}", None),
        ("GET", f"{V1}/state_ids/{room_id}?event_id={tip}", None),
        ("GET", f"{V1}/event_auth/{room_id}/{tip}", None),
        ("GET", f"{V1}/event/{tip}", None),
        ("GET", f"{V1}/timestamp_to_event/{room_id}?ts=5&dir=f", None),
        ("GET", f"{V1}/hierarchy/{room_id}", None),
        ("GET", f"{V1}/query/profile?user_id={scene.ann.user_id}", None),
        ("GET", f"{V1}/query/directory?room_alias=%23tea:{scene.hearth.name}", None),
        ("GET", f"{V1}/user/devices/{scene.ann.user_id}", None),
        ("POST", f"{V1}/user/keys/query", json.dumps({"device_keys": {}}).encode()),
        ("POST", f"{V1}/user/keys/claim", json.dumps({"one_time_keys": {}}).encode()),
        ("GET", f"{V1}/media/download/nothing", None),
        ("GET", f"{V1}/publicRooms", None),
        ("PUT", f"{V1}/send/x", b'{"pdus": [], "edus": []}'),
    ]


async def test_a_server_that_asks_without_end(limited: tuple[Scene, Peer]) -> None:
    """Whatever it asks for, it is told to wait; others and people here notice nothing."""
    scene, other = limited
    asked = questions(scene)
    async with unharmed(scene):
        statuses = [
            (await ask(scene.peer, *asked[number % len(asked)])).status for number in range(FEW)
        ]
        assert 429 not in statuses[: len(asked)]
        assert 500 not in statuses
        for question in asked:
            late = await ask(scene.peer, *question)
            assert (late.status, late.errcode) == (429, "M_LIMIT_EXCEEDED"), question
            assert late.json["retry_after_ms"] > 0
            assert int(late.headers["Retry-After"]) > 0
        for question in asked:
            assert (await ask(other, *question)).status not in {429, 500}, question


async def test_many_questions_at_once(
    scene: Scene, loopback_authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only so many are worked on, so many wait, and the rest is sent away; nobody else waits."""
    peer, going_on, found, under_way = scene.peer, asyncio.Event(), Resident.event, 0

    async def slow(self: Resident, origin: ServerName, event_id: EventID) -> bytes:
        nonlocal under_way
        if origin == peer.name:
            under_way += 1
            await going_on.wait()
        return await found(self, origin, event_id)

    monkeypatch.setattr(Resident, "event", slow)
    target, more = f"{V1}/event/{scene.room.tips[0].event_id}", 30
    connector = aiohttp.TCPConnector(ssl=False, limit=0)
    async with (
        peering(scene.hearth, loopback_authority) as other,
        aiohttp.ClientSession(connector=connector) as session,
        asyncio.timeout(60),
    ):
        await other.join(scene.room.room_id, other.user("sam"))
        flooding = replace(peer, session=session)
        async with unharmed(scene):
            flood = [
                asyncio.create_task(ask(flooding, "GET", target))
                for _ in range(SERVER_AT_ONCE + SERVER_WAITING + more)
            ]
            sent_away = [await one for one in islice(asyncio.as_completed(flood), more)]
            assert {one.errcode for one in sent_away} == {"M_LIMIT_EXCEEDED"}
            assert (await ask(other, "GET", target)).status == 200
            await scene.say("meanwhile")
            assert under_way == SERVER_AT_ONCE
        going_on.set()
        statuses = [answer.status for answer in await asyncio.gather(*flood)]
    assert statuses.count(200) == SERVER_AT_ONCE + SERVER_WAITING


async def test_another_key_under_the_same_name(scene: Scene, loopback_authority: Authority) -> None:
    """Whoever took over a server's name cannot speak for it while the key that we know is valid."""
    peer, eve, true_key = scene.peer, scene.peer.user("eve"), scene.peer.key
    assert await peer.send([]) == {}
    before = len(peer.asked)
    async with peering(scene.hearth, loopback_authority) as other, unharmed(scene):
        peer.key = SigningKey.from_seed(true_key.key_id, b"f" * 32)
        forged = peer.say(scene.room, "forged", eve)
        for _ in range(5):
            assert (await peer.ask("GET", f"{V1}/event/$x"))[0] == 401
            results = await other.send([forged])
            assert "error" in results[forged.event_id]
        assert sum("/key/" in path for path in peer.asked[before:]) <= 2
        peer.key = true_key
        assert await peer.send([]) == {}
    true = peer.say(scene.room, "true", eve)
    assert await peer.send([true]) == {true.event_id: {}}
    assert "forged" not in await scene.texts()


async def test_a_transaction_that_somebody_else_repeats(
    scene: Scene, loopback_authority: Authority
) -> None:
    """Nothing happens again; and as their own they can repeat nothing."""
    peer, eve, ann = scene.peer, scene.peer.user("eve"), scene.ann
    event = peer.say(scene.room, "once", eve)
    message = {"sender": eve, "type": "t", "message_id": "1", "messages": {
        ann.user_id: {ann.device_id: {"body": "psst"}}}}  # fmt: skip
    edus = [{"edu_type": "m.direct_to_device", "content": message}]
    raw = json.dumps({"origin": peer.name, "origin_server_ts": 1, "edus": edus, "pdus": [
        json.loads(event.json)]}).encode()  # fmt: skip
    target, again = f"{V1}/send/captured", f"{V1}/send/another"
    headers = [("Authorization", signature(peer, "PUT", target, raw))]
    first = await ask_with(peer, "PUT", target, raw, headers)
    assert (first.status, first.json) == (200, {"pdus": {event.event_id: {}}})
    async with peering(scene.hearth, loopback_authority) as thief:
        assert (await ask_with(thief, "PUT", target, raw, headers)).json == first.json
        assert (await ask_with(thief, "PUT", again, raw, headers)).status == 401
        assert (await ask(thief, "PUT", target, raw)).status == 200, "what it signs is its own"
    # The server itself, under another name: it knows its events and messages by theirs.
    assert (await ask(peer, "PUT", again, raw)).json == first.json
    assert await scene.texts() == ["once"]
    synced = (await ann.get(f"{V3}/sync", timeout=0)).ok()
    assert [one["content"]["body"] for one in synced["to_device"]["events"]] == ["psst"]
