"""What sticks and comes from other servers.

https://github.com/matrix-org/matrix-spec-proposals/pull/4354
"""

from typing import Any

from tests.client_server.test_sticky_events import SHORT, sticking, synced
from tests.server_server.conftest import Scene
from tests.server_server.peer import now_ms

HOUR = 3_600_000


async def stick(scene: Scene, name: str, **more: Any) -> None:
    peer, eve = scene.peer, scene.peer.user("eve")
    wanted = {"sticky": 60_000, **more}
    event = peer.make(scene.room, "org.call", {"name": name}, eve, **wanted)
    assert await peer.send([event]) == {event.event_id: {}}


async def test_what_was_soft_failed_sticks_once_its_sender_is_there(scene: Scene) -> None:
    peer, eve = scene.peer, scene.peer.user("eve")
    (await scene.ann.post(f"{scene.path}/kick", {"user_id": eve})).ok()
    await stick(scene, "too late")
    since = (await synced(scene.ann))["next_batch"]
    assert sticking(await synced(scene.ann, filter=SHORT), scene.room.room_id) == []
    await peer.join(scene.room.room_id, eve)
    sync = await synced(scene.ann, since, filter=SHORT)
    assert sticking(sync, scene.room.room_id) == ["too late"]
    again = await synced(scene.ann, sync["next_batch"], filter=SHORT)
    assert sticking(again, scene.room.room_id) == []


async def test_how_long_it_sticks_is_not_the_senders_to_say(scene: Scene) -> None:
    await stick(scene, "long ago", now=now_ms() - 2 * HOUR, sticky=HOUR)
    await stick(scene, "for ever", sticky=HOUR + 1)
    await stick(scene, "in the future", now=now_ms() + HOUR, sticky=60_000)
    await stick(scene, "good", now=now_ms() - HOUR // 2, sticky=HOUR)
    await scene.say("last")
    sync = await synced(scene.ann, filter=SHORT)
    assert sticking(sync, scene.room.room_id) == ["in the future", "good"]
    room = sync["rooms"]["join"][scene.room.room_id]
    left = [
        e["unsigned"]["msc4354_sticky_duration_ttl_ms"] for e in room["msc4354_sticky"]["events"]
    ]
    assert 0 < left[0] <= 60_000
    assert 0 < left[1] <= HOUR // 2
