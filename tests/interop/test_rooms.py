"""The life of a room between Hearth and a stock Synapse, in all room versions, hosted by either.

After each part both servers have the same state and the same messages.
"""

import asyncio
from urllib.parse import quote

import pytest

from tests.interop.world import (
    HOSTS,
    Person,
    RefusedError,
    World,
    agree,
    hear,
    until,
    versions,
)

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("interop rooms")]


async def _invited(guest: Person, room_id: str) -> None:
    async def asked() -> bool:
        return room_id in (await guest.sync())["rooms"].get("invite", {})

    guest.since = None
    await until(asked)


async def _gone(guest: Person, room_id: str) -> None:
    async def left() -> bool:
        return room_id not in (await guest.get("/joined_rooms"))["joined_rooms"]

    await until(left)


@HOSTS
@versions()
async def test_a_life(between: World, host: str, version: str) -> None:
    """Invitation, messages, power, redaction, kick, ban, leaving and coming again.

    Who comes again reads what was said meanwhile, which their server had not heard.
    """
    owner, guest = await between.both(host)
    room_id = await owner.create(
        room_version=version, preset="private_chat", name="life", invite=[guest.user_id]
    )
    await owner.say(room_id, "before")
    await _invited(guest, room_id)
    await guest.join(room_id, owner)
    await hear(room_id, "before", guest)
    await agree(room_id, owner, guest)

    await guest.say(room_id, "from the guest")
    said = await owner.say(room_id, "from the owner")
    await hear(room_id, "from the guest", owner)
    await hear(room_id, "from the owner", guest)

    with pytest.raises(RefusedError) as refused:
        await guest.set(room_id, "m.room.topic", {"topic": "no power"})
    assert refused.value.status == 403
    levels = await owner.content(room_id, "m.room.power_levels")
    levels["users"][guest.user_id] = 50
    await owner.set(room_id, "m.room.power_levels", levels)
    await agree(room_id, owner, guest)
    await guest.set(room_id, "m.room.topic", {"topic": "power"})
    await agree(room_id, owner, guest)
    assert await owner.content(room_id, "m.room.topic") == {"topic": "power"}

    # In room version 3 there may be a slash in it.
    named = quote(said, safe="")
    await guest.put(f"/rooms/{quote(room_id)}/redact/{named}/r{version}", {"reason": "why not"})

    async def redacted() -> bool:
        return "from the owner" not in await owner.bodies(room_id)

    await until(redacted)

    await owner.do("kick", room_id, guest)
    await _gone(guest, room_id)
    await owner.do("invite", room_id, guest)
    await _invited(guest, room_id)
    await guest.join(room_id, owner)
    await owner.do("ban", room_id, guest)
    await _gone(guest, room_id)
    with pytest.raises(RefusedError):
        await guest.join(room_id, owner)
    await owner.do("unban", room_id, guest)
    await owner.do("invite", room_id, guest)
    await _invited(guest, room_id)
    await guest.join(room_id, owner)
    await owner.say(room_id, "all is well")
    await hear(room_id, "all is well", guest)
    await agree(room_id, owner, guest)
    await guest.do("leave", room_id)

    async def alone() -> bool:
        members = await owner.get(f"/rooms/{room_id}/joined_members")
        return set(members["joined"]) == {owner.user_id}

    await until(alone)
    meanwhile = [f"meanwhile {number}" for number in range(5)]
    for text in meanwhile:
        await owner.say(room_id, text)
    await owner.do("invite", room_id, guest)
    await _invited(guest, room_id)
    await guest.join(room_id, owner)
    await hear(room_id, meanwhile[0], guest)
    heard = [text for text in await guest.bodies(room_id) if text in meanwhile]
    assert heard == meanwhile
    await between.agree_on_state_ids(room_id, owner, guest)


@HOSTS
@versions()
async def test_an_invitation_rejected(between: World, host: str, version: str) -> None:
    owner, guest = await between.both(host)
    room_id = await owner.create(room_version=version, invite=[guest.user_id])
    await _invited(guest, room_id)
    await guest.do("leave", room_id)

    async def told() -> bool:
        found = await owner.content(room_id, "m.room.member", guest.user_id)
        return bool(found["membership"] == "leave")

    await until(told)
    assert room_id not in (await guest.sync())["rooms"].get("invite", {})


@HOSTS
@versions(since=7)
async def test_knocking(between: World, host: str, version: str) -> None:
    owner, guest = await between.both(host)
    room_id = await owner.create(room_version=version, name="door")
    await owner.set(room_id, "m.room.join_rules", {"join_rule": "knock"})
    await guest.post(f"/knock/{room_id}", {"reason": "me"}, server_name=owner.server.name)

    async def heard() -> bool:
        found = await owner.content(room_id, "m.room.member", guest.user_id)
        return bool(found and found["membership"] == "knock" and found["reason"] == "me")

    await until(heard)
    assert room_id in (await guest.sync())["rooms"]["knock"]
    await owner.do("invite", room_id, guest)
    await _invited(guest, room_id)
    await guest.join(room_id, owner)
    await agree(room_id, owner, guest)


@HOSTS
@versions(since=8)
async def test_restricted_rooms(between: World, host: str, version: str) -> None:
    """Who is in one room may join the other, and nobody else."""
    owner, guest = await between.both(host)
    key = await owner.create(room_version=version, preset="public_chat", name="key")
    room_id = await owner.create(room_version=version, preset="private_chat", name="door")
    allow = [{"type": "m.room_membership", "room_id": key}]
    await owner.set(room_id, "m.room.join_rules", {"join_rule": "restricted", "allow": allow})
    with pytest.raises(RefusedError) as refused:
        await guest.join(room_id, owner)
    assert refused.value.status == 403
    await guest.join(key, owner)
    await guest.join(room_id, owner)
    await guest.say(room_id, "inside")
    await hear(room_id, "inside", owner)
    await agree(room_id, owner, guest)
    member = await guest.content(room_id, "m.room.member", guest.user_id)
    assert member["join_authorised_via_users_server"] == owner.user_id


@HOSTS
@versions("11")
async def test_two_servers_talk_at_once(between: World, host: str, version: str) -> None:
    """Forks are joined, and both end with the same state."""
    owner, guest = await between.both(host)
    room_id = await owner.create(preset="public_chat", room_version=version)
    await guest.join(room_id, owner)
    levels = await owner.content(room_id, "m.room.power_levels")
    levels["users"][guest.user_id] = 100
    await owner.set(room_id, "m.room.power_levels", levels)
    await agree(room_id, owner, guest)

    async def talk(who: Person) -> None:
        for number in range(25):
            await who.say(room_id, f"{who.user_id} {number}")
            await who.set(room_id, "m.room.topic", {"topic": f"{who.user_id} {number}"})
            await who.set(room_id, "a.kind", {"by": who.user_id}, f"key {number}")

    await asyncio.gather(talk(owner), talk(guest))
    for who in (owner, guest):
        await hear(room_id, f"{who.user_id} 24", owner, guest)
    await agree(room_id, owner, guest)
    assert sorted(await owner.bodies(room_id, 1000)) == sorted(await guest.bodies(room_id, 1000))
