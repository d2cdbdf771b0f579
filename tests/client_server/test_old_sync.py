"""`/events` and `/initialSync`, as older clients and previews of rooms use them.

https://spec.matrix.org/v1.19/client-server-api/#room-previews
"""

import asyncio
from typing import Any

import pytest

from tests.servers import Client, Hearth

V3 = "/_matrix/client/v3"


async def _room(owner: Client, **wanted: Any) -> str:
    made = await owner.post(f"{V3}/createRoom", {"preset": "public_chat", **wanted})
    return str(made.ok()["room_id"])


async def _say(who: Client, room: str, text: str) -> str:
    path = f"{V3}/rooms/{room}/send/m.room.message/{text}"
    return str((await who.put(path, {"msgtype": "m.text", "body": text})).ok()["event_id"])


async def _look_into(owner: Client, room: str) -> None:
    """Let everybody look into a room."""
    path = f"{V3}/rooms/{room}/state/m.room.history_visibility"
    (await owner.put(path, {"history_visibility": "world_readable"})).ok()


def _bodies(chunk: list[Any]) -> list[str]:
    return [e["content"]["body"] for e in chunk if e["type"] == "m.room.message"]


async def test_the_stream_wakes_who_waits(hearth: Hearth) -> None:
    ann, bob = await hearth.user("ann"), await hearth.user("bob")
    room, other = await _room(ann), await _room(ann)
    (await bob.post(f"{V3}/join/{room}")).ok()
    start = (await bob.get(f"{V3}/events", timeout="0")).ok()
    assert start["chunk"] == []
    waiting = asyncio.create_task(bob.get(f"{V3}/events", **{"from": start["end"]}))
    await _say(ann, other, "elsewhere")
    await _say(ann, room, "hello")
    answer = (await asyncio.wait_for(waiting, 5)).ok()
    assert _bodies(answer["chunk"]) == ["hello"]
    assert answer["chunk"][0]["room_id"] == room
    # The same token means the same, and the next one that there is nothing more.
    again = (await bob.get(f"{V3}/events", timeout="0", **{"from": start["end"]})).ok()
    assert _bodies(again["chunk"]) == ["hello"]
    later = (await bob.get(f"{V3}/events", timeout="0", **{"from": answer["end"]})).ok()
    assert later["chunk"] == []


async def test_nothing_new_takes_as_long_as_was_asked(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    start = (await ann.get(f"{V3}/events", timeout="0")).ok()["end"]
    began = asyncio.get_running_loop().time()
    answer = (await ann.get(f"{V3}/events", timeout="300", **{"from": start})).ok()
    assert answer["chunk"] == []
    assert 0.25 < asyncio.get_running_loop().time() - began < 2


async def test_invitations_receipts_typing_and_data(hearth: Hearth) -> None:
    ann, bob = await hearth.user("ann"), await hearth.user("bob")
    room = await _room(ann)
    (await bob.post(f"{V3}/join/{room}")).ok()
    start = (await bob.get(f"{V3}/events", timeout="0")).ok()["end"]
    said = await _say(bob, room, "read me")
    (await ann.post(f"{V3}/rooms/{room}/receipt/m.read/{said}")).ok()
    (await ann.put(f"{V3}/rooms/{room}/typing/{ann.user_id}", {"typing": True})).ok()
    data = f"{V3}/user/{bob.user_id}/rooms/{room}/account_data/a.kind"
    (await bob.put(data, {"is": "mine"})).ok()
    secret = await _room(ann, preset="private_chat", invite=[bob.user_id])
    chunk = (await bob.get(f"{V3}/events", timeout="0", **{"from": start})).ok()["chunk"]
    by_kind = {event["type"]: event for event in chunk}
    assert said in by_kind["m.receipt"]["content"]
    assert by_kind["m.typing"]["content"] == {"user_ids": [ann.user_id]}
    assert by_kind["a.kind"] == {"type": "a.kind", "content": {"is": "mine"}, "room_id": room}
    invitation = next(e for e in chunk if e["type"] == "m.room.member" and e["room_id"] == secret)
    assert invitation["content"]["membership"] == "invite"
    # Of other people's account data nothing is told.
    seen = (await ann.get(f"{V3}/events", timeout="0", **{"from": start})).ok()["chunk"]
    assert "a.kind" not in {event["type"] for event in seen}


async def test_a_room_is_looked_into(hearth: Hearth) -> None:
    ann, cat = await hearth.user("ann"), await hearth.user("cat")
    room = await _room(ann)
    asked = {"room_id": room, "timeout": "0"}
    assert (await cat.get(f"{V3}/events", **asked)).status == 403
    await _look_into(ann, room)
    start = (await cat.get(f"{V3}/events", **asked)).ok()["end"]
    await _say(ann, room, "for all")
    chunk = (await cat.get(f"{V3}/events", **asked, **{"from": start})).ok()["chunk"]
    assert _bodies(chunk) == ["for all"]
    snapshot = (await cat.get(f"{V3}/rooms/{room}/initialSync")).ok()
    assert "membership" not in snapshot
    assert _bodies(snapshot["messages"]["chunk"]) == ["for all"]


async def test_guests_look_into_one_room_only(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    room = await _room(ann)
    await _look_into(ann, room)
    made = (await hearth.anybody.post(f"{V3}/register?kind=guest", {})).ok()
    guest = Client(hearth, made["access_token"], made["user_id"])
    assert (await guest.get(f"{V3}/events", timeout="0")).errcode == "M_GUEST_ACCESS_FORBIDDEN"
    (await guest.get(f"{V3}/events", timeout="0", room_id=room)).ok()
    (await guest.get(f"{V3}/rooms/{room}/initialSync")).ok()


async def test_one_event(hearth: Hearth) -> None:
    ann, cat = await hearth.user("ann"), await hearth.user("cat")
    said = await _say(ann, await _room(ann, preset="private_chat"), "secret")
    assert (await ann.get(f"{V3}/events/{said}")).ok()["content"]["body"] == "secret"
    assert (await cat.get(f"{V3}/events/{said}")).status == 404


async def test_all_rooms_as_they_are(hearth: Hearth) -> None:
    ann, bob = await hearth.user("ann"), await hearth.user("bob")
    room, left, secret = await _room(ann, name="tea"), await _room(ann), ""
    for one in (room, left):
        (await bob.post(f"{V3}/join/{one}")).ok()
    await _say(ann, left, "before")
    (await bob.post(f"{V3}/rooms/{left}/leave")).ok()
    await _say(ann, left, "after")
    said = await _say(ann, room, "hello")
    (await bob.post(f"{V3}/rooms/{room}/receipt/m.read/{said}")).ok()
    (await bob.put(f"{V3}/user/{bob.user_id}/rooms/{room}/tags/m.favourite", {})).ok()
    secret = await _room(ann, preset="private_chat", invite=[bob.user_id])
    answer = (await bob.get(f"{V3}/initialSync", limit="5")).ok()
    rooms = {one["room_id"]: one for one in answer["rooms"]}
    assert {key: one["membership"] for key, one in rooms.items()} == {
        room: "join",
        secret: "invite",
    }
    assert _bodies(rooms[room]["messages"]["chunk"]) == ["hello"]
    names = [e["content"]["name"] for e in rooms[room]["state"] if e["type"] == "m.room.name"]
    assert names == ["tea"]
    assert [e["type"] for e in rooms[room]["account_data"]] == ["m.tag"]
    assert said in answer["receipts"][0]["content"]
    assert rooms[secret]["inviter"] == ann.user_id
    # What comes after is in the stream from there.
    await _say(ann, room, "next")
    stream = (await bob.get(f"{V3}/events", timeout="0", **{"from": answer["end"]})).ok()
    assert _bodies(stream["chunk"]) == ["next"]
    archived = (await bob.get(f"{V3}/initialSync", archived="true")).ok()
    old = next(one for one in archived["rooms"] if one["room_id"] == left)
    assert old["membership"] == "leave"
    assert _bodies(old["messages"]["chunk"]) == ["before"]


@pytest.mark.parametrize("limit", ["0", "1", "3"])
async def test_as_many_messages_as_were_asked_for(hearth: Hearth, limit: str) -> None:
    ann = await hearth.user("ann")
    room = await _room(ann)
    said = [await _say(ann, room, str(number)) for number in range(5)]
    one = (await ann.get(f"{V3}/rooms/{room}/initialSync", limit=limit)).ok()
    many = int(limit)
    assert [e["event_id"] for e in one["messages"]["chunk"]] == said[5 - many :]
    assert one["state"]
    if many:
        start = one["messages"]["start"]
        path = f"{V3}/rooms/{room}/messages"
        before = (await ann.get(path, dir="b", limit="1", **{"from": start})).ok()
        assert before["chunk"][0]["event_id"] == said[5 - many - 1]


async def test_who_was_put_out_sees_the_room_as_it_was(hearth: Hearth) -> None:
    ann, bob = await hearth.user("ann"), await hearth.user("bob")
    room = await _room(ann)
    (await bob.post(f"{V3}/join/{room}")).ok()
    await _say(ann, room, "before")
    (await ann.post(f"{V3}/rooms/{room}/kick", {"user_id": bob.user_id})).ok()
    await _say(ann, room, "after")
    one = (await bob.get(f"{V3}/rooms/{room}/initialSync")).ok()
    assert one["membership"] == "leave"
    assert _bodies(one["messages"]["chunk"]) == ["before"]
    cat = await hearth.user("cat")
    assert (await cat.get(f"{V3}/rooms/{room}/initialSync")).status == 403
