"""People of other servers in rooms whose rules let in the members of others.

https://spec.matrix.org/v1.19/server-server-api/#restricted-rooms
"""

import json
from urllib.parse import quote

from federation.building import sign_event
from federation.canonical_json import JsonObject
from federation.identifiers import RoomID, UserID
from federation.room_versions import ROOM_VERSIONS
from homeserver.rooms.restricted import AUTHORISER
from tests.server_server.conftest import V3, Scene
from tests.server_server.peer import V1, V2, now_ms
from tests.servers import Client

_VERSION = ROOM_VERSIONS["11"]


async def _hall(ann: Client, club: RoomID) -> RoomID:
    """A room that the members of another one may join."""
    allow = [{"type": "m.room_membership", "room_id": club}]
    rules = {"join_rule": "restricted", "allow": allow}
    initial = [{"type": "m.room.join_rules", "content": rules}]
    body = {"room_version": _VERSION.name, "initial_state": initial}
    return RoomID((await ann.post(f"{V3}/createRoom", body)).ok()["room_id"])


async def _made(scene: Scene, room: RoomID, user: UserID) -> tuple[int, JsonObject]:
    path = f"{V1}/make_join/{quote(room)}/{quote(user)}?ver={_VERSION.name}"
    status, answer = await scene.peer.ask("GET", path)
    return status, answer.get("event", answer)


async def _join(
    scene: Scene, room: RoomID, made: JsonObject, user: UserID
) -> tuple[int, JsonObject]:
    fields = {**made, "origin_server_ts": now_ms(), "sender": user, "state_key": user}
    event = sign_event(fields, _VERSION, scene.peer.signer)
    path = f"{V2}/send_join/{quote(room)}/{quote(event.event_id)}"
    return await scene.peer.ask("PUT", path, json.loads(event.json))


async def test_who_comes_in_meets_the_condition(scene: Scene) -> None:
    """By the time that they do, whatever event they say they were handed."""
    peer, ann, club = scene.peer, scene.ann, scene.room.room_id
    hall, eve, fay = await _hall(ann, club), peer.user("eve"), peer.user("fay")
    assert (await _made(scene, hall, fay))[0] == 403
    status, made = await _made(scene, hall, eve)
    assert status == 200
    assert made["content"][AUTHORISER] == ann.user_id
    status, answer = await _join(scene, hall, made, fay)
    assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")
    members = (await ann.get(f"{V3}/rooms/{hall}/joined_members")).ok()["joined"]
    assert set(members) == {ann.user_id}
    (await ann.post(f"{V3}/rooms/{club}/kick", {"user_id": eve})).ok()
    status, answer = await _join(scene, hall, made, eve)
    assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")
    await peer.join(club, eve)
    status, answer = await _join(scene, hall, made, eve)
    assert status == 200, answer
    assert set(answer["event"]["signatures"]) == {peer.name, scene.hearth.name}


async def test_who_is_invited_needs_no_condition(scene: Scene) -> None:
    peer, ann, fay = scene.peer, scene.ann, scene.peer.user("fay")
    hall = await _hall(ann, scene.room.room_id)
    _, made = await _made(scene, hall, peer.user("eve"))
    (await ann.post(f"{V3}/rooms/{hall}/invite", {"user_id": fay})).ok()
    status, asked = await _made(scene, hall, fay)
    assert (status, asked["content"]) == (200, {"membership": "join"})
    status, answer = await _join(scene, hall, {**asked, "content": made["content"]}, fay)
    assert status == 200, answer


async def test_nothing_is_known_of_a_room_that_we_left(scene: Scene) -> None:
    """Who was in it may be somewhere else by now: another server has to be asked."""
    peer, ann, club = scene.peer, scene.ann, scene.room.room_id
    hall, eve = await _hall(ann, club), peer.user("eve")
    _, made = await _made(scene, hall, eve)
    hierarchy = f"{V1}/hierarchy/{quote(hall)}"
    assert (await peer.ask("GET", hierarchy))[0] == 200
    (await ann.post(f"{V3}/rooms/{club}/leave")).ok()
    for status, answer in (await _made(scene, hall, eve), await _join(scene, hall, made, eve)):
        assert (status, answer["errcode"]) == (400, "M_UNABLE_TO_AUTHORISE_JOIN")
    assert (await peer.ask("GET", hierarchy))[0] == 404


async def test_nothing_is_known_of_a_room_whose_members_are_not(scene: Scene) -> None:
    peer, ann, eve = scene.peer, scene.ann, scene.peer.user("eve")
    club = peer.found(peer.user("olga"))
    for number in range(8):
        member = peer.user(f"m{number}")
        peer.say_state(club, "m.room.member", {"membership": "join"}, member, member)
    peer.say_state(club, "m.room.member", {"membership": "join"}, eve, eve)
    peer.lies["state_ids"] = peer.lies["state"] = lambda _: None
    (await ann.post(f"{V3}/join/{quote(club.room_id)}?via={peer.name}")).ok()
    hall = await _hall(ann, club.room_id)
    for user, known in ((peer.user("m6"), False), (peer.user("m0"), True)):
        status, answer = await _made(scene, hall, user)
        assert (status == 200) is known
        assert known or answer["errcode"] == "M_UNABLE_TO_AUTHORISE_JOIN"
