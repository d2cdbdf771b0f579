"""Events that were refused because of what a server told, or did not tell, of others.

https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

import json
from typing import Any
from unittest.mock import Mock

from federation.building import Place
from federation.events import Event
from tests.server_server.conftest import Scene


def _behind_a_gap(scene: Scene) -> Event:
    """What Eve says after something that nobody tells us."""
    peer, eve = scene.peer, scene.peer.user("eve")
    lost = peer.say(scene.room, "lost", eve)
    peer.lies["get_missing_events"] = lambda _: {"events": []}
    scene.room.add(lost)
    scene.peer.hosted[scene.room.room_id] = scene.room
    return peer.say(scene.room, "after", eve)


async def test_a_state_that_was_told_wrongly_is_not_held_against_events(scene: Scene) -> None:
    """The state leaves out that Eve is in the room; told rightly, what she says is taken."""
    peer, eve = scene.peer, scene.peer.user("eve")
    said = _behind_a_gap(scene)
    join = scene.room.state[("m.room.member", eve)].event_id
    honest: dict[str, Any] = {}

    def lie(answer: Any) -> Any:
        honest.update(answer)
        return {**answer, "pdu_ids": [i for i in answer["pdu_ids"] if i != join]}

    peer.lies["state_ids"] = lie
    assert "error" in (await peer.send([said]))[said.event_id]
    # What builds on it is no better off.
    scene.room.add(said)
    later = peer.say(scene.room, "later", eve)
    del scene.room.before[later.event_id]
    assert "error" in (await peer.send([later]))[later.event_id]
    assert await scene.texts() == []
    assert join in honest["pdu_ids"]
    peer.lies.clear()
    assert await peer.send([said]) == {said.event_id: {}}
    assert await peer.send([later]) == {later.event_id: {}}
    assert (await scene.texts())[:2] == ["later", "after"]


async def test_neither_against_the_many_that_build_on_them(scene: Scene) -> None:
    """However many are brought with them, and written together."""
    peer, eve = scene.peer, scene.peer.user("eve")
    first = _behind_a_gap(scene)
    scene.room.add(first)
    following = []
    for number in range(70):
        following.append(peer.say(scene.room, f"{number}", eve))
        scene.room.add(following[-1])
    last = peer.say(scene.room, "last", eve)
    told = [json.loads(event.json) for event in (first, *following)]
    peer.lies["get_missing_events"] = lambda _: {"events": told}
    for event in (*following, last):
        scene.room.before.pop(event.event_id, None)
    join = scene.room.state[("m.room.member", eve)].event_id
    peer.lies["state_ids"] = lambda honest: honest and {
        **honest,
        "pdu_ids": [i for i in honest["pdu_ids"] if i != join],
    }
    assert "error" in (await peer.send([last]))[last.event_id]
    assert await scene.texts() == []
    del peer.lies["state_ids"]
    assert await peer.send([last]) == {last.event_id: {}}
    assert (await scene.texts())[:2] == ["last", "69"]


async def test_neither_against_what_rests_on_them(scene: Scene) -> None:
    """As a join does on an invitation, wherever in the room it is."""
    peer, eve, gus = scene.peer, scene.peer.user("eve"), scene.peer.user("gus")
    before = list(scene.room.tips)
    lost = _behind_a_gap(scene)
    invitation = peer.make(scene.room, "m.room.member", {"membership": "invite"}, eve, gus)
    scene.room.state[("m.room.member", gus)] = invitation
    cited = scene.room.place("m.room.member", gus, gus, {"membership": "join"}).auth_events
    place = Place(before, cited)
    join = peer.make(scene.room, "m.room.member", {"membership": "join"}, gus, gus, place=place)
    told = scene.room.state[("m.room.member", eve)].event_id
    peer.lies["state_ids"] = lambda honest: honest and {
        **honest,
        "pdu_ids": [i for i in honest["pdu_ids"] if i != told],
    }
    assert lost.event_id not in invitation.prev_events
    assert set(map(len, (await peer.send([invitation, join])).values())) == {1}
    peer.lies.pop("state_ids")
    assert await peer.send([invitation, join]) == {invitation.event_id: {}, join.event_id: {}}
    members = (await scene.ann.get(f"{scene.path}/joined_members")).ok()["joined"]
    assert gus in members


async def test_auth_events_are_asked_for_singly(scene: Scene) -> None:
    """Where a server tells no auth chain, or one that is not whole."""
    peer, eve = scene.peer, scene.peer.user("eve")
    first = peer.make(scene.room, "m.room.member", {"membership": "join", "n": 1}, eve, eve)
    auth = [scene.room.state[k] for k in (("m.room.create", ""), ("m.room.power_levels", ""))]
    chain = Place(scene.room.tips, [*auth, first, scene.room.state[("m.room.join_rules", "")]])
    second = peer.make(
        scene.room, "m.room.member", {"membership": "join", "n": 2}, eve, eve, place=chain
    )
    place = Place(scene.room.tips, [*auth, second])
    lies: list[Any] = [None, {"auth_chain": []}]
    for number, told in enumerate(lies):
        said = peer.say(scene.room, f"{number}", eve, place=place)
        peer.lies["event_auth"] = Mock(return_value=told)
        assert await peer.send([said]) == {said.event_id: {}}
    assert set(await scene.texts()) == {"0", "1"}
    asked = [path for path in peer.asked if "/event/" in path]
    assert {path.rsplit("/", 1)[1] for path in asked} == {first.event_id, second.event_id}


async def test_no_end_of_asking_for_auth_events(scene: Scene) -> None:
    """Many events, each of which cites something else that nobody has."""
    peer, eve = scene.peer, scene.peer.user("eve")
    events = []
    for number in range(40):
        content = {"membership": "join", "n": number}
        join = peer.make(scene.room, "m.room.member", content, eve, eve)
        del peer.known[join.event_id]
        auth = [scene.room.state[("m.room.create", "")], join]
        events.append(peer.say(scene.room, f"{number}", eve, place=Place(scene.room.tips, auth)))
    results = await peer.send(events)
    assert all("error" in result for result in results.values())
    assert len([p for p in peer.asked if "/event/" in p or "/event_auth/" in p]) <= 20
    await scene.say("we go on")
    assert await scene.texts() == ["we go on"]
