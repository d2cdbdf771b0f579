"""What goes between Hearth and a stock Synapse beside rooms' events, both ways round."""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from federation.identifiers import ServerName
from federation.signing import SigningKey, encode_base64, sign_json
from tests.client_server.keyring import Device, key_of
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

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("interop between")]
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c636060606000000005000157a5b1950000000049454e44ae426082"
)


async def _together(world: World, host: str, **wanted: Any) -> tuple[Person, Person, str]:
    """Two people in a public room of the first one's server."""
    owner, guest = await world.both(host)
    room_id = await owner.create(preset="public_chat", **wanted)
    await guest.join(room_id, owner)
    await agree(room_id, owner, guest)
    await asyncio.gather(owner.sync(), guest.sync())
    return owner, guest, room_id


def _events(answer: Any, room_id: str, part: str) -> list[Any]:
    joined = answer["rooms"].get("join", {}).get(room_id, {}) if "rooms" in answer else {}
    return list(joined.get(part, {}).get("events", []))


async def _ephemeral(who: Person, room_id: str, wanted: Callable[[Any], bool]) -> None:
    """Wait for ephemeral content that is what it should be."""

    async def found() -> bool:
        events = _events(await who.sync(), room_id, "ephemeral")
        return any(wanted(event["content"]) for event in events)

    await until(found)


def _typing(*users: str) -> Callable[[Any], bool]:
    return lambda content: content.get("user_ids") == list(users)


def _read(user_id: str, event_id: str) -> Callable[[Any], bool]:
    return lambda content: user_id in content.get(event_id, {}).get("m.read", {})


@HOSTS
async def test_typing_and_receipts(between: World, host: str) -> None:
    owner, guest, room_id = await _together(between, host)
    for one, other in ((owner, guest), (guest, owner)):
        path = f"/rooms/{quote(room_id)}"
        await one.put(f"{path}/typing/{one.user_id}", {"typing": True, "timeout": 20_000})
        await _ephemeral(other, room_id, _typing(one.user_id))
        await one.put(f"{path}/typing/{one.user_id}", {"typing": False})
        await _ephemeral(other, room_id, _typing())
        said = await other.say(room_id, "read me")
        await hear(room_id, "read me", one)
        await one.post(f"{path}/receipt/m.read/{said}")
        await _ephemeral(other, room_id, _read(one.user_id, said))


@HOSTS
async def test_presence(between: World, host: str) -> None:
    owner, guest, _ = await _together(between, host)
    for one, other in ((owner, guest), (guest, owner)):
        path = f"/presence/{one.user_id}/status"
        await one.put(path, {"presence": "online", "status_msg": f"by {one.user_id}"})

        async def told(who: Person = other, whom: Person = one) -> bool:
            events = (await who.sync()).get("presence", {}).get("events", [])
            said = [e["content"].get("status_msg") for e in events if e["sender"] == whom.user_id]
            return f"by {whom.user_id}" in said

        await until(told)


@HOSTS
async def test_profiles_aliases_and_directories(between: World, host: str) -> None:
    owner, guest = await between.both(host)
    await owner.put(f"/profile/{owner.user_id}/displayname", {"displayname": "The Owner"})
    profile = await guest.get(f"/profile/{owner.user_id}")
    assert profile["displayname"] == "The Owner"
    localpart = owner.user_id[1:].split(":")[0]
    room_id = await owner.create(
        preset="public_chat", visibility="public", room_alias_name=localpart, name=f"of {localpart}"
    )
    alias = f"#{localpart}:{owner.server.name}"
    found = await guest.get(f"/directory/room/{quote(alias, safe='')}")
    assert found["room_id"] == room_id
    body = {"filter": {"generic_search_term": f"of {localpart}"}}
    if isinstance(owner.server, type(between.hearth)):
        listed = await guest.post("/publicRooms", body, server=owner.server.name)
        assert [room["room_id"] for room in listed["chunk"]] == [room_id]
    answer = await guest.post(f"/join/{quote(alias, safe='')}")
    assert answer["room_id"] == room_id
    member = await guest.content(room_id, "m.room.member", owner.user_id)
    assert member["displayname"] == "The Owner"
    await owner.put(f"/profile/{owner.user_id}/displayname", {"displayname": "Renamed"})

    async def renamed() -> bool:
        entry = await guest.content(room_id, "m.room.member", owner.user_id)
        return bool(entry["displayname"] == "Renamed")

    await until(renamed)


@HOSTS
async def test_media(between: World, host: str) -> None:
    owner, guest = await between.both(host)
    uri = (await owner.ask("POST", "/_matrix/media/v3/upload", raw=PNG))["content_uri"]
    path = uri.removeprefix("mxc://")
    assert await guest.ask("GET", f"/_matrix/client/v1/media/download/{path}") == PNG
    thumbnail = f"/_matrix/client/v1/media/thumbnail/{path}"
    assert await guest.ask("GET", thumbnail, width=32, height=32, method="scale")


@HOSTS
@versions("11", "12")
async def test_spaces(between: World, host: str, version: str) -> None:
    """A space whose rooms the other server is not in."""
    owner, guest = await between.both(host)
    wanted = {"preset": "public_chat", "room_version": version}
    inner = await owner.create(**wanted, name="inner")
    space = await owner.create(**wanted, name="space", creation_content={"type": "m.space"})
    await owner.set(space, "m.space.child", {"via": [owner.server.name]}, inner)
    await guest.join(space, owner)
    await agree(space, owner, guest)
    found = await guest.ask("GET", f"/_matrix/client/v1/rooms/{quote(space)}/hierarchy")
    assert [room["room_id"] for room in found["rooms"]] == [space, inner]
    assert found["rooms"][1]["name"] == "inner"


@HOSTS
@versions("9")
async def test_an_upgrade_is_followed(between: World, host: str, version: str) -> None:
    owner, guest, room_id = await _together(between, host, room_version=version, name="old")
    answer = await owner.post(f"/rooms/{quote(room_id)}/upgrade", {"new_version": "12"})
    new = answer["replacement_room"]

    async def told() -> Any:
        return await guest.content(room_id, "m.room.tombstone")

    assert (await until(told))["replacement_room"] == new
    await guest.join(new, owner)
    await agree(new, owner, guest)
    assert (await guest.content(new, "m.room.create"))["predecessor"]["room_id"] == room_id


@HOSTS
@versions("11")
async def test_a_server_that_is_kept_out(between: World, host: str, version: str) -> None:
    """By the ACL: its users are told so, and what they say does not arrive."""
    owner, guest, room_id = await _together(between, host, room_version=version)
    acl = {"allow": ["*"], "deny": [guest.server.name.split(":")[0]], "allow_ip_literals": False}
    await owner.set(room_id, "m.room.server_acl", acl)
    # The ACL denies the host of both, so that nobody hears anybody any more.
    await guest.say(room_id, "unheard")
    marker = await owner.create(preset="public_chat")
    await guest.join(marker, owner)
    await guest.say(marker, "heard")
    await hear(marker, "heard", owner)
    assert "unheard" not in await owner.bodies(room_id)


@HOSTS
async def test_devices_and_their_messages(between: World, host: str) -> None:
    owner, guest, _ = await _together(between, host)
    for one, other in ((owner, guest), (guest, owner)):
        device = (await one.get("/account/whoami"))["device_id"]
        made = Device(one.user_id, device, key_of(one.user_id))
        keys = dict([made.one_time_key("AAAA")])
        body = {"device_keys": made.keys(), "one_time_keys": keys}
        await one.post("/keys/upload", body)

        async def changed(who: Person = other, whom: Person = one) -> bool:
            lists = (await who.sync()).get("device_lists", {})
            return whom.user_id in lists.get("changed", [])

        await until(changed)
        found = await other.post("/keys/query", {"device_keys": {one.user_id: []}})
        assert list(found["device_keys"][one.user_id]) == [device]
        wanted = {"one_time_keys": {one.user_id: {device: "signed_curve25519"}}}
        claimed = (await other.post("/keys/claim", wanted))["one_time_keys"]
        assert claimed[one.user_id][device] == keys
        message = {"messages": {one.user_id: {device: {"secret": f"for {one.user_id}"}}}}
        await other.put(f"/sendToDevice/a.kind/{one.user_id}", message)

        async def arrived(who: Person = one) -> Any:
            return (await who.sync()).get("to_device", {}).get("events")

        events = await until(arrived)
        assert [e["content"] for e in events] == [{"secret": f"for {one.user_id}"}]
        assert events[0]["sender"] == other.user_id


@HOSTS
@versions("11")
async def test_a_late_joiner_reads_all(between: World, host: str, version: str) -> None:
    """300 messages that nobody of the joiner's server has heard, back-filled."""
    owner, late = await between.both(host)
    second = await (between.ours() if host == "hearth" else between.theirs())
    room_id = await owner.create(preset="public_chat", room_version=version)
    await second.join(room_id)

    async def talk(who: Person) -> list[str]:
        said = [f"{who.user_id} says {number}" for number in range(150)]
        for text in said:
            await who.say(room_id, text)
        return said

    both = await asyncio.gather(talk(owner), talk(second))
    said = {text for texts in both for text in texts}
    await late.join(room_id, owner)

    async def read() -> bool:
        return set(await late.bodies(room_id, 1000)) >= said

    await until(read)
    # Where two speak at once, each server has its own order.
    assert sorted(await late.bodies(room_id, 1000)) == sorted(said)
    await between.agree_on_state_ids(room_id, owner, late)


@HOSTS
async def test_an_unknown_room(between: World, host: str) -> None:
    owner, guest = await between.both(host)
    with pytest.raises(RefusedError) as refused:
        await guest.join(f"!nothing:{owner.server.name}", owner)
    assert refused.value.status in {403, 404, 502}


@HOSTS
async def test_invitations_by_address(between: World, host: str) -> None:
    """Redeemed by a server outside of the room, then by the same one in it.

    What an identity server would do is done here; its key is good for ever, so nobody asks it.
    """
    (owner, first), (_, second) = [await between.both(host) for _ in range(2)]
    room_id = await owner.create(preset="private_chat")
    key = SigningKey.from_seed("ed25519:0", b"i" * 32)
    content = {"display_name": "g...", "public_key": encode_base64(key.verify_key)}

    async def redeem(guest: Person, token: str) -> None:
        await owner.set(room_id, "m.room.third_party_invite", content, token)
        fields = {"mxid": guest.user_id, "token": token}
        invite = {
            "medium": "email",
            "address": "guest@example.org",
            "mxid": guest.user_id,
            "room_id": room_id,
            "sender": owner.user_id,
            "signed": sign_json(fields, ServerName("id.test"), key),
        }
        body = {**{k: invite[k] for k in ("medium", "address", "mxid")}, "invites": [invite]}
        # "PUT", says the specification; Synapse takes what identity servers send.
        await guest.ask("POST", "/_matrix/federation/v1/3pid/onbind", body)

    await redeem(first, "outside")
    await first.sees(("rooms", "invite", room_id))
    await first.join(room_id, owner)
    await agree(room_id, owner, first)

    async def is_known() -> bool:
        return bool(await first.content(room_id, "m.room.third_party_invite", "inside"))

    await owner.set(room_id, "m.room.third_party_invite", content, "inside")
    await until(is_known)
    await redeem(second, "inside")

    async def is_invited() -> bool:
        member = await owner.content(room_id, "m.room.member", second.user_id)
        return bool(member and member["membership"] == "invite")

    await until(is_invited)
    await second.join(room_id, owner)
    await hear(room_id, await _said(second, room_id), owner, first)


async def _said(who: Person, room_id: str) -> str:
    text = f"{who.user_id} is here"
    await who.say(room_id, text)
    return text
