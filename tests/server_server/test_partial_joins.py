"""Rooms that are joined before all of their members are known.

https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid
"""

import asyncio
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web

from federation.building import Signer
from federation.events import Event
from federation.identifiers import UserID
from homeserver.rooms.absorbing import Absorbing
from homeserver.rooms.completing import Completing
from homeserver.rooms.rejudging import Rejudging
from homeserver.storage import partial_rooms
from homeserver.storage.partial_rooms import Partial
from tests.federation.net.loopback import Authority
from tests.server_server.answering import peering
from tests.server_server.conftest import V3
from tests.server_server.peer import V1, Peer, Room
from tests.servers import Client, Hearth, eventually

Federated = tuple[Hearth, Peer]
_MEMBERS = 12
_SYNC = f"{V3}/sync"


class _Unshared(dict[str, asyncio.Lock]):
    """Locks as workers have them, each its own."""

    def setdefault(self, key: str, default: Any = None) -> Any:
        return default


class Hall:
    """Ann has joined a room of the peer, which does not tell its members yet."""

    def __init__(self, hearth: Hearth, peer: Peer, ann: Client, room: Room) -> None:
        self.hearth, self.peer, self.ann, self.room = hearth, peer, ann, room
        self.path = f"{V3}/rooms/{room.room_id}"

    def member(self, number: int) -> UserID:
        return self.peer.user(f"m{number:02}")

    @property
    def everybody(self) -> set[str]:
        olga = self.peer.user("olga")
        return {olga, self.ann.user_id, *map(self.member, range(_MEMBERS))}

    async def is_partial(self) -> bool:
        async with self.hearth.parts.base.process.database.reader() as conn:
            return await partial_rooms.is_partial(conn, self.room.room_id)

    async def is_whole_by_now(self) -> bool:
        """Whether it is; all rooms are looked at at once."""
        async with self.hearth.parts.base.process.database.reader() as conn:
            await conn.fetch("UPDATE partial_rooms SET next_ts = 0")
        self.hearth.parts.federating.completing.rouse()
        return not await self.is_partial()

    async def complete(self) -> None:
        """The peer tells the members."""
        self.peer.lies.clear()
        await self.is_whole_by_now()
        async with asyncio.timeout(10):
            while await self.is_partial():  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def say(self, number: int, text: str) -> Event:
        """A member whom nobody here has heard of says something."""
        event = self.peer.say(self.room, text, self.member(number))
        self.room.tips = [event]
        assert await self.peer.send([event]) == {event.event_id: {}}
        return event

    async def texts(self) -> list[str]:
        page = (await self.ann.get(f"{self.path}/messages", dir="b", limit=100)).ok()
        return [e["content"].get("body") for e in page["chunk"] if e["type"] == "m.room.message"]

    async def members(self) -> set[str]:
        found = await self.ann.get(f"{self.path}/joined_members")
        return set(found.ok()["joined"])


def _silent(_: Any) -> web.Response:
    return web.json_response({"errcode": "M_UNKNOWN", "error": "not now"}, status=500)


async def _hall(federated: Federated, ann: Client | None = None) -> Hall:
    hearth, peer = federated
    room = peer.found(peer.user("olga"))
    hall = Hall(hearth, peer, ann or await hearth.user("ann"), room)
    for member in map(hall.member, range(_MEMBERS)):
        content = {"membership": "join", "displayname": member[1:4].upper()}
        peer.say_state(room, "m.room.member", content, member, member)
    return hall


@pytest.fixture
async def hall(federated: Federated) -> Hall:
    found = await _hall(federated)
    found.peer.lies["state_ids"] = found.peer.lies["state"] = _silent
    via = found.peer.name
    (await found.ann.post(f"{V3}/join/{quote(found.room.room_id)}?via={via}")).ok()
    assert await found.is_partial()
    return found


async def test_a_small_room_is_whole_at_once(
    federated: Federated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("homeserver.rooms.federated._WHOLE_SECONDS", 10.0)
    hall = await _hall(federated)
    (await hall.ann.post(f"{V3}/join/{quote(hall.room.room_id)}?via={hall.peer.name}")).ok()
    assert not await hall.is_partial()
    assert await hall.members() == hall.everybody


async def test_members_of_many_servers(federated: Federated) -> None:
    """None of which can be reached; what is not signed by the member's server is left out."""
    hearth, peer = federated
    hall = Hall(hearth, peer, await hearth.user("ann"), peer.found(peer.user("olga")))
    signers = [peer.stranger(f"s{number:02}.invalid") for number in range(30)]
    forger = Signer(peer.stranger("s30.invalid").server, signers[0].key)
    users = [UserID(f"@m:{signer.server}") for signer in [*signers, forger]]
    for user, signer in zip(users, [*signers, forger], strict=True):
        content = {"membership": "join"}
        peer.say_state(hall.room, "m.room.member", content, user, user, signer=signer)
    (await hall.ann.post(f"{V3}/join/{quote(hall.room.room_id)}?via={peer.name}")).ok()
    await hall.complete()
    assert await hall.members() == {peer.user("olga"), hall.ann.user_id, *users[:-1]}


async def test_reading_and_writing_before_members_are_known(hall: Hall) -> None:
    await hall.say(11, "hello")
    body = {"msgtype": "m.text", "body": "hi"}
    (await hall.ann.put(f"{hall.path}/send/m.room.message/1", body)).ok()
    assert await hall.texts() == ["hi", "hello"]
    async with asyncio.timeout(5):
        while "'hi'" not in str(hall.peer.told):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    synced = (await hall.ann.get(_SYNC)).ok()["rooms"]["join"][hall.room.room_id]
    told = {e["state_key"] for e in synced["state"]["events"] if e["type"] == "m.room.member"}
    # Who speaks is known by what they cite.
    assert hall.member(11) in told | {e["sender"] for e in synced["timeline"]["events"]}
    assert hall.member(10) not in told
    await hall.complete()
    assert await hall.members() == hall.everybody
    assert await hall.texts() == ["hi", "hello"]


async def test_who_asks_for_the_members_waits_for_them(hall: Hall) -> None:
    asking = asyncio.create_task(hall.ann.get(f"{hall.path}/members"))
    state = asyncio.create_task(hall.ann.get(f"{hall.path}/state"))
    key = quote(hall.member(9))
    one = asyncio.create_task(hall.ann.get(f"{hall.path}/state/m.room.member/{key}"))
    await asyncio.sleep(0.2)
    assert not any(task.done() for task in (asking, state, one))
    await hall.complete()
    members = {e["state_key"] for e in (await asking).ok()["chunk"]}
    assert members == hall.everybody
    assert hall.everybody <= {e["state_key"] for e in (await state).ok()}
    assert (await one).ok()["displayname"] == "M09"


@pytest.mark.parametrize("is_lazy", [False, True])
async def test_clients_learn_of_the_members(hall: Hall, is_lazy: bool) -> None:
    query = '{"room":{"state":{"lazy_load_members":true}}}' if is_lazy else "{}"
    first = (await hall.ann.get(_SYNC, filter=query)).ok()
    waiting = asyncio.create_task(
        hall.ann.get(_SYNC, filter=query, since=first["next_batch"], timeout=10_000)
    )
    await asyncio.sleep(0.1)
    await hall.complete()
    answer = (await waiting).ok()
    section = answer["rooms"]["join"][hall.room.room_id]
    assert section["summary"]["m.joined_member_count"] == len(hall.everybody)
    told = {e["state_key"] for e in section["state"]["events"]}
    before = first["rooms"]["join"][hall.room.room_id]
    shown = {e["state_key"] for e in before["state"]["events"] if e["type"] == "m.room.member"}
    known = {hall.ann.user_id, *shown, *before["summary"]["m.heroes"]}
    if is_lazy:
        # Whom the room is named after by now, and who was not told before.
        assert told <= set(section["summary"].get("m.heroes", ())) - known
    else:
        assert told == hall.everybody - known
    changed = set(answer["device_lists"]["changed"])
    assert hall.everybody - known <= changed


@pytest.mark.parametrize("is_after", [False, True])
async def test_who_asks_only_when_all_are_known(hall: Hall, is_after: bool) -> None:
    """The members came after the join that is in the timeline, and are in the state with it."""
    await hall.complete()
    olga = hall.peer.user("olga")
    names = {"membership": "join", "displayname": "The Founder"}
    event = hall.peer.say_state(hall.room, "m.room.member", names, olga, olga)
    assert await hall.peer.send([event]) == {event.event_id: {}}
    more = {"use_state_after": "true"} if is_after else {}
    section = (await hall.ann.get(_SYNC, **more)).ok()["rooms"]["join"][hall.room.room_id]
    if is_after:
        known = section["state_after"]["events"]
    else:
        timeline = section["timeline"]["events"]
        known = section["state"]["events"] + [e for e in timeline if "state_key" in e]
    found = {(e["type"], e["state_key"]): e["event_id"] for e in known}
    state = (await hall.ann.get(f"{hall.path}/state")).ok()
    assert found == {(e["type"], e["state_key"]): e["event_id"] for e in state}


async def test_sliding_sync_learns_of_the_members(hall: Hall) -> None:
    path = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
    wish = {"lists": {"all": {"ranges": [[0, 9]], "timeline_limit": 1, "required_state": []}}}
    first = (await hall.ann.post(path, wish)).ok()
    waiting = asyncio.create_task(hall.ann.post(path, wish, pos=first["pos"], timeout="10000"))
    await asyncio.sleep(0.1)
    await hall.complete()
    room = (await waiting).ok()["rooms"][hall.room.room_id]
    assert room["joined_count"] == len(hall.everybody)


async def test_who_was_put_out_is_found_out(hall: Hall) -> None:
    """Somebody cites a membership that does not stand any more: it shows when all are known."""
    peer, room, olga, member = hall.peer, hall.room, hall.peer.user("olga"), hall.member(8)
    cited = hall.room.place("m.room.message", member, None, {})
    lie = peer.say(room, "I am here", member, place=cited)
    # In the room's real state, they were banned before Ann joined.
    joined = room.tips[0]
    ban = peer.make(room, "m.room.member", {"membership": "ban"}, olga, member, place=cited)
    room.before[joined.event_id][("m.room.member", member)] = ban
    room.before[lie.event_id] = dict(room.before[joined.event_id])
    await peer.send([lie])
    assert await hall.texts() == ["I am here"]
    await hall.complete()
    assert await hall.texts() == []
    assert await hall.members() == hall.everybody - {member}


async def test_what_was_rejected_too_soon_is_taken_in_the_end(hall: Hall) -> None:
    """A level was raised in a gap, so what it allows seems forbidden, and all that rests on it."""
    peer, room, olga = hall.peer, hall.room, hall.peer.user("olga")
    first, second, third = map(hall.member, range(3))
    levels: dict[str, int] = {olga: 100}

    def raised(by: UserID, user: UserID, level: int) -> Event:
        levels[user] = level
        return peer.say_state(room, "m.room.power_levels", {"users": dict(levels)}, by)

    lost = raised(olga, first, 100)
    early = raised(first, second, 100)
    unseen = raised(second, third, 50)
    topic = peer.say_state(room, "m.room.topic", {"topic": "tea"}, third)
    peer.lies["get_missing_events"] = _silent
    del peer.known[lost.event_id]
    results = await peer.send([early])
    assert "error" in results[early.event_id]
    peer.known[lost.event_id] = lost
    for event in (early, topic):
        results = await peer.send([event])
    assert "error" in results[topic.event_id], "it rests on what seems forbidden"
    fates = "SELECT count(*) FROM events WHERE fate = 2"
    async with hall.hearth.parts.base.process.database.reader() as conn:
        assert await conn.fetchval(fates) == 3
    await hall.complete()
    async with hall.hearth.parts.base.process.database.reader() as conn:
        assert await conn.fetchval(fates) == 0
    # What came too late for the room's current state is part of it with what builds on it.
    await hall.say(11, "and on we go")
    shown = {e["type"]: e["event_id"] for e in (await hall.ann.get(f"{hall.path}/state")).ok()}
    assert shown["m.room.topic"] == topic.event_id
    assert shown["m.room.power_levels"] == unseen.event_id


async def test_a_room_that_cannot_be_completed_harms_no_other(
    federated: Federated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is wrong with it: it is tried again later, the others are completed."""
    bad = await _hall(federated)
    hearth, peer = federated
    room = peer.found(peer.user("olga"))
    good = Hall(hearth, peer, bad.ann, room)
    for member in map(good.member, range(_MEMBERS)):
        peer.say_state(room, "m.room.member", {"membership": "join"}, member, member)
    peer.lies["state_ids"] = peer.lies["state"] = _silent
    for hall in (bad, good):
        (await hall.ann.post(f"{V3}/join/{quote(hall.room.room_id)}?via={peer.name}")).ok()
    found, failures = Rejudging.rejudge, list[Partial]()

    async def failing(self: Rejudging, conn: Any, partial: Partial, states: Any) -> Any:
        if partial.room_id == bad.room.room_id and len(failures) < 2:
            failures.append(partial)
            raise KeyError(partial.room_id)
        return await found(self, conn, partial, states)

    monkeypatch.setattr(Rejudging, "rejudge", failing)
    await good.complete()
    assert await good.members() == good.everybody
    await eventually(bad.is_whole_by_now, 20)
    assert len(failures) == 2
    assert await bad.members() == bad.everybody


async def test_who_takes_too_long_to_come_in(
    federated: Federated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process takes the join to have failed, as if this one had ended."""
    hall = await _hall(federated)
    completing, begin = hall.hearth.parts.federating.completing, Completing.begin

    async def begin_late(self: Completing, *args: Any) -> None:
        await begin(self, *args)
        async with hall.hearth.parts.base.process.database.reader() as conn:
            await conn.fetch("UPDATE partial_rooms SET next_ts = 0")
        await completing._at(hall.room.room_id)
        assert not await hall.is_partial()

    path = f"{V3}/join/{quote(hall.room.room_id)}?via={hall.peer.name}"
    with monkeypatch.context() as patch:
        patch.setattr(Completing, "begin", begin_late)
        assert (await hall.ann.post(path)).status >= 500
    assert (await hall.ann.get(f"{hall.path}/joined_members")).status == 403
    async with hall.hearth.parts.base.process.database.reader() as conn:
        assert not await conn.fetchval("SELECT count(*) FROM room_servers")
    (await hall.ann.post(path)).ok()
    await hall.complete()
    assert await hall.members() == hall.everybody


async def test_what_members_change_meanwhile_stands(hall: Hall) -> None:
    """A member leaves, another one comes, while nobody knows the members."""
    gone, new = hall.member(7), hall.peer.user("new")
    leave = hall.peer.say_state(hall.room, "m.room.member", {"membership": "leave"}, gone, gone)
    came = hall.peer.say_state(hall.room, "m.room.member", {"membership": "join"}, new, new)
    assert await hall.peer.send([leave, came]) == {leave.event_id: {}, came.event_id: {}}
    await hall.complete()
    assert await hall.members() == hall.everybody - {gone} | {new}


async def test_history_can_be_read_meanwhile(federated: Federated) -> None:
    hall = await _hall(federated)
    for text in ("one", "two"):
        event = hall.peer.say(hall.room, text, hall.member(10))
        hall.room.tips = [event]
    hall.peer.lies["state_ids"] = hall.peer.lies["state"] = _silent
    (await hall.ann.post(f"{V3}/join/{quote(hall.room.room_id)}?via={hall.peer.name}")).ok()
    assert await hall.texts() == ["two", "one"]
    await hall.complete()
    assert await hall.texts() == ["two", "one"]


async def test_others_are_sent_elsewhere_meanwhile(hall: Hall) -> None:
    """We cannot say who may come in, nor what the state is."""
    room, user = quote(hall.room.room_id), quote(hall.peer.user("zoe"))
    status, answer = await hall.peer.ask("GET", f"{V1}/make_join/{room}/{user}?ver=11")
    assert (status, answer["errcode"]) == (404, "M_NOT_FOUND")
    join = quote(hall.room.tips[0].event_id)
    status, answer = await hall.peer.ask("GET", f"{V1}/state_ids/{room}?event_id={join}")
    assert (status, answer["errcode"]) == (404, "M_NOT_FOUND")
    await hall.complete()
    status, answer = await hall.peer.ask("GET", f"{V1}/state_ids/{room}?event_id={join}")
    assert status == 200
    assert len(answer["pdu_ids"]) == 3 + len(hall.everybody) - 1


async def test_moderating_waits_for_the_members(hall: Hall) -> None:
    levels = {"users": {hall.peer.user("olga"): 100, hall.ann.user_id: 50}}
    event = hall.peer.say_state(hall.room, "m.room.power_levels", levels, hall.peer.user("olga"))
    await hall.peer.send([event])
    kicking = asyncio.create_task(hall.ann.post(f"{hall.path}/kick", {"user_id": hall.member(6)}))
    await asyncio.sleep(0.2)
    assert not kicking.done()
    await hall.complete()
    (await kicking).ok()
    assert await hall.members() == hall.everybody - {hall.member(6)}


async def test_another_joins_meanwhile(hall: Hall) -> None:
    bob = await hall.hearth.user("bob")
    (await bob.post(f"{V3}/join/{quote(hall.room.room_id)}?via={hall.peer.name}")).ok()
    await hall.complete()
    assert await hall.members() == hall.everybody | {bob.user_id}


async def test_what_another_join_builds_on_comes_after_it(hall: Hall) -> None:
    """As when several came in at once, each told of the room by the other server."""
    said = await hall.say(1, "before bob")
    bob = await hall.hearth.user("bob")
    (await bob.post(f"{V3}/join/{quote(hall.room.room_id)}?via={hall.peer.name}")).ok()
    assert await hall.is_partial()
    async with hall.hearth.parts.base.process.database.reader() as conn:
        earlier, later = reversed(
            await conn.fetch(
                """
            SELECT e.event_nid, e.room_order, i.event_id FROM events e JOIN event_ids i
             USING (event_nid) ORDER BY e.room_order DESC NULLS LAST LIMIT 2
            """
            )
        )
        assert earlier["event_id"] == said.event_id
        change = "UPDATE events SET room_order = $2 WHERE event_nid = $1"
        await conn.fetch(change, later["event_nid"], -1)
        await conn.fetch(change, earlier["event_nid"], later["room_order"])
        await conn.fetch(change, later["event_nid"], earlier["room_order"])
    await hall.complete()
    assert await hall.members() == hall.everybody | {bob.user_id}


async def test_another_worker_joins_meanwhile(
    federated: Federated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ann's join is about to be written when Bob's comes; neither worker knows of the other."""
    hall = await _hall(federated)
    bob = await hall.hearth.user("bob")
    monkeypatch.setattr(hall.hearth.parts.federating.federated, "_importing", _Unshared())
    absorb, pauses = Absorbing.absorb, [1.0, 0.3]

    async def absorb_late(self: Absorbing, *args: Any, **more: Any) -> Any:
        if more.get("is_fresh") and pauses:
            await asyncio.sleep(pauses.pop())
        return await absorb(self, *args, **more)

    monkeypatch.setattr(Absorbing, "absorb", absorb_late)
    hall.peer.lies["state_ids"] = hall.peer.lies["state"] = _silent
    join = f"{V3}/join/{quote(hall.room.room_id)}?via={hall.peer.name}"
    answers = await asyncio.gather(hall.ann.post(join), bob.post(join))
    for answer in answers:
        answer.ok()
    assert await hall.is_partial()
    await hall.complete()
    assert await hall.members() == hall.everybody | {bob.user_id}


async def test_a_room_that_is_left_again(hall: Hall) -> None:
    (await hall.ann.post(f"{hall.path}/leave")).ok()
    await hall.complete()
    (await hall.ann.post(f"{V3}/join/{quote(hall.room.room_id)}?via={hall.peer.name}")).ok()
    assert await hall.members() == hall.everybody


async def test_a_state_that_does_not_let_us_in_changes_nothing(hall: Hall) -> None:
    """Whoever let us in tells later that somebody else did: it is asked again."""
    honest = hall.room.before[hall.room.tips[0].event_id]
    key = ("m.room.join_rules", "")
    rules = hall.peer.make(hall.room, *key[:1], {"join_rule": "invite"}, hall.peer.user("olga"), "")
    hall.room.before[hall.room.tips[0].event_id] = {**honest, key: rules}
    hall.peer.lies.clear()
    async with hall.hearth.parts.base.process.database.reader() as conn:
        await conn.fetch("UPDATE partial_rooms SET next_ts = 0")
    hall.hearth.parts.federating.completing.rouse()
    await asyncio.sleep(0.5)
    assert await hall.is_partial()
    hall.room.before[hall.room.tips[0].event_id] = honest
    await hall.complete()
    assert await hall.members() == hall.everybody


async def test_another_server_tells_the_members(
    federated: Federated, loopback_authority: Authority
) -> None:
    """Whoever let us in tells a state in which nobody did: others are asked, too."""
    hall, peer = await _hall(federated), federated[1]
    async with peering(hall.hearth, loopback_authority) as other:
        zoe = other.user("zoe")
        joined = {"membership": "join"}
        peer.say_state(hall.room, "m.room.member", joined, zoe, zoe, signer=other.signer)
        other.known, other.hosted = peer.known, peer.hosted
        create = hall.room.state["m.room.create", ""].event_id
        peer.lies["state_ids"] = lambda _: {"pdu_ids": [create], "auth_chain_ids": []}
        (await hall.ann.post(f"{V3}/join/{quote(hall.room.room_id)}?via={peer.name}")).ok()
        await eventually(lambda: _is(hall, whole=True))
        assert await hall.members() == hall.everybody | {zoe}


async def _is(hall: Hall, *, whole: bool) -> bool:
    return await hall.is_partial() is not whole
