"""Ending rooms: everybody leaves, others are told, and nothing is left of it."""

from pathlib import Path
from typing import Any

import pytest

from tests.admin.test_purging import found, rows
from tests.client_server.stage import staged
from tests.client_server.test_sliding_sync import ALL, sliding, texts
from tests.database import Server
from tests.servers import Client, Hearth, eventually, own_database, serving, test_settings

V1 = "/_synapse/admin/v1"
V2 = "/_synapse/admin/v2"
V3 = "/_matrix/client/v3"
TABLES = (
    "events",
    "memberships",
    "current_state",
    "state_changes",
    "state_groups",
    "room_servers",
    "aliases",
    "published",
    "receipts",
    "relations",
    "searchable",
    "notable",
)


@pytest.fixture
async def root(hearth: Hearth) -> Client:
    return await hearth.user("root", is_admin=True)


@pytest.fixture
async def ann(hearth: Hearth) -> Client:
    return await hearth.user("ann")


async def joined(who: Client) -> list[str]:
    rooms: list[str] = (await who.get(f"{V3}/joined_rooms")).ok()["joined_rooms"]
    return rooms


async def test_nothing_is_left(hearth: Hearth, root: Client, ann: Client) -> None:
    ben, cid = await hearth.user("ben"), await hearth.user("cid")
    room = await staged(ann)
    (await ann.put(f"{V3}/directory/room/%23tea:one.test", {"room_id": room.room_id})).ok()
    (await ben.post(f"{room.path}/join")).ok()
    (await ann.post(f"{room.path}/invite", {"user_id": cid.user_id})).ok()
    said = await room.say(ann, "apple")
    (await ben.post(f"{room.path}/receipt/m.read/{said}")).ok()
    since = (await ben.get(f"{V3}/sync")).ok()["next_batch"]
    body = {"new_room_user_id": root.user_id, "message": "Closed.", "room_name": "Gone"}
    done = (await root.delete(f"{V1}/rooms/{room.room_id}", body)).ok()
    assert set(done["kicked_users"]) == {ann.user_id, ben.user_id, cid.user_id}
    assert done["failed_to_kick_users"] == []
    assert done["local_aliases"] == ["#tea:one.test"]
    new = done["new_room_id"]
    assert (await joined(ann), await joined(ben), await joined(cid)) == ([new], [new], [])
    page = (await ben.get(f"{V3}/rooms/{new}/messages", dir="b")).ok()["chunk"]
    assert "Closed." in [event["content"].get("body") for event in page]
    refused = {"msgtype": "m.text", "body": "x"}
    answer = await ben.put(f"{V3}/rooms/{new}/send/m.room.message/1", refused)
    assert answer.errcode == "M_FORBIDDEN"
    led = (await ann.get(f"{V3}/directory/room/%23tea:one.test")).ok()
    assert led["room_id"] == new
    assert {table: await rows(hearth, table, room) for table in TABLES} == dict.fromkeys(TABLES, 0)
    assert await found(ann, "apple") == 0
    # Whoever looks for it finds nothing, and nothing breaks.
    synced = (await ben.get(f"{V3}/sync", since=since)).ok()
    assert room.room_id not in synced["rooms"]["join"]
    assert room.room_id not in (await ann.get(f"{V3}/sync")).ok()["rooms"]["join"]
    for path in ("messages?dir=b", "state", "members", f"event/{said}"):
        assert (await ann.get(f"{room.path}/{path}")).status in {403, 404}
    for path, verb in (("join", ann.post), ("send/m.room.message/2", ann.put)):
        assert (await verb(f"{room.path}/{path}", refused)).status in {403, 404}
    assert (await root.get(f"{V1}/rooms/{room.room_id}")).status == 404
    assert (await root.delete(f"{V1}/rooms/{room.room_id}", {})).status == 404


async def test_in_the_background(hearth: Hearth, root: Client, ann: Client) -> None:
    room = await staged(ann)
    body = {"block": True, "purge": False}
    begun = (await root.delete(f"{V2}/rooms/{room.room_id}", body)).ok()

    async def ended() -> Any:
        state = (await root.get(f"{V2}/rooms/delete_status/{begun['delete_id']}")).ok()
        return state if state["status"] == "complete" else None

    state = await eventually(ended)
    assert state["room_id"] == room.room_id
    assert state["shutdown_room"] == {
        "kicked_users": [ann.user_id],
        "failed_to_kick_users": [],
        "local_aliases": [],
        "new_room_id": None,
    }
    listed = (await root.get(f"{V2}/rooms/{room.room_id}/delete_status")).ok()["results"]
    assert listed == [{**state, "delete_id": begun["delete_id"]}]
    assert (await ann.post(f"{room.path}/join")).errcode == "M_FORBIDDEN"
    # It was not purged: those who were in it may read it still.
    assert (await ann.get(f"{room.path}/messages", dir="b")).status == 200
    assert (await root.get(f"{V2}/rooms/!no:one.test/delete_status")).status == 404
    assert (await root.get(f"{V2}/rooms/delete_status/nothing")).status == 404


async def test_who_and_what_is_refused(hearth: Hearth, root: Client, ann: Client) -> None:
    room = await staged(ann)
    path = f"{V2}/rooms/{room.room_id}"
    assert (await ann.delete(path, {})).errcode == "M_FORBIDDEN"
    for maker in ("@nobody:one.test", "@root:elsewhere.test", "root"):
        assert (await root.delete(path, {"new_room_user_id": maker})).status == 400
    assert (await root.delete(f"{V2}/rooms/!no:one.test", {})).status == 404
    unknown = "!no:elsewhere.test"
    done = (await root.delete(f"{V1}/rooms/{unknown}", {"block": True})).ok()
    assert done["kicked_users"] == []
    assert (await root.get(f"{V1}/rooms/{unknown}/block")).ok()["block"]


async def test_other_servers_go_on_and_one_can_come_back(pair: tuple[Hearth, Hearth]) -> None:
    one, other = pair
    root, zoe = await one.user("root", is_admin=True), await other.user("zoe")
    theirs = await staged(zoe)
    join = f"{V3}/join/{theirs.room_id}"
    (await root.post(join, server_name=other.name)).ok()
    await theirs.say(zoe, "hello")
    (await root.delete(f"{V1}/rooms/{theirs.room_id}", {})).ok()

    async def left() -> bool:
        members = (await zoe.get(f"{theirs.path}/members", membership="leave")).ok()["chunk"]
        return root.user_id in [event["state_key"] for event in members]

    await eventually(left)
    await theirs.say(zoe, "again")
    (await root.post(join, server_name=other.name)).ok()

    async def reads() -> bool:
        page = (await root.get(f"{theirs.path}/messages", dir="b")).ok()["chunk"]
        return {"hello", "again"} <= {event["content"].get("body") for event in page}

    await eventually(reads)
    said = await root.put(
        f"{theirs.path}/send/m.room.message/5", {"msgtype": "m.text", "body": "!"}
    )
    assert said.status == 200
    synced = (await root.get(f"{V3}/sync")).ok()["rooms"]["join"]
    assert theirs.room_id in synced


async def test_on_several_workers(postgres: Server, tmp_path: Path) -> None:
    """Whoever had the room in memory finds out; nothing fails, and nothing is written to it."""
    async with (
        own_database(postgres, f"hearth_{id(tmp_path)}") as where,
        serving(test_settings("one.test", tmp_path), where, workers=3) as server,
    ):
        root, ann = await server.user("root", is_admin=True), await server.user("ann")
        room = await staged(ann)
        said = {"msgtype": "m.text", "body": "x"}
        for number in range(12):
            (await ann.put(f"{room.path}/send/m.room.message/{number}", said)).ok()
        begun = (await root.delete(f"{V2}/rooms/{room.room_id}", {})).ok()["delete_id"]

        async def ended() -> bool:
            state = (await root.get(f"{V2}/rooms/delete_status/{begun}")).ok()
            return bool(state["status"] == "complete")

        await eventually(ended)
        for number in range(12):
            answer = await ann.put(f"{room.path}/send/m.room.message/again{number}", said)
            assert answer.status in {403, 404}, answer.json
            assert (await ann.post(f"{room.path}/join")).status in {403, 404}
            assert (await ann.get("/_matrix/client/v3/sync")).status == 200
        assert await rows(server, "events", room) == 0


async def test_clients_of_sliding_sync_go_on(hearth: Hearth, root: Client, ann: Client) -> None:
    room, kept = await staged(ann), await staged(ann)
    await room.say(ann, "apple")
    first = await sliding(ann, ALL)
    assert set(first["rooms"]) == {room.room_id, kept.room_id}
    (await root.delete(f"{V1}/rooms/{room.room_id}", {})).ok()
    edge = await kept.say(ann, "pear")
    purged = await root.post(f"/_synapse/admin/v1/purge_history/{kept.room_id}/{edge}")
    assert purged.status == 200
    second = await sliding(ann, ALL, first["pos"])
    assert texts(second["rooms"][kept.room_id]) == ["pear"]
    fresh = await sliding(ann, ALL)
    assert set(fresh["rooms"]) == {kept.room_id}
    assert texts(fresh["rooms"][kept.room_id]) == ["pear"]
