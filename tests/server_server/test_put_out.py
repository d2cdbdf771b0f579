"""The last one of a server is put out of a room, just when something else is said there.

What was said before that, nobody sends to a server that is not in the room any more.

https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
"""

from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web

from federation.identifiers import UserID
from tests.server_server.conftest import V3, Scene
from tests.server_server.peer import V1, Peer, Room
from tests.servers import Client, Hearth, eventually

Pair = tuple[Hearth, Hearth]


async def _is_out(user: Client, room_id: str) -> bool:
    lists = '{"room": {"include_leave": true}}'
    rooms = (await user.get(f"{V3}/sync", timeout=0, filter=lists)).ok()["rooms"]
    return room_id in rooms.get("leave", {})


async def test_who_is_put_out_learns_of_it(pair: Pair) -> None:
    one, other = pair
    ann, zoe = await one.user("ann"), await other.user("zoe")
    room = (await ann.post(f"{V3}/createRoom", {"preset": "public_chat"})).ok()["room_id"]
    path = f"{V3}/rooms/{room}"
    (await zoe.post(f"{V3}/join/{room}", server_name=one.name)).ok()

    async def is_whole() -> bool:
        return len((await zoe.get(f"{path}/joined_members")).ok()["joined"]) == 2

    await eventually(is_whole)
    sending = one.parts.federating.sending
    async with sending._queueing:  # others are told a moment later, of all that happened
        for number in (1, 2):
            said = {"msgtype": "m.text", "body": f"out with you {number}"}
            (await ann.put(f"{path}/send/m.room.message/{number}", said)).ok()
        (await ann.post(f"{path}/kick", {"user_id": zoe.user_id})).ok()
    await eventually(lambda: _is_out(zoe, room))
    page = (await zoe.get(f"{path}/messages", dir="b", limit=2)).ok()["chunk"]
    assert [event["content"] for event in page] == [{"membership": "leave"}, said]


async def _missing(scene: Scene, latest: str) -> tuple[int, list[str]]:
    body = {"latest_events": [latest], "earliest_events": [], "limit": 3}
    path = f"{V1}/get_missing_events/{quote(scene.room.room_id)}"
    status, answer = await scene.peer.ask("POST", path, body)
    return status, [event["content"].get("body") for event in answer.get("events", [])]


async def _state(scene: Scene, event_id: str) -> int:
    room = quote(scene.room.room_id)
    path = f"{V1}/state_ids/{room}?event_id={quote(event_id)}"
    return (await scene.peer.ask("GET", path))[0]


async def test_what_a_server_is_told_that_was_in_the_room(scene: Scene) -> None:
    """Up to where it was put out; and nothing if it may not speak there."""
    ann, eve = scene.ann, scene.peer.user("eve")
    early = await scene.say("early")
    (await ann.post(f"{scene.path}/kick", {"user_id": eve})).ok()
    kicked = (await ann.get(f"{scene.path}/messages", dir="b", limit=1)).ok()["chunk"][0]
    late, later = await scene.say("late"), await scene.say("later")
    assert await _missing(scene, kicked["event_id"]) == (200, [None, None, "early"])
    assert [await _state(scene, one) for one in (early, kicked["event_id"])] == [200, 200]
    for event_id in (late, later, "$unknown:x.test"):
        assert await _missing(scene, event_id) == (403, [])
        assert await _state(scene, event_id) == 403
    denied = {"allow": ["*"], "deny": [scene.peer.name.partition(":")[0]]}
    (await ann.put(f"{scene.path}/state/m.room.server_acl", denied)).ok()
    assert await _missing(scene, kicked["event_id"]) == (403, [])
    assert await _state(scene, kicked["event_id"]) == 403


def _closed(_: Any) -> web.Response:
    return web.json_response({"errcode": "M_FORBIDDEN", "error": "not in the room"}, status=403)


async def _put_out(peer: Peer, room: Room, user_id: UserID, sender: UserID) -> dict[str, Any]:
    """After something that nobody tells."""
    lost = peer.say(room, "lost", peer.user("olga"))
    room.add(lost)
    del peer.known[lost.event_id]
    content = {"membership": "leave"}
    event = peer.make(room, "m.room.member", content, sender, user_id)
    for what in ("get_missing_events", "state_ids", "state"):
        peer.lies[what] = _closed
    return dict((await peer.send([event]))[event.event_id])


@pytest.mark.parametrize("may", [True, False])
async def test_who_puts_out_tells_nothing_else(federated: tuple[Hearth, Peer], may: bool) -> None:
    """It is believed if whoever does so might, as far as the room is known."""
    hearth, peer = federated
    ann, olga, mal = await hearth.user("ann"), peer.user("olga"), peer.user("mal")
    room = peer.found(olga)
    peer.say_state(room, "m.room.member", {"membership": "join"}, mal, mal)
    (await ann.post(f"{V3}/join/{quote(room.room_id)}?via={peer.name}")).ok()
    result = await _put_out(peer, room, UserID(ann.user_id), olga if may else mal)
    assert (result == {}) is may
    assert await _is_out(ann, room.room_id) is may
