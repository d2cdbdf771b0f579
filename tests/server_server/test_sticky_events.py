"""What sticks and comes from other servers.

https://github.com/matrix-org/matrix-spec-proposals/pull/4354
"""

import json
from pathlib import Path
from typing import Any

from federation.events import Event
from federation.identifiers import RoomID
from homeserver.config.settings import RateLimits
from homeserver.config.values import Rate
from tests.client_server.test_sticky_events import SHORT, sticking, synced
from tests.database import Server
from tests.federation.net.loopback import Authority
from tests.server_server.answering import peering
from tests.server_server.conftest import V3, Scene
from tests.server_server.peer import V1, Peer, now_ms
from tests.servers import federating

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


async def test_a_server_whose_events_stick_too_often(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> None:
    """It is told to come again, so nothing is lost; what does not stick is taken meanwhile."""
    limits = RateLimits(sticky_events=Rate.parse("5/1h"))
    async with (
        federating(postgres, tmp_path, loopback_authority, rate_limits=limits) as hearth,
        peering(hearth, loopback_authority) as peer,
        peering(hearth, loopback_authority) as other,
    ):
        ann = await hearth.user("ann")
        wish = {"preset": "public_chat", "room_version": "11"}
        made = RoomID((await ann.post(f"{V3}/createRoom", wish)).ok()["room_id"])
        scene = Scene(hearth, peer, ann, await peer.join(made, peer.user("eve")))
        friend = Scene(hearth, other, ann, await other.join(made, other.user("eve")))
        for number in range(3):
            await stick(scene, f"{number}")
        events = [sticky_event(peer, scene, f"late {number}") for number in range(3)]
        body = {"pdus": [json.loads(event.json) for event in events]}
        status, answer = await peer.ask("PUT", f"{V1}/send/late", body)
        assert (status, answer["errcode"]) == (429, "M_LIMIT_EXCEEDED")
        assert answer["retry_after_ms"] > 0
        said = peer.say(scene.room, "still here", peer.user("eve"))
        assert await peer.send([said]) == {said.event_id: {}}
        await stick(friend, "other")
        names = {"0", "1", "2", "other"}
        assert set(sticking(await synced(ann, filter=SHORT), made)) <= names
        hearth.parts.base.limits._buckets["sticky_events"]._full_at.clear()
        assert await peer.ask("PUT", f"{V1}/send/late", body) == (
            200, {"pdus": {event.event_id: {} for event in events}})  # fmt: skip
        await scene.say("last")
        late = {f"late {number}" for number in range(3)}
        assert set(sticking(await synced(ann, filter=SHORT), made)) == names | late


def sticky_event(peer: Peer, scene: Scene, name: str) -> Event:
    return peer.make(scene.room, "org.call", {"name": name}, peer.user("eve"), sticky=60_000)
