"""Joining rooms through other servers, and letting others join: honest ones, and others.

https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import quote, unquote

import pytest
from aiohttp import web

from federation.identifiers import UserID
from federation.net.transport import Limits
from homeserver.rooms import federated as rooms_federated
from tests.federation.net.loopback import Authority
from tests.server_server.answering import peering
from tests.server_server.conftest import V3, Scene
from tests.server_server.peer import Peer, Room, now_ms
from tests.servers import Answer, Client, Hearth, eventually

Federated = tuple[Hearth, Peer]


async def _join(user: Client, room: Room, *via: str) -> Answer:
    query = "&".join(f"via={quote(name)}" for name in via)
    return await user.post(f"{V3}/join/{quote(room.room_id)}?{query}")


async def _members(user: Client, room: Room) -> set[str]:
    found = await user.get(f"{V3}/rooms/{room.room_id}/joined_members")
    return set(found.ok()["joined"])


async def test_a_room_of_another_server(federated: Federated) -> None:
    hearth, peer = federated
    room, ann = peer.found(peer.user("olga")), await hearth.user("ann")
    peer.say_state(room, "m.room.topic", {"topic": "tea"}, peer.user("olga"))
    assert (await _join(ann, room, peer.name)).ok() == {"room_id": room.room_id}
    assert await _members(ann, room) == {ann.user_id, peer.user("olga")}
    topic = await ann.get(f"{V3}/rooms/{room.room_id}/state/m.room.topic")
    assert topic.ok() == {"topic": "tea"}


async def test_members_keep_their_names(federated: Federated) -> None:
    """All come with the join, and each is shown by their own membership."""
    hearth, peer = federated
    olga, ann = peer.user("olga"), await hearth.user("ann")
    room = peer.found(olga)
    peer.say_state(room, "m.room.member", {"membership": "join", "displayname": "O"}, olga, olga)
    (await ann.put(f"{V3}/profile/{ann.user_id}/displayname", {"displayname": "A"})).ok()
    (await _join(ann, room, peer.name)).ok()
    found = await ann.get(f"{V3}/rooms/{room.room_id}/joined_members")
    names = {user: member["display_name"] for user, member in found.ok()["joined"].items()}
    assert names == {olga: "O", ann.user_id: "A"}


@pytest.mark.parametrize("is_named", [False, True])
async def test_members_may_be_left_out(scene: Scene, is_named: bool) -> None:
    """Whoever asks for it is told of the heroes alone, and which servers are there."""
    for name in ("fay", "gus"):
        await scene.peer.join(scene.room.room_id, scene.peer.user(name))
    if is_named:
        (await scene.ann.put(f"{scene.path}/state/m.room.name", {"name": "Tea"})).ok()
    room_id, user = scene.room.room_id, scene.peer.user("hal")
    _, answer = await scene.peer.send_join(room_id, user, "?omit_members=true")
    assert answer["members_omitted"] is True
    assert set(answer["servers_in_room"]) == {scene.hearth.name, scene.peer.name}
    members = {e["state_key"] for e in answer["state"] if e["type"] == "m.room.member"}
    everybody = {scene.ann.user_id, *map(scene.peer.user, ("eve", "fay", "gus"))}
    assert members == (set() if is_named else everybody)
    kinds = {e["type"] for e in answer["state"]}
    assert {"m.room.create", "m.room.power_levels", "m.room.join_rules"} <= kinds
    # What the state is judged by comes with it, if it is not part of it.
    chain = {e["state_key"] for e in answer["auth_chain"]}
    assert chain == ({scene.ann.user_id} if is_named else set())


async def test_all_members_come_unless_they_may_be_left_out(scene: Scene) -> None:
    _, answer = await scene.peer.send_join(scene.room.room_id, scene.peer.user("fay"))
    assert answer["members_omitted"] is False
    assert "servers_in_room" not in answer


async def test_the_next_server_is_tried(federated: Federated) -> None:
    hearth, peer = federated
    room, ann = peer.found(peer.user("olga")), await hearth.user("ann")
    # Nobody listens at port 1.
    assert (await _join(ann, room, "127.0.0.1:1", peer.name)).status == 200


@pytest.mark.parametrize(
    ("errcode", "told"),
    [
        ("M_UNABLE_TO_GRANT_JOIN", (400, "M_UNABLE_TO_GRANT_JOIN")),
        ("M_UNABLE_TO_AUTHORISE_JOIN", (400, "M_UNABLE_TO_AUTHORISE_JOIN")),
        ("M_FORBIDDEN", (403, "M_FORBIDDEN")),
        # The client would believe to be logged out.
        ("M_UNKNOWN_TOKEN", (400, "M_UNKNOWN")),
    ],
)
async def test_a_refusal_is_told(federated: Federated, errcode: str, told: tuple[int, str]) -> None:
    hearth, peer = federated
    room, ann = peer.found(peer.user("olga")), await hearth.user("ann")
    refusal = web.json_response({"errcode": errcode, "error": "ask elsewhere"}, status=400)
    peer.lies["make_join"] = lambda _: refusal
    answer = await _join(ann, room, peer.name)
    assert (answer.status, answer.errcode) == told
    # Another server may see it otherwise.
    peer.lies.clear()
    (await _join(ann, room, "127.0.0.1:1", peer.name)).ok()


@pytest.mark.parametrize("errcode", ["M_UNABLE_TO_GRANT_JOIN", "M_UNABLE_TO_AUTHORISE_JOIN"])
async def test_another_server_may_be_able_to_let_in(
    federated: Federated, loopback_authority: Authority, errcode: str
) -> None:
    """https://spec.matrix.org/v1.19/server-server-api/#restricted-rooms"""
    hearth, unable = federated
    ann = await hearth.user("ann")
    refusal = {"errcode": errcode, "error": "ask elsewhere"}
    unable.lies["make_join"] = lambda _: web.json_response(refusal, status=400)
    async with peering(hearth, loopback_authority) as able:
        room = able.found(able.user("olga"))
        (await _join(ann, room, unable.name, able.name)).ok()
        assert await _members(ann, room) == {ann.user_id, able.user("olga")}
    asked = [path for path in unable.asked if room.room_id in unquote(path)]
    assert [path.split("/")[4] for path in asked] == ["make_join"]


@asynccontextmanager
async def _in_the_same_room(room: Room, peer: Peer, authority: Authority) -> AsyncIterator[Peer]:
    """Another server that is in a room of the peer's."""
    async with peering(peer.hearth, authority) as other:
        zoe = other.user("zoe")
        joined = peer.say_state(
            room, "m.room.member", {"membership": "join"}, zoe, zoe, signer=other.signer
        )
        other.known, other.hosted = peer.known, peer.hosted
        assert joined.event_id in other.known
        yield other


async def test_the_server_that_invited_is_gone(
    federated: Federated, loopback_authority: Authority
) -> None:
    """And another one of the room; whoever else is in it lets in."""
    hearth, _ = federated
    ann = await hearth.user("ann")
    async with AsyncExitStack() as stack:
        inviting = await stack.enter_async_context(peering(hearth, loopback_authority))
        olga = inviting.user("olga")
        room = inviting.found(olga)
        async with _in_the_same_room(room, inviting, loopback_authority) as able:
            inviting.say_state(room, "m.room.join_rules", {"join_rule": "invite"}, olga)
            room.add(await inviting.invite(room, olga, ann.user_id))
            await stack.aclose()
            assert (await _join(ann, room)).status == 502
            assert (await _join(ann, room, "127.0.0.1:1")).status == 502
            invited = (await ann.get(f"{V3}/sync", timeout=0)).ok()["rooms"]["invite"]
            assert set(invited) == {room.room_id}, "it stands until it is accepted"
            (await _join(ann, room, inviting.name, "127.0.0.1:1", able.name)).ok()
            assert await _members(ann, room) == {ann.user_id, able.user("zoe"), olga}
            assert "invite" not in (await ann.get(f"{V3}/sync", timeout=0)).ok()["rooms"]


async def test_of_those_who_answer_it_is_told_why_not(federated: Federated) -> None:
    """That somebody else does not answer says nothing to whoever is banned."""
    hearth, peer = federated
    room, ann = peer.found(peer.user("olga")), await hearth.user("ann")
    refusal = {"errcode": "M_FORBIDDEN", "error": "you are banned"}
    peer.lies["make_join"] = lambda _: web.json_response(refusal, status=403)
    answer = await _join(ann, room, "127.0.0.1:1", peer.name)
    assert (answer.status, answer.json) == (403, refusal)


FAILURES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "refused late": ("send_join", lambda _: web.json_response({
        "errcode": "M_UNABLE_TO_AUTHORISE_JOIN", "error": "no"}, status=400)),
    "broken": ("send_join", lambda _: web.Response(status=500)),
    "without beginning": ("send_join", lambda honest: _without("m.room.create")(honest)),
    "with the wrong people": ("send_join", lambda honest: _without("m.room.join_rules")(honest)),
    "no template": ("make_join", lambda _: {"room_version": "11", "event": 5}),
    "nobody": ("make_join", lambda _: None),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILURES)
async def test_the_next_server_is_tried_whatever_the_first_does(
    federated: Federated, loopback_authority: Authority, name: str
) -> None:
    """Even if it took the join, as far as it knows."""
    hearth, bad = federated
    room, ann = bad.found(bad.user("olga")), await hearth.user("ann")
    async with _in_the_same_room(room, bad, loopback_authority) as good:
        what, lie = FAILURES[name]
        bad.lies[what] = lie
        (await _join(ann, room, bad.name, good.name)).ok()
        assert any("/make_join/" in path for path in bad.asked)
        assert await _members(ann, room) == {ann.user_id, bad.user("olga"), good.user("zoe")}


async def test_a_server_that_takes_its_time(
    federated: Federated, loopback_authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms_federated, "_MAKE", Limits(total=0.5))
    hearth, slow = federated
    room, ann = slow.found(slow.user("olga")), await hearth.user("ann")
    released = asyncio.Event()

    async def never(honest: Any) -> Any:
        await released.wait()
        return honest

    slow.lies["make_join"] = never
    async with _in_the_same_room(room, slow, loopback_authority) as good, asyncio.timeout(20):
        (await _join(ann, room, slow.name, good.name)).ok()
        released.set()
        assert await _members(ann, room) == {ann.user_id, slow.user("olga"), good.user("zoe")}


@pytest.mark.parametrize("patience", [3, 4])
async def test_whoever_accepts_sooner_than_the_room_knows(
    federated: Federated, patience: int
) -> None:
    """Its server waits for our signature before it tells the room of the invitation."""
    hearth, peer = federated
    olga, ann = peer.user("olga"), await hearth.user("ann")
    room = peer.found(olga, rule="invite")
    refusal = {"errcode": "M_FORBIDDEN", "error": "not invited"}
    refused: list[Any] = []

    def not_yet(honest: Any) -> Any:
        refused.append(honest)
        return web.json_response(refusal, status=403) if len(refused) <= patience else honest

    peer.lies["make_join"] = not_yet
    # Whoever was not invited is told at once.
    assert (await _join(ann, room, peer.name)).status == 403
    assert len(refused) == 1
    refused.clear()
    room.add(await peer.invite(room, olga, ann.user_id))
    assert (await _join(ann, room)).status == (200 if patience == 3 else 403)


async def test_an_unknown_version(federated: Federated) -> None:
    hearth, peer = federated
    room, ann = peer.found(peer.user("olga")), await hearth.user("ann")
    peer.lies["make_join"] = lambda honest: {**honest, "room_version": "no.such.version"}
    answer = await _join(ann, room, peer.name)
    assert (answer.status, answer.errcode) == (400, "M_INCOMPATIBLE_ROOM_VERSION")


def _without(kind: str) -> Callable[[Any], Any]:
    def lie(honest: Any) -> Any:
        return {
            **honest,
            "state": [e for e in honest["state"] if e["type"] != kind],
            "auth_chain": [e for e in honest["auth_chain"] if e["type"] != kind],
        }

    return lie


def _spoilt(honest: Any) -> Any:
    """The topic is said to be another, under the old signature and hash."""
    state = [dict(event) for event in honest["state"]]
    for event in state:
        if event["type"] == "m.room.topic":
            event["signatures"] = {name: {"ed25519:x": "AAAA"} for name in event["signatures"]}
    return {**honest, "members_omitted": False, "state": state}


BAD_STATES: dict[str, Callable[[Any], Any]] = {
    "no beginning": _without("m.room.create"),
    "nothing": lambda honest: {**honest, "state": [], "auth_chain": []},
    "no list": lambda honest: {**honest, "state": {}},
    "no object": lambda honest: [200, honest],
    "no JSON": lambda _: web.Response(body=b"{", content_type="application/json"),
    "nonsense": lambda honest: {**honest, "state": [1, None, "x", {}, {"type": 5}]},
}


@pytest.mark.parametrize("lie", BAD_STATES.values(), ids=BAD_STATES.keys())
async def test_a_server_that_tells_no_state(
    federated: Federated, lie: Callable[[Any], Any]
) -> None:
    """The join fails, with nothing left of it, and an honest try works."""
    hearth, peer = federated
    room, ann = peer.found(peer.user("olga")), await hearth.user("ann")
    peer.lies["send_join"] = lie
    assert (await _join(ann, room, peer.name)).status == 502
    assert (await ann.get(f"{V3}/joined_rooms")).ok() == {"joined_rooms": []}
    peer.lies.clear()
    room.state.pop(("m.room.member", ann.user_id))
    (await _join(ann, room, peer.name)).ok()
    assert await _members(ann, room) == {ann.user_id, peer.user("olga")}


async def test_what_is_wrongly_signed_is_left_out(federated: Federated) -> None:
    hearth, peer = federated
    room, ann = peer.found(peer.user("olga")), await hearth.user("ann")
    peer.say_state(room, "m.room.topic", {"topic": "tea"}, peer.user("olga"))
    peer.lies["send_join"] = _spoilt
    (await _join(ann, room, peer.name)).ok()
    assert (await ann.get(f"{V3}/rooms/{room.room_id}/state/m.room.topic")).status == 404
    assert await _members(ann, room) == {ann.user_id, peer.user("olga")}


async def test_a_state_that_the_rules_forbid(federated: Federated) -> None:
    """Mallory, who has no power, is said to have set the topic: that is not believed."""
    hearth, peer = federated
    room, ann = peer.found(peer.user("olga")), await hearth.user("ann")
    mallory = peer.user("mallory")
    peer.say_state(room, "m.room.member", {"membership": "join"}, mallory, mallory)
    peer.say_state(room, "m.room.topic", {"topic": "mine"}, mallory)
    (await _join(ann, room, peer.name)).ok()
    assert (await ann.get(f"{V3}/rooms/{room.room_id}/state/m.room.topic")).status == 404
    assert mallory in await _members(ann, room)


async def test_another_rooms_state(federated: Federated) -> None:
    hearth, peer = federated
    olga, ann = peer.user("olga"), await hearth.user("ann")
    room, other = peer.found(olga), peer.found(olga)
    foreign = [json.loads(event.json) for event in other.state.values()]
    peer.lies["send_join"] = lambda honest: {**honest, "state": foreign, "auth_chain": foreign}
    assert (await _join(ann, room, peer.name)).status == 502


async def test_templates_say_nothing_for_us(federated: Federated) -> None:
    """What a template has beyond its place in the graph is not signed by us."""
    hearth, peer = federated
    room, ann = peer.found(peer.user("olga")), await hearth.user("ann")

    def lie(honest: Any) -> Any:
        event = {
            **honest["event"],
            "type": "m.room.power_levels",
            "sender": "@admin:" + hearth.name,
            "state_key": "",
            "room_id": "!other:" + peer.name,
            "content": {"membership": "ban", "users": {peer.user("mallory"): 100}},
            "origin_server_ts": now_ms() + 10**9,
            "extra": "field",
        }
        return {**honest, "event": event}

    peer.lies["make_join"] = lie
    (await _join(ann, room, peer.name)).ok()
    signed = json.loads(room.tips[0].json)
    assert (signed["type"], signed["sender"], signed["state_key"]) == (
        "m.room.member",
        ann.user_id,
        ann.user_id,
    )
    assert signed["content"]["membership"] == "join"
    assert "users" not in signed["content"]
    assert "extra" not in signed
    assert signed["room_id"] == room.room_id
    assert signed["origin_server_ts"] <= now_ms()


async def test_older_servers_are_asked_as_they_know_it(federated: Federated) -> None:
    """https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid"""
    hearth, peer = federated
    room, ann = peer.found(peer.user("olga"), "6"), await hearth.user("ann")
    answers = iter([None, "pair"])
    peer.lies["send_join"] = lambda honest: [200, honest] if next(answers) else None
    (await _join(ann, room, peer.name)).ok()
    assert [path.split("/")[3] for path in peer.asked if "send_join" in path] == ["v2", "v1"]


async def test_older_servers_are_told_of_a_rejection_as_they_know_it(federated: Federated) -> None:
    """https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_leaveroomideventid"""
    hearth, peer = federated
    olga, ann = peer.user("olga"), await hearth.user("ann")
    room = peer.found(olga, "6", "invite")
    room.add(await peer.invite(room, olga, ann.user_id))
    answers = iter([None, "pair"])
    peer.lies["send_leave"] = lambda honest: [200, honest] if next(answers) else None
    (await ann.post(f"{V3}/rooms/{room.room_id}/leave")).ok()
    assert [path.split("/")[3] for path in peer.asked if "send_leave" in path] == ["v2", "v1"]
    assert room.state[("m.room.member", ann.user_id)].membership == "leave"


async def test_a_room_of_a_dead_servers_people(federated: Federated) -> None:
    """The keys of servers that do not answer are asked of the one that we join through."""
    hearth, peer = federated
    room, ann = peer.found(peer.user("olga")), await hearth.user("ann")
    dead = peer.stranger("127.0.0.1:1")
    zoe = UserID(f"@zoe:{dead.server}")
    peer.say_state(room, "m.room.member", {"membership": "join"}, zoe, zoe, signer=dead)
    (await _join(ann, room, peer.name)).ok()
    assert zoe in await _members(ann, room)


@pytest.mark.parametrize("version", ["11", "12"])
async def test_who_was_there_knows_whom_to_ask(federated: Federated, version: str) -> None:
    """Whoever comes back need not name a server, whatever the room's ID says."""
    hearth, peer = federated
    room, ann = peer.found(peer.user("olga"), version), await hearth.user("ann")
    (await _join(ann, room, peer.name)).ok()
    peer.told.clear()
    (await ann.post(f"{V3}/rooms/{quote(room.room_id)}/leave")).ok()

    async def has_left() -> bool:
        pdus = [pdu for told in peer.told for pdu in told["pdus"]]
        return any(pdu["content"].get("membership") == "leave" for pdu in pdus)

    await eventually(has_left)
    peer.take(room, peer.told[-1]["pdus"][-1])
    (await _join(ann, room)).ok()
    assert await _members(ann, room) == {ann.user_id, peer.user("olga")}
