"""Whose invitations one wants: the switch (MSC4380) and the globs (MSC4155)."""

from typing import Any
from urllib.parse import quote

import orjson
import pytest

from homeserver.rooms.invite_rules import FILTERING, InviteRules, Verdict, read_rules
from tests.servers import Client, Hearth, eventually

V3 = "/_matrix/client/v3"
MSC4186 = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
GLOBS = "org.matrix.msc4155.invite_permission_config"
BLOCK_ALL = {"default_action": "block"}
REFUSED = (403, "M_INVITE_BLOCKED")


async def wants(client: Client, kind: str, content: dict[str, Any]) -> None:
    (await client.put(f"{V3}/user/{client.user_id}/account_data/{kind}", content)).ok()


async def invited_to(client: Client) -> set[str]:
    """The invitations that each way of syncing shows, which is the same."""
    found = set((await client.get(f"{V3}/sync")).ok().get("rooms", {}).get("invite", {}))
    body = {"lists": {"all": {"ranges": [[0, 9]], "timeline_limit": 1, "required_state": []}}}
    rooms = (await client.post(MSC4186, body)).ok()["rooms"]
    assert found == {room for room, shown in rooms.items() if "invite_state" in shown}
    return found


async def room_of(owner: Client) -> str:
    return str((await owner.post(f"{V3}/createRoom", {})).ok()["room_id"])


def as_state(user: str, **content: Any) -> dict[str, Any]:
    """An invitation as an entry of the state with which a room begins."""
    return {
        "type": "m.room.member",
        "state_key": user,
        "content": {"membership": "invite", **content},
    }


async def tries(owner: Client, target: Client) -> list[tuple[int, str | None]]:
    """What becomes of each way to invite somebody."""
    room, user = await room_of(owner), target.user_id
    path = f"{V3}/rooms/{quote(room)}"
    answers = [
        await owner.post(f"{path}/invite", {"user_id": user}),
        await owner.put(f"{path}/state/m.room.member/{user}", {"membership": "invite"}),
        await owner.post(f"{V3}/createRoom", {"invite": [user]}),
        await owner.post(f"{V3}/createRoom", {"initial_state": [as_state(user)]}),
    ]
    return [(answer.status, answer.errcode) for answer in answers]


def rules(**config: Any) -> InviteRules:
    return read_rules(frozenset(), {FILTERING: orjson.dumps(config)})


@pytest.mark.parametrize(
    ("config", "sender", "verdict"),
    [
        ({}, "@a:b.org", Verdict.ALLOW),
        ({"blocked_servers": ["*"]}, "@a:b.org", Verdict.BLOCK),
        ({"blocked_servers": ["*"], "enabled": False}, "@a:b.org", Verdict.ALLOW),
        ({"blocked_servers": ["*"], "allowed_servers": ["b.org"]}, "@a:b.org", Verdict.ALLOW),
        ({"blocked_servers": ["b.org"]}, "@a:b.org:8448", Verdict.BLOCK),
        ({"ignored_servers": ["*.org"], "blocked_servers": ["*"]}, "@a:b.org", Verdict.IGNORE),
        ({"blocked_users": ["@a:*"], "allowed_servers": ["*"]}, "@a:b.org", Verdict.BLOCK),
        ({"allowed_users": ["@?:b.org"], "blocked_users": ["*"]}, "@a:b.org", Verdict.ALLOW),
        ({"ignored_users": ["@a:b.org"], "blocked_users": ["*"]}, "@a:b.org", Verdict.IGNORE),
        ({"blocked_servers": ["*"], "allowed_users": "all"}, "@a:b.org", Verdict.ALLOW),
        ({"blocked_servers": ["*", 5]}, "@a:b.org", Verdict.ALLOW),
        ({"blocked_servers": ["[::1]"]}, "@a:[::1]:80", Verdict.BLOCK),
    ],
)
def test_what_the_globs_say(config: dict[str, Any], sender: str, verdict: Verdict) -> None:
    assert rules(**config).judge(sender) is verdict


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("m.invite_permission_config", BLOCK_ALL),
        ("org.matrix.msc4380.invite_permission_config", BLOCK_ALL),
        (GLOBS, {"blocked_servers": ["*"]}),
        (GLOBS, {"blocked_users": ["@owner:one.test"]}),
    ],
)
async def test_who_is_blocked_cannot_invite(
    hearth: Hearth, kind: str, content: dict[str, Any]
) -> None:
    owner, target = await hearth.user("owner"), await hearth.user("target")
    before = await room_of(owner)
    (await owner.post(f"{V3}/rooms/{before}/invite", {"user_id": target.user_id})).ok()
    assert await invited_to(target) == {before}
    await wants(target, kind, content)
    assert await tries(owner, target) == [REFUSED] * 4
    assert await invited_to(target) == set(), "one from before is not shown either"
    await wants(target, kind, {})
    assert await invited_to(target) == {before}


async def test_who_is_ignored_does_not_learn_of_it(hearth: Hearth) -> None:
    owner, target = await hearth.user("owner"), await hearth.user("target")
    await wants(target, GLOBS, {"ignored_users": ["@own*"]})
    assert [status for status, _ in await tries(owner, target)] == [200] * 4
    assert await invited_to(target) == set()


@pytest.mark.parametrize("is_kicked", [False, True])
async def test_who_leaves_learns_of_it_before_an_invitation(
    hearth: Hearth, is_kicked: bool
) -> None:
    """The invitation is not shown: but that one is not in the room any more."""
    owner, target = await hearth.user("owner"), await hearth.user("target")
    await wants(target, GLOBS, {"ignored_users": ["@own*"]})
    room = str((await owner.post(f"{V3}/createRoom", {"preset": "public_chat"})).ok()["room_id"])
    (await target.post(f"{V3}/join/{room}")).ok()
    lists = {"lists": {"all": {"ranges": [[0, 9]], "timeline_limit": 5, "required_state": []}}}
    since = (await target.get(f"{V3}/sync")).ok()["next_batch"]
    pos = (await target.post(MSC4186, lists)).ok()["pos"]
    path, body = f"{V3}/rooms/{quote(room)}", {"user_id": target.user_id}
    (await (owner.post(f"{path}/kick", body) if is_kicked else target.post(f"{path}/leave"))).ok()
    (await owner.post(f"{path}/invite", body)).ok()
    rooms = (await target.get(f"{V3}/sync", since=since)).ok()["rooms"]
    (event,) = rooms["leave"][room]["timeline"]["events"]
    assert (rooms.keys(), event["content"]["membership"]) == ({"leave"}, "leave")
    answer = (await target.post(MSC4186, lists, pos=pos)).ok()
    assert answer["rooms"][room]["membership"] == "leave"
    assert "invite_state" not in answer["rooms"][room]
    assert (await target.post(MSC4186, lists, pos=answer["pos"])).ok()["rooms"] == {}


async def test_over_federation(pair: tuple[Hearth, Hearth]) -> None:
    one, other = pair
    owner, target = await one.user("owner"), await other.user("target")
    await wants(target, GLOBS, {"blocked_servers": ["127.*"]})
    room = await room_of(owner)
    body = {"user_id": target.user_id}
    answer = await owner.post(f"{V3}/rooms/{room}/invite", body)
    assert (answer.status, answer.errcode) == REFUSED
    await wants(target, GLOBS, {"ignored_servers": ["127.*"]})
    (await owner.post(f"{V3}/rooms/{room}/invite", body)).ok()
    assert await invited_to(target) == set()
    await wants(target, GLOBS, {"enabled": False, "ignored_servers": ["127.*"]})

    async def is_shown() -> bool:
        return await invited_to(target) == {room}

    await eventually(is_shown)


async def test_with_a_room_over_federation(pair: tuple[Hearth, Hearth]) -> None:
    """An entry of `initial_state` is an invitation like any other; others of it are as they are."""
    one, other = pair
    owner, here = await one.user("owner"), await one.user("here")
    target, shut = await other.user("target"), await other.user("shut")
    await wants(shut, "m.invite_permission_config", BLOCK_ALL)
    name = {"displayname": "Here"}
    (await here.put(f"{V3}/profile/{here.user_id}/displayname", name)).ok()
    banned = as_state("@eve:elsewhere.test", membership="ban")
    entries = [as_state(user.user_id, reason="tea") for user in (here, target, shut)]
    made = await owner.post(f"{V3}/createRoom", {"initial_state": [*entries, banned]})
    room = made.ok()["room_id"]
    assert await invited_to(here) == await invited_to(target) == {room}
    assert await invited_to(shut) == set()
    path = f"{V3}/rooms/{quote(room)}"
    members = (await owner.get(f"{path}/members")).ok()["chunk"]
    assert {(event["state_key"], event["content"]["membership"]) for event in members} == {
        (owner.user_id, "join"),
        (here.user_id, "invite"),
        (target.user_id, "invite"),
        ("@eve:elsewhere.test", "ban"),
    }
    contents = {event["state_key"]: event["content"] for event in members}
    assert contents[target.user_id]["reason"] == contents[here.user_id]["reason"] == "tea"
    assert contents[here.user_id]["displayname"] == "Here"
    (await target.post(f"{path.replace('rooms', 'join')}?via={one.name}")).ok()
