"""What is said of an entry of the state for which two servers competed."""

from federation.identifiers import RoomID
from homeserver.rooms.explaining import explain
from tests.server_server.conftest import Scene


async def test_a_fork_is_explained(scene: Scene) -> None:
    """Both set the topic without knowing of the other; then somebody joins the forks."""
    eve = scene.peer.user("eve")
    levels = {"users": {scene.ann.user_id: 100, eve: 100}}
    path = f"{scene.path}/state/m.room.power_levels"
    set_to = (await scene.ann.put(path, levels)).ok()["event_id"]
    status, answer = await scene.peer.ask("GET", f"/_matrix/federation/v1/event/{set_to}")
    assert status == 200
    scene.peer.take(scene.room, answer["pdus"][0])
    theirs = scene.peer.make(scene.room, "m.room.topic", {"topic": "Eve's"}, eve, "")
    topic = f"{scene.path}/state/m.room.topic"
    ours = (await scene.ann.put(topic, {"topic": "Ann's"})).ok()["event_id"]
    assert await scene.peer.send([theirs]) == {theirs.event_id: {}}
    process = scene.hearth.parts.base.process
    found = await explain(process, RoomID(scene.room.room_id), ("m.room.topic", ""))
    assert {one.event_id for one in found} == {ours, theirs.event_id}
    (current,) = [one for one in found if one.is_current]
    now = (await scene.ann.get(topic)).ok()["topic"]
    assert now == ("Ann's" if current.event_id == ours else "Eve's")
    (loser,) = [one for one in found if not one.is_current]
    assert "replaced by" in loser.outcome or "state resolution preferred" in loser.outcome
