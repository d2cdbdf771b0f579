"""Events that are not shown, and what others build on them.

https://spec.matrix.org/v1.19/server-server-api/#soft-failure
"""

from federation.building import Place
from federation.events import Event
from tests.server_server.conftest import Scene
from tests.server_server.peer import V1, Room, now_ms


async def _ends(scene: Scene) -> int:
    async with scene.hearth.parts.base.process.database.reader() as conn:
        found: int = await conn.fetchval("SELECT cardinality(extremities) FROM rooms")
    return found


async def _sent_late(scene: Scene, kind: str, state_key: str | None) -> tuple[Event, Event]:
    """What Eve's friend Dan did before he heard of his ban, and what Eve says, who heard of it.

    Eve may set what Dan may set; she builds on the ban and on what Dan did.
    """
    peer, eve, dan = scene.peer, scene.peer.user("eve"), scene.peer.user("dan")
    join = peer.make(scene.room, "m.room.member", {"membership": "join"}, dan, dan)
    assert await peer.send([join]) == {join.event_id: {}}
    scene.room.add(join)
    content = {"topic": "tea", "msgtype": "m.text", "body": "still here"}
    late = peer.make(scene.room, kind, content, dan, state_key)
    (await scene.ann.post(f"{scene.path}/ban", {"user_id": dan})).ok()
    assert await peer.send([late]) == {late.event_id: {}}
    auth = scene.room.place("m.room.message", eve, None, {}).auth_events
    return late, peer.say(scene.room, "after", eve, place=Place([late], auth))


async def test_what_builds_on_it_is_shown(scene: Scene) -> None:
    late, after = await _sent_late(scene, "m.room.message", None)
    assert await scene.texts() == []
    assert await scene.peer.send([after]) == {after.event_id: {}}
    assert await scene.texts() == ["after"]
    assert (await scene.ann.get(f"{scene.path}/event/{late.event_id}")).status == 404
    # Other servers may have it: they cannot judge what builds on it otherwise.
    status, _ = await scene.peer.ask("GET", f"{V1}/event/{late.event_id}")
    assert status == 200
    body = {"earliest_events": [], "latest_events": [after.event_id], "limit": 5}
    path = f"{V1}/get_missing_events/{scene.room.room_id}"
    _, answer = await scene.peer.ask("POST", path, body)
    assert "still here" in {event["content"].get("body") for event in answer["events"]}


async def _with_powers(scene: Scene) -> Room:
    """The room once Olga, of the peer, has all the power and Eve some."""
    peer, eve, olga = scene.peer, scene.peer.user("eve"), scene.peer.user("olga")
    await peer.join(scene.room.room_id, olga)
    levels = (await scene.ann.get(f"{scene.path}/state/m.room.power_levels")).ok()
    users = {**levels["users"], olga: 100, eve: 50}
    (
        await scene.ann.put(f"{scene.path}/state/m.room.power_levels", {**levels, "users": users})
    ).ok()
    return await peer.join(scene.room.room_id, eve)


async def test_what_it_builds_on_is_no_end_of_the_room(scene: Scene) -> None:
    """An event before one that is not shown is behind what comes after that."""
    peer, eve, olga = scene.peer, scene.peer.user("eve"), scene.peer.user("olga")
    room = await _with_powers(scene)
    auth = room.place("m.room.message", eve, None, {}).auth_events
    first = peer.say(room, "first", eve)
    silence = {**room.state[("m.room.power_levels", "")].content, "events_default": 75}
    silenced = peer.make(room, "m.room.power_levels", silence, olga, "")
    await peer.send([first, silenced])
    assert await _ends(scene) == 2
    quiet = peer.say(room, "quiet", eve, place=Place([first], auth))
    await peer.send([quiet])
    topic = peer.make(room, "m.room.topic", {}, eve, "", place=Place([quiet], auth))
    await peer.send([topic])
    assert await scene.texts() == ["first"]
    assert await _ends(scene) == 2


async def test_state_that_others_build_on_is_shown(scene: Scene) -> None:
    """Eve's topic is refused by what Ann says of topics; Olga, who read it, says otherwise."""
    peer, eve, olga = scene.peer, scene.peer.user("eve"), scene.peer.user("olga")
    room = await _with_powers(scene)
    topic = peer.make(room, "m.room.topic", {"topic": "tea"}, eve, "")
    levels = room.state[("m.room.power_levels", "")].content
    strict = {**levels, "events": {"m.room.topic": 75}}
    (await scene.ann.put(f"{scene.path}/state/m.room.power_levels", strict)).ok()
    since = (await scene.ann.get("/_matrix/client/v3/sync", timeout=0)).ok()["next_batch"]
    await peer.send([topic])
    assert (await scene.ann.get(f"{scene.path}/state/m.room.topic")).status == 404
    room.add(topic)
    later = {**levels, "events": {"m.room.topic": 50}}
    place = room.place("m.room.power_levels", olga, "", later)
    loose = peer.make(
        room, "m.room.power_levels", later, olga, "", place=place, now=now_ms() + 60_000
    )
    assert await peer.send([loose]) == {loose.event_id: {}}
    assert (await scene.ann.get(f"{scene.path}/state/m.room.topic")).ok() == {"topic": "tea"}
    sync = (await scene.ann.get("/_matrix/client/v3/sync", timeout=0, since=since)).ok()
    told = sync["rooms"]["join"][room.room_id]
    assert topic.event_id in {event["event_id"] for event in told["state"]["events"]}
