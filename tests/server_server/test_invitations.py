"""Invitations and knocks between servers, and what is shown of rooms with them.

https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web

from federation.building import sign_event
from federation.canonical_json import JsonObject
from federation.identifiers import UserID
from federation.room_versions import ROOM_VERSIONS, RoomVersion
from tests.client_server.test_device_lists import SLIDING
from tests.federation.net.loopback import Authority
from tests.server_server.answering import peering
from tests.server_server.conftest import V3, Scene
from tests.server_server.peer import V1, Peer, Room, now_ms, read
from tests.servers import Client, Hearth, eventually

Federated = tuple[Hearth, Peer]


async def _shown(user: Client, room: Room, section: str = "invite") -> list[JsonObject] | None:
    """The stripped state of an invitation, or a knock; `None` if there is none."""
    rooms = (await user.get(f"{V3}/sync", timeout=0)).ok().get("rooms", {}).get(section, {})
    found = rooms.get(room.room_id)
    events: list[JsonObject] | None = found and found[f"{section}_state"]["events"]
    return events


def _raw(room: Room) -> list[JsonObject]:
    return [json.loads(event.json) for event in room.state.values()]


# --- being invited ---

Lie = Callable[[list[JsonObject], list[JsonObject]], list[Any]]
LIES: dict[str, tuple[Lie, str]] = {
    "nothing": (lambda _, __: [], "M_MISSING_PARAM"),
    "no create event": (lambda shown, _: shown[1:], "M_MISSING_PARAM"),
    "another room's": (lambda _, other: other, "M_MISSING_PARAM"),
    "some of another room": (lambda shown, other: [*shown, other[1]], "M_INVALID_PARAM"),
    "stripped": (
        lambda shown, _: [
            *shown[:1],
            *({k: e[k] for k in ("type", "state_key", "sender", "content")} for e in shown[1:]),
        ],
        "M_INVALID_PARAM",
    ),
    "unsigned": (lambda shown, _: [*shown[:2], {**shown[2], "signatures": {}}], "M_INVALID_PARAM"),
    "nonsense": (lambda shown, _: [*shown, None, 5, "x", []], "M_INVALID_PARAM"),
}


@pytest.mark.parametrize("version", ["11", "12"])
async def test_what_is_shown_has_to_be_of_the_room(federated: Federated, version: str) -> None:
    """Since version 12 nobody is invited without proof; before, what is no proof is left out."""
    hearth, peer = federated
    olga, ann = peer.user("olga"), await hearth.user("ann")
    room, other = peer.found(olga, version, "invite"), peer.found(olga, version)
    for name, (lie, errcode) in LIES.items():
        shown = lie(_raw(room), _raw(other))
        _, (status, answer) = await peer.try_invite(room, olga, ann.user_id, shown)
        if version == "12":
            assert (status, answer["errcode"]) == (400, errcode), name
            assert await _shown(ann, room) is None
            continue
        assert status == 200, name
        for event in await _shown(ann, room) or ():
            assert event.keys() <= {"type", "state_key", "sender", "content"}
        kinds = {event["type"] for event in await _shown(ann, room) or ()}
        # A bare event cannot be known to be another room's; a whole one can.
        assert ("m.room.create" in kinds) == (errcode == "M_INVALID_PARAM"), name
    _, (status, _) = await peer.try_invite(room, olga, ann.user_id, _raw(room))
    assert status == 200
    told = {(e["type"], e["state_key"]): e["content"] for e in await _shown(ann, room) or ()}
    assert told[("m.room.create", "")] == dict(room.state[("m.room.create", "")].content)
    assert told[("m.room.member", ann.user_id)] == {"membership": "invite"}


async def test_what_is_no_invitation(federated: Federated) -> None:
    hearth, peer = federated
    olga, ann = peer.user("olga"), await hearth.user("ann")
    room = peer.found(olga, rule="invite")
    content = {"membership": "invite"}
    good = peer.make(room, "m.room.member", content, olga, ann.user_id)
    elsewhere = peer.make(room, "m.room.member", content, olga, peer.user("fay"))
    join = peer.make(room, "m.room.member", {"membership": "join"}, olga, ann.user_id)
    topic = peer.make(room, "m.room.topic", content, olga, ann.user_id)
    raw = json.loads(good.json)
    forged = {**raw, "signatures": {peer.name: {peer.key.key_id: "A" * 86}}}
    of_another = peer.stranger("127.0.0.1:1")
    theirs = peer.make(
        room, "m.room.member", content, UserID("@zoe:127.0.0.1:1"), ann.user_id, signer=of_another
    )
    wrong = [*((e.event_id, json.loads(e.json)) for e in (elsewhere, join, topic, theirs)),
             (good.event_id, forged), ("$" + "a" * 43, raw)]  # fmt: skip
    for event_id, event in wrong:
        path = f"/_matrix/federation/v2/invite/{quote(room.room_id)}/{quote(event_id)}"
        body = {"event": event, "room_version": "11", "invite_room_state": []}
        status, answer = await peer.ask("PUT", path, body)
        assert (status, answer["errcode"]) == (400, "M_INVALID_PARAM")
    path = f"/_matrix/federation/v2/invite/{quote(room.room_id)}/{quote(good.event_id)}"
    status, answer = await peer.ask("PUT", path, {"event": raw, "room_version": "no.such"})
    assert (status, answer["errcode"]) == (400, "M_INCOMPATIBLE_ROOM_VERSION")
    assert await _shown(ann, room) is None


def _refusing(status: int) -> Callable[[Any], Any]:
    refusal = {"errcode": "M_FORBIDDEN", "error": "no"}
    return lambda _: web.json_response(refusal, status=status)


@pytest.mark.parametrize("what", ["make_leave", "send_leave"])
@pytest.mark.parametrize("status", [403, 404, 500])
async def test_an_invitation_is_rejected_whatever_its_server_says(
    federated: Federated, what: str, status: int
) -> None:
    hearth, peer = federated
    olga, ann = peer.user("olga"), await hearth.user("ann")
    room = peer.found(olga, rule="invite")
    await peer.invite(room, olga, ann.user_id)
    peer.lies[what] = _refusing(status)
    since = (await ann.get(f"{V3}/sync", timeout=0)).ok()["next_batch"]
    slid = await _slide(ann, room)
    assert slid["rooms"][room.room_id]["membership"] == "invite"
    (await ann.post(f"{V3}/rooms/{room.room_id}/leave", {"reason": "no time"})).ok()
    assert await _shown(ann, room) is None
    await _departs(ann, room, since, slid["pos"], ann.user_id)


async def _slide(ann: Client, room: Room, pos: str | None = None) -> Any:
    config = {"timeline_limit": 1, "required_state": [["m.room.member", "$ME"]]}
    body = {"lists": {"all": {"ranges": [[0, 9]], **config}}}
    query = {"pos": pos} if pos else {}
    return (await ann.post(SLIDING, body, timeout=0, **query)).ok()


async def _departs(ann: Client, room: Room, since: str, pos: str, by: str) -> None:
    """Both kinds of sync show the event that ended it, and once only."""
    news = (await ann.get(f"{V3}/sync", timeout=0, since=since)).ok()
    assert news["rooms"].keys() == {"leave"}
    left = news["rooms"]["leave"][room.room_id]
    assert left["state"]["events"] == []
    [event] = left["timeline"]["events"]
    assert event["content"] == {"membership": "leave", "reason": "no time"}
    assert (event["sender"], event["state_key"]) == (by, ann.user_id)
    assert "rooms" not in (await ann.get(f"{V3}/sync", timeout=0, since=news["next_batch"])).ok()
    assert "rooms" not in (await ann.get(f"{V3}/sync", timeout=0)).ok()
    asked = json.dumps({"room": {"include_leave": True}})
    archive = (await ann.get(f"{V3}/sync", timeout=0, filter=asked)).ok()["rooms"]["leave"]
    assert archive[room.room_id]["timeline"]["events"][0]["event_id"] == event["event_id"]

    slid = await _slide(ann, room, pos)
    section = slid["rooms"][room.room_id]
    assert section["membership"] == "leave"
    assert [e["event_id"] for e in section["required_state"]] == [event["event_id"]]
    assert (await _slide(ann, room, slid["pos"]))["rooms"] == {}
    assert (await _slide(ann, room))["rooms"] == {}


async def test_an_invitation_is_taken_back(federated: Federated) -> None:
    hearth, peer = federated
    olga, ann = peer.user("olga"), await hearth.user("ann")
    room = peer.found(olga, rule="invite")
    room.add(await peer.invite(room, olga, ann.user_id))
    since = (await ann.get(f"{V3}/sync", timeout=0)).ok()["next_batch"]
    slid = await _slide(ann, room)
    content = {"membership": "leave", "reason": "no time"}
    kick = peer.make(room, "m.room.member", content, olga, ann.user_id)
    assert await peer.send([kick]) == {kick.event_id: {}}
    await _departs(ann, room, since, slid["pos"], olga)
    # Who is asked again is asked.
    room.add(kick)
    await peer.invite(room, olga, ann.user_id)
    assert await _shown(ann, room) is not None


async def test_what_was_before_an_invitation_does_not_take_it_back(federated: Federated) -> None:
    """Whoever was unbanned and invited stays invited, in whatever order word of it comes."""
    hearth, peer = federated
    olga, ann = peer.user("olga"), await hearth.user("ann")
    room = peer.found(olga, rule="invite")
    ban = peer.make(room, "m.room.member", {"membership": "ban"}, olga, ann.user_id)
    room.add(ban)
    unban = peer.make(room, "m.room.member", {"membership": "leave"}, olga, ann.user_id)
    room.add(unban)
    room.add(await peer.invite(room, olga, ann.user_id))
    for late in (unban, ban):
        assert "error" in (await peer.send([late]))[late.event_id]
    assert await _shown(ann, room) is not None


async def test_an_invitation_of_a_server_that_is_gone(federated: Federated) -> None:
    hearth, peer = federated
    olga, ann = peer.user("olga"), await hearth.user("ann")
    room = peer.found(olga, rule="invite")
    await peer.invite(room, olga, ann.user_id)
    assert await _shown(ann, room) is not None

    def hang_up(_: Any) -> Any:
        raise web.HTTPBadGateway

    peer.lies["make_leave"] = hang_up
    (await ann.post(f"{V3}/rooms/{room.room_id}/leave")).ok()
    assert await _shown(ann, room) is None
    # It does not come back, and the room can be forgotten.
    (await ann.post(f"{V3}/rooms/{room.room_id}/forget")).ok()
    assert room.room_id not in str((await ann.get(f"{V3}/sync", timeout=0)).ok())


async def test_the_room_learns_of_a_rejection(federated: Federated) -> None:
    hearth, peer = federated
    olga, ann = peer.user("olga"), await hearth.user("ann")
    room = peer.found(olga, rule="invite")
    room.add(await peer.invite(room, olga, ann.user_id))
    (await ann.post(f"{V3}/rooms/{room.room_id}/leave", {"reason": "no time"})).ok()
    left = room.state[("m.room.member", ann.user_id)]
    assert left.content == {"membership": "leave", "reason": "no time"}


# --- inviting ---


@pytest.mark.parametrize("version", ["11", "12"])
async def test_whole_events_show_the_room(federated: Federated, version: str) -> None:
    hearth, peer = federated
    ann = await hearth.user("ann")
    wish = {"preset": "private_chat", "room_version": version, "name": "Tea"}
    room_id = (await ann.post(f"{V3}/createRoom", wish)).ok()["room_id"]
    path = f"{V3}/rooms/{room_id}/invite"
    (await ann.post(path, {"user_id": peer.user("fay")})).ok()
    (body,) = peer.invited
    assert body["room_version"] == version
    known = read(body["event"], _version(version)).version
    shown = [read(one, known) for one in body["invite_room_state"]]
    assert all(event.room_id == room_id for event in shown)
    kinds = {event.type for event in shown}
    assert kinds >= {"m.room.create", "m.room.name", "m.room.join_rules", "m.room.member"}


def _version(name: str) -> RoomVersion:
    return ROOM_VERSIONS[name]


@pytest.mark.parametrize(("version", "falls_back"), [("1", True), ("2", True), ("3", False)])
async def test_servers_that_know_the_older_endpoint(
    federated: Federated, version: str, falls_back: bool
) -> None:
    """https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid"""
    hearth, peer = federated
    ann = await hearth.user("ann")
    wish = {"preset": "private_chat", "room_version": version}
    room_id = (await ann.post(f"{V3}/createRoom", wish)).ok()["room_id"]

    def old(honest: Any) -> Any:
        return [200, honest] if "event_id" in peer.invited[-1] else None

    peer.lies["invite"] = old
    fay = peer.user("fay")
    answer = await ann.post(f"{V3}/rooms/{room_id}/invite", {"user_id": fay})
    assert [path.split("/")[3] for path in peer.asked if "/invite/" in path] == (
        ["v2", "v1"] if falls_back else ["v2"]
    )
    if falls_back:
        assert answer.ok() == {}
        shown = peer.invited[-1]["unsigned"]["invite_room_state"]
        assert "m.room.create" in {event["type"] for event in shown}
    member = await ann.get(f"{V3}/rooms/{room_id}/state/m.room.member/{quote(fay)}")
    assert (member.status == 200) is falls_back


@pytest.mark.parametrize(
    ("status", "errcode", "told"),
    [
        (403, "M_FORBIDDEN", (403, "M_FORBIDDEN")),
        (403, "M_INVITE_BLOCKED", (403, "M_INVITE_BLOCKED")),
        (400, "M_INCOMPATIBLE_ROOM_VERSION", (400, "M_INCOMPATIBLE_ROOM_VERSION")),
        # There is nothing that the client could do otherwise.
        (400, "M_MISSING_PARAM", (502, "M_UNKNOWN")),
        (400, "M_INVALID_PARAM", (502, "M_UNKNOWN")),
        (500, "M_UNKNOWN", (502, "M_UNKNOWN")),
    ],
)
async def test_who_is_not_to_be_invited(
    scene: Scene, status: int, errcode: str, told: tuple[int, str]
) -> None:
    refusal = {"errcode": errcode, "error": "no"}
    scene.peer.lies["invite"] = lambda _: web.json_response(refusal, status=status)
    answer = await scene.ann.post(f"{scene.path}/invite", {"user_id": scene.peer.user("fay")})
    assert (answer.status, answer.errcode) == told


async def test_who_is_banned_is_not_invited(scene: Scene) -> None:
    fay = {"user_id": scene.peer.user("fay")}
    (await scene.ann.post(f"{scene.path}/ban", fay)).ok()
    answer = await scene.ann.post(f"{scene.path}/invite", fay)
    assert (answer.status, answer.errcode) == (403, "M_FORBIDDEN")
    assert scene.peer.invited == []
    (await scene.ann.post(f"{scene.path}/unban", fay)).ok()
    (await scene.ann.post(f"{scene.path}/invite", fay)).ok()
    assert len(scene.peer.invited) == 1


async def test_an_invitation_comes_after_what_was_before_it(scene: Scene) -> None:
    """However long the other server takes: it would hold the invitation to be taken back."""
    peer, eve = scene.peer, {"user_id": scene.peer.user("eve")}
    taken: list[str] = []

    async def slow(answer: Any) -> Any:
        told = str(peer.told[-1])
        await asyncio.sleep(0.3)
        taken.append(told)
        return answer

    def inviting(answer: Any) -> Any:
        taken.append("invited")
        return answer

    peer.lies |= {"send": slow, "invite": inviting}
    (await scene.ann.post(f"{scene.path}/kick", eve)).ok()
    (await scene.ann.post(f"{scene.path}/invite", eve)).ok()
    before = taken[: taken.index("invited")]
    assert any("'membership': 'leave'" in told for told in before)


async def test_a_ban_is_lifted_where_it_matters(scene: Scene) -> None:
    """A server in which nobody is there is not told: it could take that for the end of more."""
    peer, eve = scene.peer, {"user_id": scene.peer.user("eve")}
    for what in ("ban", "unban", "invite"):
        (await scene.ann.post(f"{scene.path}/{what}", eve)).ok()
    (await scene.ann.post(f"{scene.path}/kick", {**eve, "reason": "last"})).ok()

    async def told() -> list[JsonObject]:
        pdus = [pdu for told in peer.told for pdu in told.get("pdus", [])]
        return pdus if pdus and pdus[-1]["content"].get("reason") == "last" else []

    pdus = await eventually(told)
    assert [pdu["content"]["membership"] for pdu in pdus] == ["ban", "leave"]
    assert len(peer.invited) == 1


# --- knocking ---


@pytest.mark.parametrize("version", ["11", "12"])
async def test_who_knocks_is_shown_whole_events(federated: Federated, version: str) -> None:
    hearth, peer = federated
    ann, fay = await hearth.user("ann"), peer.user("fay")
    rules = {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}
    wish = {"room_version": version, "initial_state": [rules]}
    room_id = (await ann.post(f"{V3}/createRoom", wish)).ok()["room_id"]
    path = f"{V1}/make_knock/{quote(room_id)}/{quote(fay)}?ver={version}"
    status, made = await peer.ask("GET", path)
    assert status == 200
    known = _version(version)
    knock = sign_event({**made["event"], "origin_server_ts": now_ms()}, known, peer.signer)
    path = f"{V1}/send_knock/{quote(room_id)}/{quote(knock.event_id)}"
    status, answer = await peer.ask("PUT", path, json.loads(knock.json))
    assert status == 200
    shown = [read(one, known) for one in answer["knock_room_state"]]
    assert all(event.room_id == room_id for event in shown)
    assert {event.type for event in shown} >= {"m.room.create", "m.room.join_rules"}


@pytest.mark.parametrize("version", ["11", "12"])
async def test_what_is_shown_to_who_knocks(federated: Federated, version: str) -> None:
    """What is no event of the room is left out."""
    hearth, peer = federated
    olga, ann = peer.user("olga"), await hearth.user("ann")
    room, other = peer.found(olga, version, "knock"), peer.found(olga, version)
    bare = {"type": "m.room.name", "state_key": "", "sender": olga, "content": {"name": "Tea"}}
    topic = peer.make(room, "m.room.topic", {"topic": "tea"}, olga, "")
    unsigned = {**json.loads(topic.json), "signatures": {}}
    peer.lies["send_knock"] = lambda honest: {
        "knock_room_state": [*honest["knock_room_state"], _raw(other)[0], bare, unsigned, None, 5]
    }
    (await ann.post(f"{V3}/knock/{quote(room.room_id)}?via={quote(peer.name)}")).ok()
    shown = await _shown(ann, room, "knock") or []
    kinds = [event["type"] for event in shown if event["type"] != "m.room.member"]
    expected = ["m.room.create", "m.room.power_levels", "m.room.join_rules"]
    # COMPAT(servers before v1.16) they tell no whole events.
    assert sorted(kinds) == sorted(expected + (["m.room.name"] if version == "11" else []))
    assert all(event.keys() == {"type", "state_key", "sender", "content"} for event in shown)


@pytest.mark.parametrize("version", ["11", "12"])
async def test_a_knock_is_taken_back(federated: Federated, version: str) -> None:
    """Though the room's ID may name no server."""
    hearth, peer = federated
    olga, ann = peer.user("olga"), await hearth.user("ann")
    room = peer.found(olga, version, "knock")
    (await ann.post(f"{V3}/knock/{quote(room.room_id)}?via={quote(peer.name)}")).ok()
    (await ann.post(f"{V3}/rooms/{quote(room.room_id)}/leave")).ok()
    assert room.state[("m.room.member", ann.user_id)].membership == "leave"
    assert await _shown(ann, room, "knock") is None


async def test_a_knock_is_denied(federated: Federated, loopback_authority: Authority) -> None:
    """By somebody of a server that is seen to have a say in the room, and nobody else."""
    hearth, peer = federated
    olga, ann = peer.user("olga"), await hearth.user("ann")
    room = peer.found(olga, "12", "knock")
    (await ann.post(f"{V3}/knock/{quote(room.room_id)}?via={quote(peer.name)}")).ok()
    content = {"membership": "leave"}
    async with peering(hearth, loopback_authority) as other:
        forged = other.make(room, "m.room.member", content, other.user("mal"), ann.user_id)
        assert "error" in (await other.send([forged]))[forged.event_id]
    assert await _shown(ann, room, "knock") is not None
    since = (await ann.get(f"{V3}/sync", timeout=0)).ok()["next_batch"]
    denied = peer.make(room, "m.room.member", content, olga, ann.user_id)
    assert await peer.send([denied]) == {denied.event_id: {}}
    assert await _shown(ann, room, "knock") is None
    told = (await ann.get(f"{V3}/sync", timeout=0, since=since)).ok()["rooms"]["leave"]
    (event,) = told[room.room_id]["timeline"]["events"]
    assert (event["sender"], event["content"]) == (olga, content)
    # Who is let in after all is.
    invited = await peer.try_invite(room, olga, ann.user_id, _raw(room))
    assert invited[1][0] == 200
    assert await _shown(ann, room) is not None


async def test_an_invitation_that_nobody_could_accept_stands(federated: Federated) -> None:
    """The server tells of a room in which it is none."""
    hearth, peer = federated
    olga, ann = peer.user("olga"), await hearth.user("ann")
    room = peer.found(olga, rule="invite")
    invitation = await peer.invite(room, olga, ann.user_id)
    shown = await _shown(ann, room)
    tips, state = list(room.tips), dict(room.state)
    assert (await ann.post(f"{V3}/join/{room.room_id}")).status == 403
    assert await _shown(ann, room) == shown
    room.tips, room.state = tips, state
    room.add(invitation)
    (await ann.post(f"{V3}/join/{room.room_id}")).ok()
    assert await _shown(ann, room) is None
