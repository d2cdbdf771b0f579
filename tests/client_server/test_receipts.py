"""Receipts and read markers, as clients send them."""

from typing import Any

import pytest

from tests.client_server.stage import Stage, staged
from tests.servers import Client, Hearth


@pytest.fixture
async def ann(hearth: Hearth) -> Client:
    return await hearth.user("ann")


@pytest.fixture
async def room(ann: Client) -> Stage:
    return await staged(ann)


async def marks(room: Stage, reader: Client) -> dict[str, str]:
    """What somebody is told of their own receipts, by type and thread, and their marker."""
    process = room.hearth.parts.base.process
    path = f"/_matrix/client/v3/user/{reader.user_id}/rooms/{room.room_id}/account_data"
    marker = await reader.get(f"{path}/m.fully_read")
    found = {"m.fully_read": marker.json["event_id"]} if marker.status == 200 else {}
    async with process.database.reader() as conn:
        nid = (await process.numbers.rooms.find(conn, [room.room_id]))[room.room_id]
        user = (await process.numbers.users.find(conn, [reader.user_id]))[reader.user_id]
        told = await room.hearth.parts.reading.receipts.since(conn, user, {nid: 0}, 2**60)
    for event, kinds in told.get(nid, {}).items():
        for kind, users in kinds.items():
            for data in users.values():
                found[f"{kind} {data.get('thread_id', '')}".strip()] = event
    return found


async def test_receipts(room: Stage, ann: Client) -> None:
    first, second = await room.say(ann, "1"), await room.say(ann, "2")
    receipt = f"{room.path}/receipt"
    assert (await ann.post(f"{receipt}/m.read/{first}")).ok() == {}
    (await ann.post(f"{receipt}/m.read.private/{second}", raw=b"")).ok()
    (await ann.post(f"{receipt}/m.read/{second}", {"thread_id": "main"})).ok()
    (await ann.post(f"{receipt}/m.fully_read/{second}")).ok()
    (await ann.post(f"{receipt}/m.fully_read/{first}")).ok()
    assert await marks(room, ann) == {
        "m.read": first,
        "m.read.private": second,
        "m.read main": second,
        "m.fully_read": second,
    }


async def test_read_markers(room: Stage, ann: Client) -> None:
    first, second = await room.say(ann, "1"), await room.say(ann, "2")
    body = {"m.fully_read": first, "m.read": second, "m.read.private": second}
    assert (await ann.post(f"{room.path}/read_markers", body)).ok() == {}
    assert await marks(room, ann) == body
    (await ann.post(f"{room.path}/read_markers", {"m.fully_read": second})).ok()
    (await ann.post(f"{room.path}/read_markers", {})).ok()
    assert (await marks(room, ann))["m.fully_read"] == second


@pytest.mark.parametrize(
    ("path", "body", "errcode"),
    [
        ("receipt/m.read/{event}", {"thread_id": ""}, "M_INVALID_PARAM"),
        ("receipt/m.read/{event}", {"thread_id": 7}, "M_INVALID_PARAM"),
        ("receipt/m.read/{event}", {"thread_id": "\0"}, "M_INVALID_PARAM"),
        ("receipt/m.read/{event}", {"thread_id": "$other"}, "M_INVALID_PARAM"),
        ("receipt/m.fully_read/{event}", {"thread_id": "main"}, "M_INVALID_PARAM"),
        ("receipt/m.other/{event}", {}, "M_INVALID_PARAM"),
        ("receipt/m.read/x", {}, "M_INVALID_PARAM"),
        ("receipt/m.read/$nothing", {}, "M_NOT_FOUND"),
        ("receipt/m.fully_read/$nothing", {}, "M_NOT_FOUND"),
        ("read_markers", {"m.fully_read": "x"}, "M_INVALID_PARAM"),
        ("read_markers", {"m.read": 7}, "M_BAD_JSON"),
        ("read_markers", {"m.read": "$nothing"}, "M_NOT_FOUND"),
    ],
)
async def test_bad_receipts(room: Stage, ann: Client, path: str, body: Any, errcode: str) -> None:
    event = await room.say(ann, "hello")
    answer = await ann.post(f"{room.path}/{path}".replace("{event}", event), body)
    assert answer.errcode == errcode
    assert await marks(room, ann) == {}


@pytest.mark.parametrize("path", ["receipt/m.read/{event}", "receipt/m.fully_read/{event}"])
async def test_only_members_mark(room: Stage, hearth: Hearth, path: str) -> None:
    bob = await hearth.user("bob")
    event = await room.say(room.owner, "hello")
    answer = await bob.post(f"{room.path}/{path}".replace("{event}", event))
    assert (answer.status, answer.errcode) == (403, "M_FORBIDDEN")


async def test_a_thread_is_found_within_three_hops(room: Stage, ann: Client) -> None:
    """Reactions to what is said in a thread, edits of them, and so on, are in it too."""
    root = await room.say(ann, "root")

    async def about(parent: str, rel_type: str) -> str:
        relation = {"rel_type": rel_type, "event_id": parent}
        return str(await room.send(ann, "org.example.said", {"m.relates_to": relation}))

    async def mark(event: str, thread: str) -> int:
        path = f"{room.path}/receipt/m.read/{event}"
        return (await ann.post(path, {"thread_id": thread})).status

    chain = [await about(root, "m.thread")]
    for _ in range(4):
        chain.append(await about(chain[-1], "m.reference"))
    assert [await mark(event, root) for event in chain] == [200, 200, 200, 200, 400]
    assert [await mark(event, "main") for event in chain] == [400, 400, 400, 400, 200]
    assert await mark(await about(root, "m.reference"), "main") == 200
