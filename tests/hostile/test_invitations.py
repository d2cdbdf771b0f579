"""Invitations, knocks and joins that nobody wants.

https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from federation.canonical_json import JsonObject
from homeserver.config.settings import RateLimits
from homeserver.config.values import Rate
from tests.database import Server
from tests.federation.net.loopback import Authority
from tests.hostile.asking import Answer, ask
from tests.server_server.answering import peering
from tests.server_server.conftest import V3, Scene
from tests.server_server.peer import V1, V2, Peer, Room
from tests.servers import Client, Hearth, federating

FEW = Rate.parse("3/1h")
LIMITS = RateLimits(
    invites_by_server=Rate.parse("5/1h"),
    invites_to_user=FEW,
    joins_by_server=FEW,
    federation_states=FEW,
)


class Limited(NamedTuple):
    """A server with low limits, and two peers."""

    hearth: Hearth
    peer: Peer
    other: Peer


@pytest.fixture
async def limited(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> AsyncIterator[Limited]:
    async with (
        federating(postgres, tmp_path, loopback_authority, rate_limits=LIMITS) as hearth,
        peering(hearth, loopback_authority) as peer,
        peering(hearth, loopback_authority) as other,
    ):
        yield Limited(hearth, peer, other)


async def invite(peer: Peer, room: Room, user_id: str, shown: list[Any] | None = None) -> Answer:
    """Invite somebody into a room of the peer's."""
    owner = peer.user("eve")
    event = peer.make(room, "m.room.member", {"membership": "invite"}, owner, user_id)
    body: JsonObject = {"event": json.loads(event.json), "room_version": room.version.name}
    body["invite_room_state"] = shown or []
    path = f"{V2}/invite/{room.room_id}/{event.event_id}"
    return await ask(peer, "PUT", path, json.dumps(body).encode())


async def invited(user: Client) -> dict[str, Any]:
    """The rooms that somebody is invited to, with what they are shown of them."""
    rooms = (await user.get(f"{V3}/sync", timeout=0)).ok().get("rooms", {}).get("invite", {})
    return {room_id: room["invite_state"]["events"] for room_id, room in rooms.items()}


async def test_many_invitations(limited: Limited) -> None:
    """Of one server, and of one person: the honest server still gets through to others."""
    hearth, peer, other = limited
    ann, ben, cat = [await hearth.user(name) for name in ("ann", "ben", "cat")]
    rooms = [peer.found(peer.user("eve")) for _ in range(6)]
    answers = [await invite(peer, room, ann.user_id) for room in rooms[:5]]
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    late = await invite(peer, rooms[5], ben.user_id)
    assert (late.status, late.errcode) == (429, "M_LIMIT_EXCEEDED")
    assert late.json["retry_after_ms"] > 0
    assert "Retry-After" in late.headers
    assert set(await invited(ann)) == {room.room_id for room in rooms[:3]}
    honest = other.found(other.user("eve"))
    assert (await invite(other, honest, ann.user_id)).status == 429
    assert (await invite(other, honest, cat.user_id)).status == 200
    assert set(await invited(cat)) == {honest.room_id}


async def test_many_invitations_by_address(limited: Limited) -> None:
    """Anybody may hand them in, many at a time; each would have another server asked."""
    hearth, peer = limited.hearth, limited.peer
    ann = await hearth.user("ann")
    signed = {"mxid": ann.user_id, "token": "t", "signatures": {"x": {"ed25519:0": "x"}}}
    waiting = {"room_id": f"!r:{peer.name}", "sender": peer.user("eve"), "mxid": ann.user_id}
    body = {"mxid": ann.user_id, "invites": [{**waiting, "signed": signed}] * 3}
    path = f"{V1}/3pid/onbind"
    peer.lies["exchange_third_party_invite"] = lambda _: web.json_response({}, status=403)
    for status, asked in ((403, 3), (429, 0)):
        peer.asked.clear()
        assert (await hearth.anybody.put(path, body)).status == status
        assert sum("exchange" in path for path in peer.asked) == asked


async def test_many_joins_knocks_and_states(limited: Limited) -> None:
    hearth, peer, other = limited
    ann = await hearth.user("ann")
    wish = {"preset": "public_chat", "room_version": "11"}
    room_id = (await ann.post(f"{V3}/createRoom", wish)).ok()["room_id"]
    for number in range(3):
        room = await peer.join(room_id, peer.user(f"eve{number}"))
    join = {"membership": "join"}
    late = peer.make(room, "m.room.member", join, peer.user("late"), peer.user("late"))
    for what in ("send_join", "send_knock"):
        version = V2 if what == "send_join" else V1
        path = f"{version}/{what}/{room_id}/{late.event_id}"
        answer = await ask(peer, "PUT", path, late.json)
        assert (answer.status, answer.errcode) == (429, "M_LIMIT_EXCEEDED")
    await other.join(room_id, other.user("honest"))
    path = f"{V1}/state_ids/{room_id}?event_id={room.tips[0].event_id}"
    statuses = [(await ask(peer, "GET", path)).status for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    assert (await ask(other, "GET", path)).status == 200


async def test_what_is_shown_with_an_invitation(federated: tuple[Hearth, Peer]) -> None:
    """As much of it as is stripped state, and not too much of that."""
    hearth, peer = federated
    ann, eve = await hearth.user("ann"), peer.user("eve")
    good = {"type": "m.room.name", "state_key": "", "content": {"name": "tea"}, "sender": eve}
    wrong: list[Any] = [
        None, 5, [], {}, good | {"type": 5}, good | {"state_key": None}, good | {"content": []},
        good | {"sender": "x"}, {**good, "sender": {}},
    ]  # fmt: skip
    filler = [good | {"type": f"m.x{n}", "content": {"x": "x" * 1000}} for n in range(2000)]
    room = peer.found(eve)
    assert (await invite(peer, room, ann.user_id, [*wrong, good, *filler])).status == 200
    shown = (await invited(ann))[room.room_id]
    assert len(shown) <= 52
    assert good in shown
    assert all(one["sender"] in {eve, ann.user_id} for one in shown)
    assert all(set(one) <= {"type", "state_key", "content", "sender", "origin_server_ts",
                            "event_id", "unsigned"} for one in shown)  # fmt: skip
    giant = good | {"content": {"name": "x" * 1_000_000}}
    room = peer.found(eve)
    assert (await invite(peer, room, ann.user_id, [good, giant])).status == 200
    assert len(json.dumps((await invited(ann))[room.room_id])) < 300_000
    (await ann.post(f"{V3}/rooms/{room.room_id}/leave")).ok()


async def test_for_whom_there_is_no_invitation(scene: Scene) -> None:
    """For nobody, for somebody gone, for others' users; and who is in the room stays there."""
    peer, hearth, eve = scene.peer, scene.hearth, scene.peer.user("eve")
    gone = await hearth.user("gone")
    process = hearth.parts.base.process
    async with process.database.reader() as conn:
        (nid,) = (await process.numbers.users.find(conn, [gone.user_id])).values()
    await hearth.parts.accounts.management.deactivate(nid)
    room = peer.found(eve)
    for user_id in (f"@nobody:{hearth.name}", gone.user_id, "@x:nowhere.invalid", "x", ""):
        answer = await invite(peer, room, user_id)
        assert 400 <= answer.status < 500, user_id
    assert (await invite(peer, scene.room, scene.ann.user_id)).status in {200, 403}
    members = (await scene.ann.get(f"{scene.path}/joined_members")).ok()["joined"]
    assert scene.ann.user_id in members
    assert await invited(scene.ann) == {}
    await scene.say("still-here")
