"""What clients are shown by `/sync`.

https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

import asyncio
import json
from typing import Any

import pytest

from tests.servers import Client, Hearth

V3 = "/_matrix/client/v3"


@pytest.fixture
async def ann(hearth: Hearth) -> Client:
    return await hearth.user("ann")


@pytest.fixture
async def bob(hearth: Hearth) -> Client:
    return await hearth.user("bob")


async def room_of(ann: Client, *others: Client, **wanted: Any) -> str:
    made = await ann.post(f"{V3}/createRoom", {"preset": "public_chat", **wanted})
    room_id = str(made.ok()["room_id"])
    for other in others:
        (await other.post(f"{V3}/join/{room_id}")).ok()
    return room_id


async def say(who: Client, room_id: str, text: str) -> str:
    path = f"{V3}/rooms/{room_id}/send/m.room.message/{text}"
    return str((await who.put(path, {"msgtype": "m.text", "body": text})).ok()["event_id"])


async def sync(who: Client, since: str | None = None, **query: Any) -> Any:
    if since is not None:
        query["since"] = since
    return (await who.get(f"{V3}/sync", **query)).ok()


def bodies(room: Any) -> list[str]:
    return [e["content"]["body"] for e in room["timeline"]["events"] if "body" in e["content"]]


async def test_first_and_next(ann: Client, bob: Client) -> None:
    room_id = await room_of(ann, bob, name="a room")
    await say(ann, room_id, "one")
    first = await sync(bob)
    room = first["rooms"]["join"][room_id]
    assert bodies(room) == ["one"]
    everything = [*room["state"]["events"], *room["timeline"]["events"]]
    assert {"m.room.create", "m.room.name", "m.room.power_levels"} <= {
        e["type"] for e in everything
    }
    assert len({e["event_id"] for e in everything}) == len(everything)
    assert room["summary"]["m.joined_member_count"] == 2
    assert first["device_one_time_keys_count"] == {"signed_curve25519": 0}
    kinds = {event["type"] for event in first["account_data"]["events"]}
    assert "m.push_rules" in kinds
    await say(ann, room_id, "two")
    second = await sync(bob, first["next_batch"])
    assert bodies(second["rooms"]["join"][room_id]) == ["two"]
    assert not second["rooms"]["join"][room_id]["timeline"]["limited"]
    # The same token again gives the same answer; the next one nothing.
    again = await sync(bob, first["next_batch"])
    assert bodies(again["rooms"]["join"][room_id]) == ["two"]
    assert "rooms" not in await sync(bob, second["next_batch"])


async def test_a_gap_and_what_is_in_it(ann: Client, bob: Client) -> None:
    room_id = await room_of(ann, bob)
    since = (await sync(bob))["next_batch"]
    (await ann.put(f"{V3}/rooms/{room_id}/state/m.room.topic", {"topic": "in the gap"})).ok()
    for number in range(5):
        await say(ann, room_id, str(number))
    wanted = json.dumps({"room": {"timeline": {"limit": 2}}})
    room = (await sync(bob, since, filter=wanted))["rooms"]["join"][room_id]
    assert (bodies(room), room["timeline"]["limited"]) == (["3", "4"], True)
    assert next(e["content"] for e in room["state"]["events"])["topic"] == "in the gap"
    page = await bob.get(
        f"{V3}/rooms/{room_id}/messages",
        **{"from": room["timeline"]["prev_batch"], "to": since, "dir": "b", "limit": "50"},
    )
    assert [e["content"].get("body") for e in page.ok()["chunk"]] == ["2", "1", "0", None]


async def test_waiting_for_something(ann: Client, bob: Client) -> None:
    room_id = await room_of(ann, bob)
    since = (await sync(bob))["next_batch"]
    waiting = asyncio.create_task(sync(bob, since, timeout="20000"))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await say(ann, room_id, "wake up")
    async with asyncio.timeout(5):
        found = await waiting
    assert bodies(found["rooms"]["join"][room_id]) == ["wake up"]


async def test_waiting_for_an_invitation(ann: Client, bob: Client) -> None:
    since = (await sync(bob))["next_batch"]
    waiting = asyncio.create_task(sync(bob, since, timeout="20000"))
    room_id = await room_of(ann, invite=[bob.user_id], preset="private_chat", name="secret")
    async with asyncio.timeout(5):
        found = await waiting
    events = found["rooms"]["invite"][room_id]["invite_state"]["events"]
    assert {"m.room.name", "m.room.member"} <= {event["type"] for event in events}
    (await bob.post(f"{V3}/join/{room_id}")).ok()
    joined = await sync(bob, found["next_batch"])
    assert room_id in joined["rooms"]["join"]
    assert room_id not in joined["rooms"].get("invite", {})


async def test_leaving_and_being_sent_away(ann: Client, bob: Client) -> None:
    room_id = await room_of(ann, bob)
    since = (await sync(bob))["next_batch"]
    await say(ann, room_id, "before")
    (await ann.post(f"{V3}/rooms/{room_id}/kick", {"user_id": bob.user_id})).ok()
    await say(ann, room_id, "after")
    found = (await sync(bob, since))["rooms"]
    assert bodies(found["leave"][room_id]) == ["before"]
    last = found["leave"][room_id]["timeline"]["events"][-1]
    assert last["content"]["membership"] == "leave"
    assert room_id not in found.get("join", {})


async def test_members_only_as_they_speak(ann: Client, bob: Client, hearth: Hearth) -> None:
    eve = await hearth.user("eve")
    # A room without a name is named after people, whose memberships are needed for that.
    room_id = await room_of(ann, bob, eve, name="a room")
    for number in range(3):
        await say(eve, room_id, str(number))
    wanted = json.dumps({"room": {"timeline": {"limit": 1}, "state": {"lazy_load_members": True}}})
    first = await sync(bob, filter=wanted)
    state = first["rooms"]["join"][room_id]["state"]["events"]
    members = {e["state_key"] for e in state if e["type"] == "m.room.member"}
    assert members == {eve.user_id, bob.user_id}
    await say(ann, room_id, "hello")
    second = (await sync(bob, first["next_batch"], filter=wanted))["rooms"]["join"][room_id]
    assert [e["state_key"] for e in second["state"]["events"]] == [ann.user_id]


async def test_the_state_after_the_timeline(ann: Client, bob: Client) -> None:
    room_id = await room_of(ann, bob)
    since = (await sync(bob))["next_batch"]
    (await ann.put(f"{V3}/rooms/{room_id}/state/m.room.topic", {"topic": "new"})).ok()
    room = (await sync(bob, since, use_state_after="true"))["rooms"]["join"][room_id]
    assert "state" not in room
    assert [e["content"]["topic"] for e in room["state_after"]["events"]] == ["new"]


async def test_account_data_and_receipts(ann: Client, bob: Client) -> None:
    room_id = await room_of(ann, bob)
    event_id = await say(ann, room_id, "one")
    since = (await sync(ann))["next_batch"]
    path = f"{V3}/user/{ann.user_id}/account_data/org.example"
    (await ann.put(path, {"a": 1})).ok()
    tag = f"{V3}/user/{ann.user_id}/rooms/{room_id}/tags/m.favourite"
    (await ann.put(tag, {"order": 0.5})).ok()
    (await bob.post(f"{V3}/rooms/{room_id}/receipt/m.read/{event_id}")).ok()
    (await bob.put(f"{V3}/rooms/{room_id}/typing/{bob.user_id}", {"typing": True})).ok()
    found = await sync(ann, since)
    assert found["account_data"]["events"] == [{"type": "org.example", "content": {"a": 1}}]
    room = found["rooms"]["join"][room_id]
    assert room["account_data"]["events"][0]["content"]["tags"] == {"m.favourite": {"order": 0.5}}
    by_type = {event["type"]: event["content"] for event in room["ephemeral"]["events"]}
    assert bob.user_id in by_type["m.receipt"][event_id]["m.read"]
    assert by_type["m.typing"]["user_ids"] == [bob.user_id]


async def test_tokens_of_others_and_of_the_future(ann: Client) -> None:
    assert (await ann.get(f"{V3}/sync", since="s1_2_3")).errcode == "M_INVALID_PARAM"
    other_epoch = (await sync(ann))["next_batch"].replace("h1.", "h7.")
    assert "account_data" in await sync(ann, other_epoch)
    future = await sync(ann, "h1.99999999.0.0")
    assert future["next_batch"].startswith("h1.99999999.")
