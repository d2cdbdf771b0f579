"""Rooms that are taken from a process while it comes into them, or reads their past; see ADR 2.

The session that writes ends with each of its statements in turn, as in `test_lost_claims`; what is
on the disk then is what a process leaves that is killed there.
"""

from collections.abc import Awaitable, Callable
from urllib.parse import quote

import pytest

from tests.server_server.conftest import V3
from tests.server_server.test_lost_claims import _make_mortal, _Mortal
from tests.server_server.test_partial_joins import Federated, Hall, _hall, _silent
from tests.servers import Hearth

_MOST_STATEMENTS = 80


async def _with_each(
    hearth: Hearth,
    monkeypatch: pytest.MonkeyPatch,
    prepare: Callable[[int], Awaitable[Callable[[], Awaitable[None]]]],
    *,
    is_done_first: bool,
) -> None:
    """Do what was prepared, again and again, each time with another session that ends."""
    for number in range(1, _MOST_STATEMENTS):
        do = await prepare(number)
        mortal = _Mortal(number, is_done_first=is_done_first)
        with monkeypatch.context() as patch:
            await _make_mortal(hearth, mortal, patch)
            await do()
        if mortal.left > 0:
            break
    assert 5 < number < _MOST_STATEMENTS - 1, "the statements are counted"


async def _count(hearth: Hearth, query: str, *args: object) -> int:
    async with hearth.parts.base.process.database.reader() as conn:
        return int(await conn.fetchval(query, *args))


async def _join(hall: Hall) -> None:
    (await hall.ann.post(f"{V3}/join/{quote(hall.room.room_id)}?via={hall.peer.name}")).ok()


@pytest.mark.parametrize("is_partial", [False, True])
@pytest.mark.parametrize("is_done_first", [False, True])
async def test_coming_in(
    federated: Federated, monkeypatch: pytest.MonkeyPatch, is_partial: bool, is_done_first: bool
) -> None:
    hearth, peer = federated
    ann, olga = await hearth.user("ann"), peer.user("olga")
    monkeypatch.setattr("homeserver.rooms.federated._WHOLE_SECONDS", 0.01)

    async def prepare(number: int) -> Callable[[], Awaitable[None]]:
        peer.lies.clear()
        room = peer.found(olga, rule="invite")
        room.add(await peer.invite(room, olga, ann.user_id))
        if is_partial:
            peer.lies["state_ids"] = peer.lies["state"] = _silent
        else:
            peer.lies["send_join"] = lambda answer: {**answer, "members_omitted": False}
        hall = Hall(hearth, peer, ann, room)

        async def do() -> None:
            await _join(hall)
            assert await hall.is_partial() == is_partial, number
            if is_partial:
                await hall.complete()
            assert await hall.members() == {olga, ann.user_id}, number
            event = peer.say(room, "hello", olga)
            assert await peer.send([event]) == {event.event_id: {}}
            assert await hall.texts() == ["hello"], number
            invited = "SELECT count(*) FROM invites NATURAL JOIN rooms WHERE room_id = $1"
            assert await _count(hearth, invited, hall.room.room_id) == 0, number

        return do

    await _with_each(hearth, monkeypatch, prepare, is_done_first=is_done_first)


@pytest.mark.parametrize("is_done_first", [False, True])
async def test_members_that_come_to_be_known(
    federated: Federated, monkeypatch: pytest.MonkeyPatch, is_done_first: bool
) -> None:
    hearth, peer = federated
    ann = await hearth.user("ann")
    monkeypatch.setattr("homeserver.rooms.federated._WHOLE_SECONDS", 0.01)
    monkeypatch.setattr("homeserver.rooms.completing._TOLD_AT_ONCE", 5)

    async def prepare(number: int) -> Callable[[], Awaitable[None]]:
        peer.lies.clear()
        hall = await _hall(federated, ann)
        peer.lies["state_ids"] = peer.lies["state"] = _silent
        await _join(hall)
        await hall.say(11, "hi")
        gone = hall.member(7)
        left = peer.say_state(hall.room, "m.room.member", {"membership": "leave"}, gone, gone)
        assert await peer.send([left]) == {left.event_id: {}}
        since = (await ann.get(f"{V3}/sync", timeout=0)).ok()["next_batch"]

        async def do() -> None:
            await hall.complete()
            everybody = hall.everybody - {gone}
            assert await hall.members() == everybody, number
            news = (await ann.get(f"{V3}/sync", timeout=0, since=since)).ok()["rooms"]["join"]
            summary = news[hall.room.room_id]["summary"]
            assert summary["m.joined_member_count"] == len(everybody), number
            counted = "SELECT sum(joined) FROM room_servers NATURAL JOIN rooms WHERE room_id = $1"
            assert await _count(hearth, counted, hall.room.room_id) == len(everybody), number
            await hall.say(3, "and on we go")
            assert await hall.texts() == ["and on we go", "hi"], number

        return do

    await _with_each(hearth, monkeypatch, prepare, is_done_first=is_done_first)


@pytest.mark.parametrize("is_done_first", [False, True])
async def test_the_past(
    federated: Federated, monkeypatch: pytest.MonkeyPatch, is_done_first: bool
) -> None:
    """With what is taken back in it."""
    hearth, peer = federated
    ann, olga = await hearth.user("ann"), peer.user("olga")

    async def prepare(number: int) -> Callable[[], Awaitable[None]]:
        hall = Hall(hearth, peer, ann, peer.found(olga))
        for text in ("one", "two", "three"):
            said = peer.say(hall.room, text, olga)
            hall.room.add(said)
        content = {"redacts": said.event_id}
        place = hall.room.place("m.room.redaction", olga, None, {})
        hall.room.add(
            peer.make(
                hall.room, "m.room.redaction", content, olga, place=place, redacts=said.event_id
            )
        )
        await _join(hall)

        async def do() -> None:
            assert await hall.texts() == [None, "two", "one"], number
            gaps = "SELECT count(*) FROM missing_parents NATURAL JOIN rooms WHERE room_id = $1"
            assert await _count(hearth, gaps, hall.room.room_id) == 0, number

        return do

    await _with_each(hearth, monkeypatch, prepare, is_done_first=is_done_first)
