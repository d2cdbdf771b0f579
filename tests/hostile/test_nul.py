"""NUL wherever a text may stand: JSON has it, the database does not.

https://spec.matrix.org/v1.19/appendices/#canonical-json
"""

import json
from typing import Any
from urllib.parse import quote

import pytest

from federation.events import Event
from tests.hostile.asking import ask
from tests.server_server.conftest import V3, Scene
from tests.server_server.peer import V1

NUL = "a\0b"
KEY = {"ed25519": "MCowBQYDK2VwAyEA"}


async def goes_on(scene: Scene) -> None:
    """Both sides can speak, and read what is there."""
    peer, eve = scene.peer, scene.peer.user("eve")
    await scene.say("ours")
    said = peer.say(scene.room, "theirs", eve)
    assert await peer.send([said]) == {said.event_id: {}}
    scene.room.add(said)
    assert {"ours", "theirs"} <= {text for text in await scene.texts() if text}
    for path in (f"{scene.path}/state", f"{scene.path}/members", f"{V3}/sync"):
        assert (await scene.ann.get(path)).status == 200
    summary = await scene.ann.get(f"/_matrix/client/v1/rooms/{scene.room.room_id}/hierarchy")
    assert summary.status == 200


def contents(scene: Scene) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Events with NUL in what is looked up because of them: type, key and content."""
    eve, late = scene.peer.user("eve"), scene.peer.user("late")
    signed = {"mxid": late, "token": NUL, "signatures": {scene.peer.name: {"ed25519:0": "x"}}}
    by_address = {"membership": "invite", "third_party_invite": {
        "display_name": NUL, "signed": signed}}  # fmt: skip
    authorised = {"membership": "join", "join_authorised_via_users_server": f"@{NUL}:x.test"}
    return {
        "invite by address": ("m.room.member", late, by_address),
        "authorised": ("m.room.member", late, authorised),
        "name": ("m.room.member", eve, {"membership": "join", "displayname": NUL}),
        "policy": ("m.room.policy", "", {"via": NUL, "public_keys": KEY}),
        "old policy": ("org.matrix.msc4284.policy", "", {"via": NUL, "public_key": NUL}),
        "alias": ("m.room.canonical_alias", "", {"alias": f"#{NUL}:x", "alt_aliases": [NUL]}),
        "tombstone": ("m.room.tombstone", "", {"replacement_room": f"!{NUL}:x", "body": NUL}),
        "topic": ("m.room.topic", "", {"topic": NUL}),
        "acl": ("m.room.server_acl", "", {"allow": ["*", NUL], "deny": [NUL]}),
        "pinned": ("m.room.pinned_events", "", {"pinned": [f"${NUL}"]}),
        "rules": ("m.room.join_rules", "", {"join_rule": "restricted", "allow": [
            {"type": "m.room_membership", "room_id": f"!{NUL}:x"}]}),
        "child": ("m.space.child", f"!x:{scene.peer.name}", {"via": [NUL], "order": NUL}),
        "encryption": ("m.room.encryption", "", {"algorithm": NUL}),
        "visibility": ("m.room.history_visibility", "", {"history_visibility": NUL}),
        "levels": ("m.room.power_levels", "", {
            "users": {scene.ann.user_id: 100, eve: 100}, "events": {NUL: 5}}),
        "lifetime": ("m.room.retention", "", {"max_lifetime": NUL}),
    }  # fmt: skip


NAMES = (
    "invite by address", "authorised", "name", "policy", "old policy", "alias", "tombstone",
    "topic", "acl", "pinned", "rules", "child", "encryption", "visibility", "levels", "lifetime",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
async def test_in_the_state(scene: Scene, name: str) -> None:
    """It is taken or refused by the rules, and the room goes on."""
    peer, eve = scene.peer, scene.peer.user("eve")
    levels = {"users": {scene.ann.user_id: 100, eve: 100}}
    await took(scene, await ours(scene, "m.room.power_levels", levels))
    kind, key, content = contents(scene)[name]
    event = peer.make(scene.room, kind, content, eve, key)
    results = await peer.send([event])
    assert results[event.event_id].get("error", "") != "internal error"
    if results[event.event_id] == {}:
        scene.room.add(event)
    await goes_on(scene)


async def ours(scene: Scene, kind: str, content: Any) -> str:
    answer = await scene.ann.put(f"{scene.path}/state/{kind}", content)
    return str(answer.ok()["event_id"])


async def took(scene: Scene, event_id: str) -> Event:
    """The peer knows an event of ours."""
    status, answer = await scene.peer.ask("GET", f"{V1}/event/{quote(event_id)}")
    assert status == 200
    return scene.peer.take(scene.room, answer["pdus"][0])


async def test_in_messages(scene: Scene) -> None:
    peer, eve = scene.peer, scene.peer.user("eve")
    relations: list[Any] = [
        {"rel_type": NUL, "event_id": scene.room.tips[0].event_id},
        {"rel_type": "m.thread", "event_id": f"${NUL}"},
        {"rel_type": "m.annotation", "event_id": f"${NUL}", "key": NUL},
        {"m.in_reply_to": {"event_id": NUL}},
    ]
    for relation in relations:
        content = {"body": NUL, "msgtype": NUL, "m.relates_to": relation, "url": f"mxc://x/{NUL}",
                   "m.mentions": {"user_ids": [f"@{NUL}:x", NUL]}}  # fmt: skip
        for kind in ("m.room.message", "m.reaction", NUL):
            event = peer.make(scene.room, kind, content, eve)
            assert await peer.send([event]) == {event.event_id: {}}
            scene.room.add(event)
    redaction = {"redacts": f"${NUL}", "reason": NUL}
    event = peer.make(scene.room, "m.room.redaction", redaction, eve)
    assert await peer.send([event]) == {event.event_id: {}}
    scene.room.add(event)
    await goes_on(scene)


async def test_in_edus(scene: Scene) -> None:
    peer, room_id, ann = scene.peer, scene.room.room_id, scene.ann.user_id
    users = [peer.user("eve"), f"@{NUL}:{peer.name}", NUL]
    receipt = {"data": {"ts": 1, "thread_id": NUL}, "event_ids": [f"${NUL}", NUL]}
    edus: list[Any] = [{"edu_type": NUL, "content": {NUL: NUL}}]
    for user in users:
        keys = {"user_id": user, "device_id": NUL, "algorithms": [NUL], "keys": {NUL: NUL}}
        device = {"user_id": user, "device_id": NUL, "stream_id": 5, "prev_id": [], "keys": keys}
        device["device_display_name"] = NUL
        key = {"user_id": user, "usage": ["master"], "keys": {f"ed25519:{NUL}": NUL}}
        edus += [
            {"edu_type": kind, "content": content}
            for kind, content in (
                ("m.typing", {"room_id": room_id, "user_id": user, "typing": True}),
                ("m.typing", {"room_id": f"!{NUL}:x", "user_id": user, "typing": True}),
                ("m.receipt", {room_id: {"m.read": {user: receipt}, NUL: {user: receipt}}}),
                ("m.presence", {"push": [
                    {"user_id": user, "presence": "online", "status_msg": NUL}]}),
                ("m.device_list_update", device),
                ("m.device_list_update", {**device, "device_id": "D"}),
                ("m.signing_key_update", {"user_id": user, "master_key": key}),
                ("m.direct_to_device", {"sender": user, "type": NUL, "message_id": NUL,
                    "messages": {ann: {NUL: {NUL: NUL}, "*": {NUL: NUL}},
                                 f"@{NUL}:x": {"*": {}}}}),
            )
        ]  # fmt: skip
    assert await peer.send([], edus) == {}
    await goes_on(scene)


async def test_in_requests(scene: Scene) -> None:
    """By name and by address; each is refused as what it is."""
    peer, room_id = scene.peer, quote(scene.room.room_id)
    late = peer.user("late")
    signed = {"mxid": late, "token": NUL, "signatures": {peer.name: {"ed25519:0": "x"}}}
    exchange = {"type": "m.room.member", "room_id": scene.room.room_id, "state_key": late,
                "sender": scene.ann.user_id, "content": {"membership": "invite",
                "third_party_invite": {"display_name": NUL, "signed": signed}}}  # fmt: skip
    address = {"medium": "email", "address": NUL, "mxid": scene.ann.user_id}
    invite: dict[str, Any] = {"sender": peer.user("eve"), "room_id": scene.room.room_id}
    invite |= {"signed": {**signed, "mxid": scene.ann.user_id}}
    bound = {**address, "invites": [{**address, **invite}]}
    asked: list[tuple[str, str, Any]] = [
        ("PUT", f"{V1}/exchange_third_party_invite/{room_id}", exchange),
        ("PUT", f"{V1}/3pid/onbind", bound),
        ("POST", f"{V1}/user/keys/claim", {"one_time_keys": {scene.ann.user_id: {NUL: NUL}}}),
        ("POST", f"{V1}/user/keys/query", {"device_keys": {scene.ann.user_id: [NUL]}}),
        ("POST", f"{V1}/publicRooms", {"filter": {"generic_search_term": NUL}, "since": NUL,
                                       "third_party_instance_id": NUL}),
        ("GET", f"{V1}/query/profile?user_id={quote(scene.ann.user_id)}&field=%00", None),
        ("GET", f"{V1}/openid/userinfo?access_token=a%00b", None),
        ("GET", f"{V1}/media/download/a%00b", None),
    ]  # fmt: skip
    for method, target, body in asked:
        raw = None if body is None else json.dumps(body).encode()
        answer = await ask(peer, method, target, raw)
        assert answer.status != 500, (target, answer.json)
    await goes_on(scene)


async def test_in_answers(scene: Scene) -> None:
    """Of profiles, rooms, devices and keys: people here get an answer."""
    peer, ann = scene.peer, scene.ann
    eve, room = peer.user("eve"), f"!x:{peer.name}"
    keys = {"user_id": eve, "device_id": NUL, "algorithms": [NUL], "keys": {f"ed25519:{NUL}": NUL},
            "signatures": {eve: {NUL: NUL}}, "unsigned": {"device_display_name": NUL}}  # fmt: skip
    master = {"user_id": eve, "usage": ["master"], "keys": {f"ed25519:{NUL}": NUL}}
    template = {"type": "m.room.member", "content": {"membership": "join",
                "join_authorised_via_users_server": NUL}, "auth_events": [f"${NUL}"],
                "prev_events": [NUL], "depth": 1, "sender": NUL}  # fmt: skip
    lies: dict[str, Any] = {
        "query": {"room_id": f"!{NUL}:x", "servers": [NUL], "displayname": NUL, "avatar_url": NUL},
        "user": {"user_id": eve, "stream_id": 5, "devices": [{"device_id": NUL, "keys": keys}],
                 "device_keys": {eve: {NUL: keys, "D": keys}}, "master_keys": {eve: master},
                 "one_time_keys": {eve: {NUL: {NUL: {"key": NUL}}}}},
        "publicRooms": {"chunk": [{"room_id": f"!{NUL}:x", "num_joined_members": 1, "name": NUL,
                                   "canonical_alias": f"#{NUL}:x"}], "next_batch": NUL},
        "make_join": {"room_version": "11", "event": template},
        "make_knock": {"room_version": NUL, "event": template},
        "hierarchy": {"room": {"room_id": room, "name": NUL, "num_joined_members": 1,
                               "children_state": [{"state_key": f"!{NUL}:x", "type": NUL}]},
                      "children": [{"room_id": f"!{NUL}:x"}], "inaccessible_children": [NUL]},
    }  # fmt: skip
    for what, lie in lies.items():
        peer.lies[what] = lambda _, lie=lie: lie  # type: ignore[misc]
    questions: list[tuple[str, str, Any]] = [
        ("GET", f"{V3}/profile/{eve}", None),
        ("GET", f"{V3}/directory/room/%23tea:{peer.name}", None),
        ("POST", f"{V3}/join/%23tea:{peer.name}", {}),
        ("POST", f"{V3}/join/{room}?via={peer.name}", {}),
        ("POST", f"{V3}/knock/{room}?via={peer.name}", {}),
        ("POST", f"{V3}/keys/query", {"device_keys": {eve: [], peer.user("other"): []}}),
        ("POST", f"{V3}/keys/query", {"device_keys": {eve: []}}),
        ("POST", f"{V3}/keys/claim", {"one_time_keys": {eve: {"D": "signed_curve25519"}}}),
        ("POST", f"{V3}/publicRooms?server={peer.name}", {}),
        ("GET", f"/_matrix/client/v1/room_summary/{room}?via={peer.name}", None),
    ]
    for method, path, body in questions:
        answer = await ann.ask(method, path, body)
        assert answer.status != 500, (path, answer.json)
    peer.lies.clear()
    await goes_on(scene)
