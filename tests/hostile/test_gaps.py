"""What a peer answers, or does not, where something is missing before its events.

https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
"""

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from federation.building import Place
from federation.events import Event
from federation.identifiers import RoomID
from homeserver.rooms import receiving
from tests.federation.net.loopback import Authority
from tests.hostile.asking import ask
from tests.hostile.harm import over, unharmed
from tests.server_server.answering import peering
from tests.server_server.conftest import V3, Scene
from tests.server_server.peer import V1, Room
from tests.servers import eventually


class Never(web.Response):
    """An answer that does not come until it is let go."""

    def __init__(self, released: asyncio.Event) -> None:
        super().__init__(text="{}", content_type="application/json")
        self._released = released

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        await self._released.wait()
        return await super().prepare(request)


@pytest.fixture
def released() -> Iterator[asyncio.Event]:
    """Lets go of the answers that do not come."""
    event = asyncio.Event()
    yield event
    event.set()


def orphan(scene: Scene, text: str) -> Event:
    """An event behind one that nobody has."""
    lost = scene.peer.say(scene.room, f"lost before {text}", scene.peer.user("eve"))
    del scene.peer.known[lost.event_id]
    return scene.peer.say(scene.room, text, scene.peer.user("eve"), place=over(scene, lost))


async def test_a_room_that_hangs_delays_no_other(
    scene: Scene,
    released: asyncio.Event,
    loopback_authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not of the same server, nor of others; in the end it is given up."""
    monkeypatch.setattr(receiving, "_SECONDS", 3.0)
    peer, eve = scene.peer, scene.peer.user("eve")
    other = await another_room(scene)
    for what in ("get_missing_events", "event_auth", "state_ids"):
        peer.lies[what] = lambda _: Never(released)
    whole = peer.say(scene.room, "whole", eve)
    hanging = orphan(scene, "orphan")
    waiting = asyncio.create_task(
        peer.send([hanging, whole, peer.say(other.room, "beside it", eve)])
    )
    assert await eventually(lambda: _says(other, "beside it"))
    event = peer.say(other.room, "after it", eve)
    assert await peer.send([event]) == {event.event_id: {}}
    async with peering(scene.hearth, loopback_authority) as stranger:
        joined = await stranger.join(scene.room.room_id, stranger.user("sam"))
        said = stranger.say(joined, "me too", stranger.user("sam"))
        assert await stranger.send([said]) == {said.event_id: {}}
    assert not waiting.done()
    results = await waiting
    assert results[whole.event_id] == {}
    assert "cannot be had" in results[hanging.event_id]["error"]


async def test_only_so_many_transactions_of_one_server_wait(
    scene: Scene, released: asyncio.Event, loopback_authority: Authority
) -> None:
    peer = scene.peer
    peer.lies["get_missing_events"] = lambda _: Never(released)
    orphans = [orphan(scene, f"{number}") for number in range(40)]
    sent = [asyncio.create_task(_transaction(scene, one)) for one in orphans]
    done, waiting = await asyncio.wait(sent, timeout=3)
    refused = [task.result() for task in done]
    assert len(refused) == 10
    assert all((a.status, a.errcode) == (429, "M_LIMIT_EXCEEDED") for a in refused)
    assert all(answer.json["retry_after_ms"] > 0 for answer in refused)
    # The answers to what such a transaction waits for are not among those that wait.
    assert (await ask(peer, "GET", f"{V1}/event/{scene.room.tips[0].event_id}")).status == 200
    async with peering(scene.hearth, loopback_authority) as stranger:
        assert await stranger.send([]) == {}
    released.set()
    await asyncio.gather(*waiting)


async def test_what_many_gaps_cost(scene: Scene) -> None:
    """Fifty gaps in one transaction make us ask a few times, not fifty."""
    orphans = [orphan(scene, f"{number}") for number in range(50)]
    scene.peer.hosted[scene.room.room_id] = Room(scene.room.room_id, scene.room.version, {}, [])
    async with unharmed(scene):
        await scene.peer.send(orphans)
    asked = [path.split("/")[4] for path in scene.peer.asked]
    assert asked.count("get_missing_events") <= 5
    assert asked.count("state_ids") <= 5
    assert len(asked) < 20


ANSWERS: tuple[Any, ...] = (
    [], {}, {"events": 5, "pdu_ids": 5, "auth_chain_ids": {}, "pdus": "x", "auth_chain": None},
    {"events": [None, 5, {}, []], "pdu_ids": [None, 5, "", "\0", "$\0", "x" * 5000],
     "auth_chain_ids": [[], {}], "pdus": [None, 5, {}, "x"], "auth_chain": [1, None, [[]]]},
    {"events": [{}] * 20_000, "pdu_ids": [f"${n}" for n in range(50_000)], "auth_chain_ids": [],
     "pdus": [{}] * 20_000, "auth_chain": [{}] * 20_000},
    web.Response(body=b"{" * 100_000), web.Response(body=b"\xff\xfe"), web.Response(status=204),
    web.Response(body=b'{"events": [NaN], "pdu_ids": [NaN]}'), web.Response(status=500),
    web.Response(status=302, headers={"Location": "https://169.254.169.254/latest"}),
)  # fmt: skip


async def test_answers_that_are_none(scene: Scene) -> None:
    async with unharmed(scene):
        for number, answer in enumerate(ANSWERS):
            for what in ("get_missing_events", "event_auth", "state_ids", "state", "event"):
                scene.peer.lies[what] = partial(_again, answer)
            event = orphan(scene, f"{number}")
            cited = Place(scene.room.tips, [*over(scene).auth_events[:-1], event])
            lost = scene.peer.say(scene.room, "unheard of", scene.peer.user("eve"), place=cited)
            results = await scene.peer.send([event, lost])
            assert all("error" in result for result in results.values())


def _again(answer: Any, _honest: Any) -> Any:
    """The answer once more: a response can be sent once only."""
    if isinstance(answer, web.Response):
        return web.Response(body=answer.body, status=answer.status, headers=answer.headers)
    return answer


async def another_room(scene: Scene) -> Scene:
    """A second room of the same people."""
    made = (await scene.ann.post(f"{V3}/createRoom", {"preset": "public_chat"})).ok()
    room = await scene.peer.join(RoomID(made["room_id"]), scene.peer.user("eve"))
    return scene._replace(room=room)


async def _says(scene: Scene, text: str) -> bool:
    return text in await scene.texts()


async def _transaction(scene: Scene, event: Event) -> Any:
    body = b'{"origin": "x", "origin_server_ts": 1, "pdus": [' + event.json + b"]}"
    return await ask(scene.peer, "PUT", f"{V1}/send/{event.event_id[1:]}", body)
