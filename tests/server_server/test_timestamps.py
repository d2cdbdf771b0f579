"""The event of a room that is closest to a moment, here and as others are asked."""

import pytest

from tests.server_server.conftest import V3, Scene
from tests.server_server.peer import V1
from tests.servers import Client, Hearth

HOUR = 3_600_000


async def closest(who: Client, room: str, ts: object, direction: str) -> str | int:
    """The ID of the event, or the status."""
    path = f"/_matrix/client/v1/rooms/{room}/timestamp_to_event"
    answer = await who.get(path, ts=ts, dir=direction)
    return str(answer.json["event_id"]) if answer.status == 200 else answer.status


async def test_the_closest_in_each_direction(scene: Scene) -> None:
    peer, eve = scene.peer, scene.peer.user("eve")
    start = scene.hearth.parts.base.process.now() + HOUR
    said = []
    for number in range(4):
        said.append(peer.say(scene.room, f"{number}", eve, now=start + number * HOUR))
        scene.room.add(said[-1])
    await peer.send(said)
    room, ids = scene.room.room_id, [event.event_id for event in said]
    for ts, forwards, backwards in (
        (start, ids[0], ids[0]),
        (start + 1, ids[1], ids[0]),
        (start + 2 * HOUR - 1, ids[2], ids[1]),
        (start + 3 * HOUR + 1, 404, ids[3]),
    ):
        assert await closest(scene.ann, room, ts, "f") == forwards
        assert await closest(scene.ann, room, ts, "b") == backwards
    assert await closest(scene.ann, room, 0, "b") == 404
    status, found = await peer.ask("GET", f"{V1}/timestamp_to_event/{room}?ts={start + 1}&dir=f")
    assert (status, found) == (200, {"event_id": ids[1], "origin_server_ts": start + HOUR})


@pytest.mark.parametrize(("ts", "direction"), [("x", "f"), (-1, "f"), (2**60, "f"), (1, "x")])
async def test_bad_questions(hearth: Hearth, ts: object, direction: str) -> None:
    ann = await hearth.user("ann")
    room = (await ann.post(f"{V3}/createRoom", {})).ok()["room_id"]
    assert await closest(ann, room, ts, direction) == 400


async def test_who_may_ask(scene: Scene) -> None:
    ben = await scene.hearth.user("ben")
    (await scene.ann.put(
        f"{scene.path}/state/m.room.history_visibility", {"history_visibility": "joined"}
    )).ok()  # fmt: skip
    secret = await scene.say("secret")
    now = scene.hearth.parts.base.process.now()
    assert await closest(ben, scene.room.room_id, now, "b") == 403
    (await ben.post(f"{V3}/join/{scene.room.room_id}")).ok()
    found = await closest(ben, scene.room.room_id, now, "b")
    assert isinstance(found, str)
    assert found != secret
    stranger = "!nowhere:elsewhere"
    status, _ = await scene.peer.ask("GET", f"{V1}/timestamp_to_event/{stranger}?ts=1&dir=f")
    assert status == 404


async def test_history_that_only_another_server_has(pair: tuple[Hearth, Hearth]) -> None:
    here, there = pair
    ann, ben = await here.user("ann"), await there.user("ben")
    made = await ann.post(f"{V3}/createRoom", {"preset": "public_chat"})
    room = str(made.ok()["room_id"])
    for number in range(150):
        path = f"{V3}/rooms/{room}/send/m.room.message/{number}"
        (await ann.put(path, {"msgtype": "m.text", "body": f"{number}"})).ok()
    (await ben.post(f"{V3}/join/{room}", server_name=here.name)).ok()
    first = await closest(ben, room, 0, "f")
    assert first == await closest(ann, room, 0, "f")
    around = (await ben.get(f"{V3}/rooms/{room}/context/{first}")).ok()
    assert around["event"]["type"] == "m.room.create"
