"""Events of other servers that go on where a room ends are written as the server's own are.

https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

import asyncio
from typing import Any

import pytest

from federation.building import Place
from federation.events import Event
from homeserver.rooms.absorbing import Absorbing
from tests.server_server.conftest import V3, Scene
from tests.servers import eventually
from tests.statements import Asked, asked

__all__ = ["asked"]


@pytest.fixture
def absorbed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The events that had to go the long way, by type."""
    found: list[str] = []
    absorb = Absorbing.absorb

    async def noted(self: Absorbing, room_id: Any, events: list[Event], *more: Any, **named: Any):  # type: ignore[no-untyped-def]
        found.extend(event.type for event in events)
        return await absorb(self, room_id, events, *more, **named)

    monkeypatch.setattr(Absorbing, "absorb", noted)
    return found


async def test_what_goes_on_takes_the_short_way(scene: Scene, absorbed: list[str]) -> None:
    """Messages and state, one on the other, in one transaction."""
    peer, room, eve = scene.peer, scene.room, scene.peer.user("eve")
    sent = []
    for number in range(3):
        sent.append(peer.say(room, f"{number}", eve))
        room.add(sent[-1])
    content = {"membership": "join", "displayname": "Eve"}
    sent.append(peer.say_state(room, "m.room.member", content, eve, eve))
    sent.append(peer.say(room, "renamed", eve))
    room.add(sent[-1])
    assert await peer.send(sent) == {event.event_id: {} for event in sent}
    assert absorbed == []
    assert await scene.texts() == ["renamed", "2", "1", "0"]
    members = (await scene.ann.get(f"{scene.path}/joined_members")).ok()["joined"]
    assert members[eve]["display_name"] == "Eve"
    # What is said here builds on it.
    said = await scene.say("ours")
    event = (await peer.ask("GET", f"/_matrix/federation/v1/event/{said}"))[1]["pdus"][0]
    assert event["prev_events"] == [room.tips[0].event_id]


async def test_the_state_is_what_both_ways_make_of_it(scene: Scene, absorbed: list[str]) -> None:
    """Levels are raised and used; then a fork has it judged the long way."""
    peer, room, eve = scene.peer, scene.room, scene.peer.user("eve")
    levels = {"users": {scene.ann.user_id: 100, eve: 50}}
    (await scene.ann.put(f"{scene.path}/state/m.room.power_levels", levels)).ok()
    raw = (await scene.ann.get(f"{scene.path}/state/m.room.power_levels", format="event")).ok()
    named = f"/_matrix/federation/v1/event/{raw['event_id']}"
    peer.take(room, (await peer.ask("GET", named))[1]["pdus"][0])
    before, state = list(room.tips), dict(room.state)
    topic = peer.say_state(room, "m.room.topic", {"topic": "by the short way"}, eve)
    assert await peer.send([topic]) == {topic.event_id: {}}
    assert absorbed == []
    room.tips, room.state = before, state
    fork = peer.say_state(room, "a.kind", {"by": "the long way"}, eve)
    assert await peer.send([fork]) == {fork.event_id: {}}
    assert absorbed == ["a.kind"]
    for kind, content in (("m.room.topic", topic), ("a.kind", fork)):
        found = (await scene.ann.get(f"{scene.path}/state/{kind}")).ok()
        assert found == content.content


async def test_what_cites_anything_twice_is_refused(scene: Scene, absorbed: list[str]) -> None:
    """As everywhere: "If there are duplicate entries for a given type and state_key pair, reject".

    https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules
    """
    peer, room, eve = scene.peer, scene.room, scene.peer.user("eve")
    place = room.place("m.room.message", eve, None, {})
    twice = Place(place.prev_events, [*place.auth_events, place.auth_events[-1]])
    event = peer.say(room, "twice", eve, place=twice)
    assert len(set(event.auth_events)) < len(event.auth_events)
    assert "error" in (await peer.send([event]))[event.event_id]
    assert await scene.texts() == []


async def test_whatever_is_odd_takes_the_long_way(scene: Scene, absorbed: list[str]) -> None:
    peer, room, eve = scene.peer, scene.room, scene.peer.user("eve")
    forbidden = peer.make(room, "m.room.topic", {"topic": "no power"}, eve, "")
    assert "error" in (await peer.send([forbidden]))[forbidden.event_id]
    lost = peer.say(room, "beside the end", eve)
    await scene.say("ours")
    assert await peer.send([lost]) == {lost.event_id: {}}
    assert absorbed == ["m.room.topic", "m.room.message"]
    assert set(await scene.texts()) == {"ours", "beside the end"}


async def test_the_same_from_many_at_once(scene: Scene, absorbed: list[str]) -> None:
    """Written once, whoever of them is first."""
    peer, room, eve = scene.peer, scene.room, scene.peer.user("eve")
    events = [peer.say(room, "once", eve)]
    room.add(events[0])
    events.append(peer.say(room, "twice", eve))
    answers = await asyncio.gather(*(peer.send(events, txn=f"t{n}") for n in range(6)))
    assert all(answer == {event.event_id: {} for event in events} for answer in answers)
    assert await scene.texts() == ["twice", "once"]


async def test_both_sides_at_once(scene: Scene) -> None:
    """What is sent here and what comes from there, in one room: nothing is lost, nothing twice."""
    peer, room, eve = scene.peer, scene.room, scene.peer.user("eve")

    async def theirs() -> None:
        for number in range(20):
            event = peer.say(room, f"their {number}", eve)
            room.add(event)
            assert await peer.send([event]) == {event.event_id: {}}

    async def ours() -> None:
        for number in range(20):
            await scene.say(f"our {number}")

    await asyncio.gather(theirs(), ours())
    texts = await scene.texts()
    assert sorted(texts) == sorted(f"{who} {n}" for who in ("their", "our") for n in range(20))
    assert [t for t in texts if t[0] == "t"] == [f"their {n}" for n in reversed(range(20))]


async def test_whoever_waits_is_shown_it_without_a_query(scene: Scene, asked: Asked) -> None:
    """What a process has just written it need not read; nor what is new to everybody."""
    peer, room, eve = scene.peer, scene.room, scene.peer.user("eve")
    sync = f"{V3}/sync"

    async def somebody_waits() -> bool:
        return scene.hearth.parts.activity.has_waiters

    async def hear(text: str) -> None:
        since = (await scene.ann.get(sync)).ok()["next_batch"]
        waiting = asyncio.create_task(scene.ann.get(sync, since=since, timeout=20_000))
        await eventually(somebody_waits)
        asked.statements.clear()
        event = peer.say(room, text, eve)
        room.add(event)
        await peer.send([event])
        (joined,) = (await waiting).ok()["rooms"]["join"].values()
        assert [e["event_id"] for e in joined["timeline"]["events"]] == [event.event_id]
        assert joined["unread_notifications"]["notification_count"] > 0

    await hear("the first")  # who may see what is learnt
    await hear("the second")
    assert [one for one in asked.statements if "append_batch" not in one] == []


async def test_what_is_known_is_not_taken_for_new(scene: Scene) -> None:
    """Sent once more when nobody remembers its ID, on top of the end of the room: what was refused
    stays out, and what is good is written once.
    """
    peer, room, eve = scene.peer, scene.room, scene.peer.user("eve")
    names = scene.hearth.parts.base.process.numbers.events
    for number in range(2):
        good = peer.say(room, f"{number}", eve)
        room.add(good)
        await peer.send([good])
    bad = peer.make(room, "m.room.topic", {"topic": "no power"}, eve, "")
    assert "error" in (await peer.send([bad]))[bad.event_id]
    names._known.clear()
    await peer.send([bad])
    assert (await scene.ann.get(f"{scene.path}/state/m.room.topic")).status == 404
    last = peer.say(room, "last", eve)
    for _ in range(2):
        names._known.clear()
        assert await peer.send([last]) == {last.event_id: {}}
    assert await scene.texts() == ["last", "1", "0"]


async def test_whoever_left_is_sent_nothing_more(scene: Scene) -> None:
    """That this server is in a room is remembered only while nobody of it leaves."""
    peer, room, eve = scene.peer, scene.room, scene.peer.user("eve")
    for number in range(3):
        event = peer.say(room, f"{number}", eve)
        room.add(event)
        await peer.send([event])
    (await scene.ann.post(f"{scene.path}/leave")).ok()
    late = peer.say(room, "late", eve)
    assert "not in the room" in (await peer.send([late]))[late.event_id]["error"]
