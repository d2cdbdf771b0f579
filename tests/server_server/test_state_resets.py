"""What people are told when forks meet and the room's state puts somebody out, or in again.

No event says so: the memberships become what the resolution of the states makes of them.

https://spec.matrix.org/v1.19/rooms/v2/#state-resolution
"""

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from federation.building import Place
from federation.identifiers import UserID
from tests.client_server.test_device_lists import SLIDING, begin, news
from tests.server_server.conftest import V3, Scene
from tests.servers import Client

LISTS = {
    "lists": {
        "all": {"ranges": [[0, 9]], "timeline_limit": 5, "required_state": [["*", "*"]]},
    }
}


async def sync(who: Client, since: str = "", wait: int = 0) -> Any:
    query = {"since": since} if since else {}
    return (await who.get(f"{V3}/sync", timeout=wait, **query)).ok()


async def slide(who: Client, pos: str = "", wait: int = 0) -> Any:
    query = {"pos": pos} if pos else {}
    return (await who.post(SLIDING, LISTS, timeout=wait, **query)).ok()


async def empower(scene: Scene, others: dict[str, int]) -> None:
    """Give people a level."""
    path = f"{scene.path}/state/m.room.power_levels"
    users = {scene.ann.user_id: 100, scene.peer.user("eve"): 100, **others}
    event_id = (await scene.ann.put(path, {"users": users})).ok()["event_id"]
    await take(scene, event_id)


async def take(scene: Scene, event_id: str) -> None:
    """The peer has an event of the room, as its latest."""
    status, answer = await scene.peer.ask("GET", f"/_matrix/federation/v1/event/{quote(event_id)}")
    assert status == 200
    scene.peer.take(scene.room, answer["pdus"][0])


def before_it_all(scene: Scene, kind: str, sender: UserID) -> Place:
    return scene.room.place(kind, sender, "", {})


async def close(scene: Scene, place: Place) -> None:
    """Nobody may come in any more, and nobody could who came in beside it."""
    content = {"join_rule": "invite"}
    eve = scene.peer.user("eve")
    event = scene.peer.make(scene.room, "m.room.join_rules", content, eve, "", place=place)
    assert await scene.peer.send([event]) == {event.event_id: {}}


@pytest.fixture
async def bob(scene: Scene) -> Client:
    return await scene.hearth.user("bob")


async def test_who_is_put_out_by_no_event(scene: Scene, bob: Client) -> None:
    """Bob of this server and Mal of the other come in beside an event that forbids it."""
    mal = scene.peer.user("mal")
    await empower(scene, {})
    place = before_it_all(scene, "m.room.join_rules", scene.peer.user("eve"))
    await scene.peer.join(scene.room.room_id, mal)
    (await bob.post(f"{V3}/join/{scene.room.room_id}")).ok()

    anns, bobs = await begin(scene.ann), await begin(bob)
    begun, slid = await sync(bob), await slide(bob)
    waiting = asyncio.create_task(sync(bob, begun["next_batch"], 20_000))
    sliding = asyncio.create_task(slide(bob, slid["pos"], 20_000))
    await scene.hearth.is_waited_on()
    await close(scene, place)

    path = f"{scene.path}/joined_members"
    assert set((await scene.ann.get(path)).ok()["joined"]) == {
        scene.ann.user_id,
        scene.peer.user("eve"),
    }
    assert await news(scene.ann, *anns) == [([], sorted([bob.user_id, mal]))] * 3
    told = (await waiting)["rooms"]
    assert told.keys() == {"leave"}
    left = told["leave"][scene.room.room_id]
    shown = [*left["state"]["events"], *left["timeline"]["events"]]
    # No event of the room says that Bob is out.
    assert all("state_key" in event for event in left["state"]["events"])
    assert bob.user_id not in [e.get("state_key") for e in shown if is_leave(e)]
    room = (await sliding)["rooms"][scene.room.room_id]
    assert room["membership"] == "leave"
    # Entries that are gone are told without a content.
    assert {e["state_key"] for e in room["required_state"] if "content" not in e} == {
        bob.user_id,
        mal,
    }
    expected = sorted([scene.ann.user_id, scene.peer.user("eve"), mal])
    assert await news(bob, *bobs) == [([], expected)] * 3
    denied = await bob.put(f"{scene.path}/send/m.room.message/1", {"body": "", "msgtype": "m.text"})
    assert denied.errcode == "M_FORBIDDEN"


async def test_who_was_put_out_reads_what_was_theirs_to_read(scene: Scene, bob: Client) -> None:
    """As whoever left, up to then."""
    await empower(scene, {})
    place = before_it_all(scene, "m.room.join_rules", scene.peer.user("eve"))
    (await bob.post(f"{V3}/join/{scene.room.room_id}")).ok()
    early = await scene.say("early")
    await close(scene, place)
    late = await scene.say("late")
    page = (await bob.get(f"{scene.path}/messages", dir="b", limit=100)).ok()["chunk"]
    said = [event["content"]["body"] for event in page if event["type"] == "m.room.message"]
    assert said == ["early"]
    assert "m.room.create" in {event["type"] for event in page}
    assert (await bob.get(f"{scene.path}/event/{early}")).status == 200
    assert (await bob.get(f"{scene.path}/event/{late}")).status == 404
    state = (await bob.get(f"{scene.path}/state")).ok()
    assert {"m.room.create", "m.room.power_levels"} <= {event["type"] for event in state}
    (await scene.ann.put(f"{scene.path}/state/m.room.topic", {"topic": "not for Bob"})).ok()
    assert (await bob.get(f"{scene.path}/state/m.room.topic")).status == 404
    # Who never came in still sees nothing.
    eva = await scene.hearth.user("eva")
    assert (await eva.get(f"{scene.path}/messages", dir="b")).status == 403


def is_leave(event: Any) -> bool:
    kind, content = event["type"], event["content"]
    return bool(kind == "m.room.member" and content["membership"] == "leave")


async def test_who_comes_in_again_by_no_event(scene: Scene, bob: Client) -> None:
    """Dan, who puts Bob out, had lost the right to do so."""
    dan = await scene.hearth.user("dan")
    for one in (bob, dan):
        (await one.post(f"{V3}/join/{scene.room.room_id}")).ok()
    await empower(scene, {dan.user_id: 50})
    place = before_it_all(scene, "m.room.power_levels", scene.peer.user("eve"))
    (await dan.post(f"{scene.path}/kick", {"user_id": bob.user_id})).ok()

    anns, bobs = await begin(scene.ann), await begin(bob)
    begun, slid = await sync(bob), await slide(bob)
    waiting = asyncio.create_task(sync(bob, begun["next_batch"], 20_000))
    sliding = asyncio.create_task(slide(bob, slid["pos"], 20_000))
    await scene.hearth.is_waited_on()
    eve = scene.peer.user("eve")
    content = {"users": {scene.ann.user_id: 100, eve: 100}}
    event = scene.peer.make(scene.room, "m.room.power_levels", content, eve, "", place=place)
    assert await scene.peer.send([event]) == {event.event_id: {}}

    joined = (await scene.ann.get(f"{scene.path}/joined_members")).ok()["joined"]
    assert bob.user_id in joined
    assert await news(scene.ann, *anns) == [([bob.user_id], [])] * 3
    told = (await waiting)["rooms"]
    assert told.keys() == {"join"}
    state = told["join"][scene.room.room_id]["state"]["events"]
    assert "m.room.create" in {one["type"] for one in state}
    room = (await sliding)["rooms"][scene.room.room_id]
    assert (room["membership"], room["initial"]) == ("join", True)
    everybody = sorted([scene.ann.user_id, dan.user_id, eve])
    assert await news(bob, *bobs) == [(everybody, [])] * 3
