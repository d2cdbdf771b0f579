"""What is fetched for rooms just when all of their members come to be known.

https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid
"""

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from homeserver.rooms.rejudging import Rejudged, Rejudging
from tests.server_server.conftest import V3
from tests.server_server.peer import Peer
from tests.server_server.test_partial_joins import Federated, Hall, _hall, _silent
from tests.servers import eventually


class _Settling:
    """All members are known, and the room is about to be told so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._begun, self._going_on = asyncio.Event(), asyncio.Event()
        self._rejudge = Rejudging.rejudge
        settling = self

        async def rejudge(self: Rejudging, *args: Any) -> Rejudged | None:
            settling._begun.set()
            await settling._going_on.wait()
            return await settling._rejudge(self, *args)

        monkeypatch.setattr(Rejudging, "rejudge", rejudge)

    async def begin(self, hall: Hall) -> None:
        hall.peer.lies.clear()
        await hall.is_whole_by_now()
        await self._begun.wait()

    async def go_on(self, hall: Hall) -> None:
        self._going_on.set()

        async def is_whole() -> bool:
            return not await hall.is_partial()

        await eventually(is_whole)


@pytest.fixture
async def hall(federated: Federated) -> Hall:
    """Of a long history."""
    found = await _hall(federated)
    peer, room = found.peer, found.room
    for number in range(150):
        room.add(peer.say(room, f"early {number}", peer.user("olga")))
    peer.lies["state_ids"] = peer.lies["state"] = _silent
    (await found.ann.post(f"{V3}/join/{quote(room.room_id)}?via={peer.name}")).ok()
    assert await found.is_partial()
    return found


async def _has_asked(peer: Peer, what: str) -> bool:
    return any(f"/{what}/" in path for path in peer.asked)


async def test_history_that_is_fetched_meanwhile(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    settling = _Settling(monkeypatch)
    await settling.begin(hall)
    reading = asyncio.create_task(hall.texts())
    await eventually(lambda: _has_asked(hall.peer, "backfill"))
    await asyncio.sleep(0.3)
    await settling.go_on(hall)
    await reading
    # The page has Ann's join, too.
    assert await hall.texts() == [f"early {number}" for number in range(149, 50, -1)]


async def test_what_comes_meanwhile_behind_a_gap(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peer does not tell what is between."""
    peer, room = hall.peer, hall.room
    settling = _Settling(monkeypatch)
    await settling.begin(hall)
    lost = peer.say(room, "lost", peer.user("olga"))
    room.add(lost)
    del peer.known[lost.event_id]
    event = peer.say(room, "here", hall.member(3))
    sending = asyncio.create_task(peer.send([event]))
    await eventually(lambda: _has_asked(peer, "get_missing_events"))
    await asyncio.sleep(0.3)
    await settling.go_on(hall)
    assert await sending == {event.event_id: {}}
    assert (await hall.texts())[0] == "here"


async def test_a_server_that_tells_an_empty_state(hall: Hall) -> None:
    """It is no reason to reject what it says, nor to ask it again and again."""
    peer, room = hall.peer, hall.room
    await hall.complete()
    lost = peer.say(room, "lost", peer.user("olga"))
    room.add(lost)
    del peer.known[lost.event_id]
    event = peer.say(room, "here", hall.member(3))
    nothing: dict[str, list[str]] = {"pdu_ids": [], "auth_chain_ids": []}
    peer.lies["state_ids"] = lambda _: nothing
    asked = len(peer.asked)
    assert "error" in (await peer.send([event]))[event.event_id]
    assert len(peer.asked) - asked < 10
    peer.lies.clear()
    assert await peer.send([event]) == {event.event_id: {}}
    assert (await hall.texts())[0] == "here"


async def _fork(hall: Hall) -> None:
    """Two members speak, one of whom has not heard of Ann yet."""
    peer, room = hall.peer, hall.room
    (join,) = room.tips
    (parent,) = join.prev_events
    room.tips = [peer.known[parent]]
    side = peer.say(room, "side", hall.member(3))
    room.tips = [join, side]
    both = peer.say(room, "both", hall.member(4))
    room.tips = [both]
    assert await peer.send([both]) == {both.event_id: {}}


async def test_what_is_before_all_is_not_new(hall: Hall) -> None:
    """Though it is told with what is missing of a fork."""
    await hall.complete()
    await _fork(hall)
    page = (await hall.ann.get(f"{hall.path}/messages", dir="b", limit=5)).ok()["chunk"]
    assert [event["content"].get("body") for event in page] == [
        "both",
        "side",
        None,
        "early 149",
        "early 148",
    ]


async def test_a_beginning_that_comes_after_the_join(federated: Federated) -> None:
    """A join that says it is less deep than all before it, as the server that let us in wrote."""
    hall = await _hall(federated)
    peer, room = hall.peer, hall.room
    peer.lies["make_join"] = lambda made: {**made, "event": {**made["event"], "depth": 1}}
    peer.lies["state_ids"] = peer.lies["state"] = _silent
    (await hall.ann.post(f"{V3}/join/{quote(room.room_id)}?via={peer.name}")).ok()
    await _fork(hall)
    await hall.complete()
    assert await hall.members() == hall.everybody
