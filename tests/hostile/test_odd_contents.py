"""Contents that no client would write, in every kind of event that means something here.

https://spec.matrix.org/v1.19/client-server-api/#events
"""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from federation.events import Event
from federation.identifiers import RoomID
from tests.hostile.harm import nested
from tests.hostile.test_nul import ours, took
from tests.server_server.conftest import V3, Scene
from tests.server_server.peer import V1
from tests.servers import Client

_SHOTS = 40
_KEYS: dict[str, Sequence[str]] = {
    "m.room.member": (
        "membership", "displayname", "avatar_url", "reason", "is_direct", "third_party_invite",
        "join_authorised_via_users_server", "org.matrix.msc4293.redact_events",
    ),
    "m.room.power_levels": (
        "users", "events", "ban", "invite", "users_default", "notifications", "redact",
    ),
    "m.room.join_rules": ("join_rule", "allow"),
    "m.room.history_visibility": ("history_visibility",),
    "m.room.guest_access": ("guest_access",),
    "m.room.server_acl": ("allow", "deny", "allow_ip_literals"),
    "m.room.name": ("name",),
    "m.room.topic": ("topic", "m.topic"),
    "m.room.avatar": ("url", "info"),
    "m.room.canonical_alias": ("alias", "alt_aliases"),
    "m.room.encryption": ("algorithm", "rotation_period_ms"),
    "m.room.pinned_events": ("pinned",),
    "m.room.tombstone": ("replacement_room", "body"),
    "m.room.third_party_invite": ("display_name", "public_key", "public_keys"),
    "m.room.retention": ("max_lifetime", "min_lifetime"),
    "m.room.policy": ("via", "public_keys"),
    "m.space.child": ("via", "order", "suggested"),
    "m.space.parent": ("via", "canonical"),
    "m.room.message": ("body", "msgtype", "m.relates_to", "m.mentions", "m.new_content", "url",
        "format", "formatted_body", "file", "info", "m.self_destruct"),
    "m.reaction": ("m.relates_to",),
    "m.room.encrypted": ("algorithm", "ciphertext", "m.relates_to"),
    "m.poll.response": ("m.relates_to",),
    "m.room.redaction": ("redacts", "reason"),
    "m.sticker": ("body", "url", "info"),
    "org.matrix.msc3401.call.member": ("memberships", "application"),
    "m.call.notify": ("m.mentions", "notify_type"),
}  # fmt: skip
_STATE_ONLY = frozenset(kind for kind in _KEYS if kind.startswith(("m.room.", "m.space.")))
_MESSAGES = frozenset({"m.room.message", "m.room.encrypted", "m.room.redaction"})
_INSIDE = (
    "event_id", "rel_type", "key", "m.in_reply_to", "is_falling_back", "user_ids", "room", "signed",
    "token", "mxid", "signatures", "public_key", "type", "room_id", "m.text", "*", "ed25519",
)  # fmt: skip


def value(rng: random.Random, scene: Scene, depth: int = 0) -> Any:
    """Something odd, perhaps with something odd in it."""
    named = (
        scene.ann.user_id, scene.peer.user("eve"), scene.room.room_id, scene.peer.name,
        scene.room.tips[0].event_id, f"mxc://{scene.peer.name}/abc", "#a:b",
    )  # fmt: skip
    plain: tuple[Any, ...] = (
        None, True, False, 0, 1, -1, 2**53 - 1, -(2**53) + 1, "", "x", "\0", "a\0b", "join",
        "public", "restricted", "m.thread", "m.replace", "m.annotation", "m.reference", "x" * 3000,
        "\u202e", "$", "@", "!", "@:", "é", "ban", "100", " 5 ", [], {}, *named,
    )  # fmt: skip
    if not scene.room.version.strict_json:
        plain += (10**30, -(10**30), 2**63, 1.5, 1e300, -0.0, 0.1)
    choice = rng.random()
    if depth > 2 or choice < 0.5:
        return rng.choice(plain)
    if choice < 0.7:
        return [value(rng, scene, depth + 1) for _ in range(rng.randrange(3))]
    if choice < 0.73:
        return nested(60)
    keys = [*_INSIDE, *(name for name in named if isinstance(name, str)), "\0", ""]
    return {rng.choice(keys): value(rng, scene, depth + 1) for _ in range(rng.randrange(5))}


def shot(rng: random.Random, scene: Scene) -> Event:
    """An event of Eve, who may do much."""
    kind = rng.choice(tuple(_KEYS))
    keys = _KEYS[kind]
    content = {key: value(rng, scene) for key in keys if rng.random() < 0.7}
    eve = scene.peer.user("eve")
    if kind == "m.room.member" and rng.random() < 0.8:
        content["membership"] = rng.choice(("join", "invite", "leave", "ban", "knock"))
    state_keys = ("", eve, scene.peer.user("late"), scene.ann.user_id, "x", scene.room.room_id)
    is_state = (kind in _STATE_ONLY and kind not in _MESSAGES) or rng.random() < 0.1
    return scene.peer.make(
        scene.room, kind, content, eve, rng.choice(state_keys) if is_state else None
    )


@pytest.mark.parametrize(("seed", "version"), [(0, "11"), (1, "5"), (2, "12"), (3, "1")])
async def test_odd_contents(scene: Scene, seed: int, version: str) -> None:
    """Each is taken or refused; nothing fails, and those who are there go on."""
    scene = await another(scene, version)
    rng, peer, eve = random.Random(f"odd {seed}"), scene.peer, scene.peer.user("eve")
    owner = {} if version == "12" else {scene.ann.user_id: 100}
    levels = {"users": {**owner, eve: 100}}
    await took(scene, await ours(scene, "m.room.power_levels", levels))
    await watch(scene)
    taken = 0
    for _ in range(_SHOTS):
        event = shot(rng, scene)
        results = await peer.send([event])
        found = results.get(event.event_id, {"error": "no event"})
        assert found.get("error") != "internal error", event.json
        is_hers = event.state_key == eve and event.membership != "join"
        if found == {} and event.type != "m.room.power_levels" and not is_hers:
            scene.room.add(event)
            taken += 1
    assert taken
    await everybody_is_answered(scene)
    room_id = (await scene.ann.post(f"{V3}/createRoom")).ok()["room_id"]
    said = {"msgtype": "m.text", "body": "still here"}
    (await scene.ann.put(f"{V3}/rooms/{room_id}/send/m.room.message/1", said)).ok()


async def another(scene: Scene, version: str) -> Scene:
    """A room of another version."""
    peer, ann = scene.peer, scene.ann
    wish = {"preset": "public_chat", "room_version": version}
    room_id = RoomID((await ann.post(f"{V3}/createRoom", wish)).ok()["room_id"])
    return Scene(scene.hearth, peer, ann, await peer.join(room_id, peer.user("eve")))


async def watch(scene: Scene) -> None:
    """Ann is told on her phone of all that may concern her."""
    pusher = {"kind": "http", "app_id": "test", "pushkey": "x", "app_display_name": "x",
              "device_display_name": "x", "lang": "en", "data": {
              "url": f"https://{scene.peer.name}/_matrix/push/v1/notify"}}  # fmt: skip
    (await scene.ann.post(f"{V3}/pushers/set", pusher)).ok()
    rule = {"actions": ["notify"], "conditions": [
        {"kind": "event_property_contains", "key": "content.via", "value": "x"},
        {"kind": "event_match", "key": "content.name", "pattern": "*"}]}  # fmt: skip
    (await scene.ann.put(f"{V3}/pushrules/global/override/odd", rule)).ok()


async def everybody_is_answered(scene: Scene) -> None:
    """Whoever reads the room or wants to come in, here or from elsewhere."""
    ann, path, room_id = scene.ann, scene.path, scene.room.room_id
    bob = await scene.hearth.user("bob")
    rooms, tip = f"/_matrix/client/v1/rooms/{room_id}", scene.room.tips[0].event_id
    sliding = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
    wish = {"lists": {"all": {"ranges": [[0, 9]], "timeline_limit": 20,
            "required_state": [["*", "*"]]}}}  # fmt: skip
    term = {"search_categories": {"room_events": {"search_term": "x"}}}
    asked: list[tuple[Client, str, str, Any]] = [
        *((ann, "GET", one, None) for one in (
            f"{path}/state", f"{path}/members", f"{path}/joined_members", f"{V3}/sync",
            f"{path}/messages?dir=b&limit=100", f"{path}/context/{tip}", f"{rooms}/hierarchy",
            f"{rooms}/threads", f"{rooms}/relations/{tip}", f"{V3}/notifications",
            f"{path}/aliases", f"/_matrix/client/v1/room_summary/{room_id}")),
        (ann, "POST", sliding, wish),
        (ann, "POST", f"{V3}/search", term),
        (ann, "POST", f"{V3}/publicRooms", {}),
        (ann, "POST", f"{V3}/user_directory/search", {"search_term": "e"}),
        (ann, "POST", f"{path}/invite", {"user_id": bob.user_id}),
        (bob, "GET", f"/_matrix/client/v1/room_summary/{room_id}", None),
        (bob, "GET", f"{V3}/sync", None),
        (bob, "POST", f"{V3}/knock/{room_id}", {}),
        (bob, "POST", f"{V3}/join/{room_id}", {}),
        (ann, "POST", f"{path}/upgrade", {"new_version": "12"}),
    ]  # fmt: skip
    for who, method, target, body in asked:
        answer = await who.ask(method, target, body)
        assert answer.status < 500, (target, answer.json)
    theirs = (
        f"make_join/{room_id}/{scene.peer.user('late')}?ver=11", f"hierarchy/{room_id}",
        f"make_knock/{room_id}/{scene.peer.user('late')}?ver=11", f"event_auth/{room_id}/{tip}",
        f"backfill/{room_id}?v={tip}&limit=100", f"state/{room_id}?event_id={tip}",
    )  # fmt: skip
    for target in theirs:
        status, told = await scene.peer.ask("GET", f"{V1}/{target}")
        assert status < 500, (target, told)
