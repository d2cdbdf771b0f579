"""Deleting the past of rooms: what goes, what stays, and that the room goes on."""

from typing import Any

import pytest

from homeserver.storage.admin_tasks import TaskKind
from tests.client_server.stage import Stage, staged
from tests.servers import Client, Hearth, eventually

V1 = "/_synapse/admin/v1"


@pytest.fixture
async def root(hearth: Hearth) -> Client:
    return await hearth.user("root", is_admin=True)


@pytest.fixture
async def ann(hearth: Hearth) -> Client:
    return await hearth.user("ann")


async def purge(root: Client, room: Stage, event: str | None = None, **body: Any) -> dict[str, Any]:
    """Purge, and wait for the end."""
    at = f"/{event}" if event else ""
    begun = (await root.post(f"{V1}/purge_history/{room.room_id}{at}", body)).ok()
    path = f"{V1}/purge_history_status/{begun['purge_id']}"

    async def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = (await root.get(path)).ok()
        return None if found["status"] == "active" else found

    state: dict[str, Any] = await eventually(ended)
    return state


async def found(who: Client, word: str) -> int:
    wanted = {"search_categories": {"room_events": {"search_term": word}}}
    answer = (await who.post("/_matrix/client/v3/search", wanted)).ok()
    count: int = answer["search_categories"]["room_events"]["count"]
    return count


async def rows(hearth: Hearth, table: str, room: Stage) -> int:
    async with hearth.parts.base.process.database.reader() as conn:
        count: int = await conn.fetchval(
            f"""
            SELECT count(*) FROM {table} t JOIN rooms r ON r.room_nid = t.room_nid
             WHERE r.room_id = $1
            """,  # noqa: S608 - a table that a test names
            room.room_id,
        )
        return count


async def test_what_is_older_than_an_event_goes(hearth: Hearth, root: Client, ann: Client) -> None:
    room = await staged(ann)
    said = [await room.say(ann, f"apple {number}") for number in range(6)]
    reaction = {"m.relates_to": {"rel_type": "m.annotation", "event_id": said[0], "key": "x"}}
    await room.send(ann, "m.reaction", reaction)
    edge = await room.say(ann, "pear")
    await room.say(ann, "cherry")
    state = await purge(root, room, edge, delete_local_events=True)
    assert state == {"status": "complete"}
    # Reading back ends where the purge began, and at once.
    assert await room.texts(ann) == ["cherry", "pear"]
    page = (await ann.get(f"{room.path}/messages", dir="b", limit=100)).ok()
    assert "end" not in page
    forwards = (await ann.get(f"{room.path}/messages", dir="f", limit=1)).ok()
    assert forwards["chunk"][0]["event_id"] == edge
    # Nothing finds what is gone.
    assert (await found(ann, "apple"), await found(ann, "pear")) == (0, 1)
    assert await rows(hearth, "relations", room) == 0
    assert await rows(hearth, "notable", room) == 2
    for path in ("event", "context", "relations"):
        place = f"{room.path}/{path}/{said[0]}".replace("v3", "v1" if path == "relations" else "v3")
        assert (await ann.get(place)).status == 404
    # The room goes on, with its state, for whoever comes as well.
    assert (await ann.get(f"{room.path}/state/m.room.member/{ann.user_id}")).status == 200
    sent = await ann.put(f"{room.path}/send/m.room.message/1", {"msgtype": "m.text", "body": "on"})
    assert sent.status == 200
    ben = await hearth.user("ben")
    (await ben.post(f"{room.path}/join")).ok()
    (await ben.put(f"{room.path}/send/m.room.message/1", {"msgtype": "m.text", "body": "hi"})).ok()
    synced = (await ben.get("/_matrix/client/v3/sync")).ok()["rooms"]["join"][room.room_id]
    assert synced["timeline"]["events"][-1]["content"]["body"] == "hi"
    assert await room.texts(ben) == ["hi", "on", "cherry", "pear"]


async def test_an_old_token_leads_to_what_is_left(root: Client, ann: Client) -> None:
    room = await staged(ann)
    since = (await ann.get("/_matrix/client/v3/sync")).ok()["next_batch"]
    target = await room.say(ann, "one")
    await room.say(ann, "two")
    (await ann.post(f"{room.path}/receipt/m.read/{target}")).ok()
    edge = await room.say(ann, "three")
    await purge(root, room, edge, delete_local_events=True)
    synced = (await ann.get("/_matrix/client/v3/sync", since=since)).ok()
    events = synced["rooms"]["join"][room.room_id]["timeline"]["events"]
    assert [event["content"]["body"] for event in events] == ["three"]
    reply = {
        "m.relates_to": {"rel_type": "m.thread", "event_id": target},
        "body": "x",
        "msgtype": "m.text",
    }
    await room.send(ann, "m.room.message", {"msgtype": "m.text", **reply})
    assert (await room.texts(ann))[0] == "x"


async def test_own_messages_are_kept_apart_unless_told_otherwise(
    hearth: Hearth, root: Client, ann: Client
) -> None:
    room = await staged(ann)
    old = await room.say(ann, "plum")
    edge = await room.say(ann, "quince")
    assert (await purge(root, room, purge_up_to_event_id=edge))["status"] == "complete"
    assert await room.texts(ann) == ["quince"]
    assert await found(ann, "plum") == 0
    assert (await ann.get(f"{room.path}/event/{old}")).status < 500
    async with hearth.parts.base.process.database.reader() as conn:
        place = "SELECT room_order FROM events JOIN event_ids USING (event_nid) WHERE event_id = $1"
        assert [row[0] for row in await conn.fetch(place, old)] == [None]


async def test_by_time(hearth: Hearth, root: Client, ann: Client) -> None:
    room = await staged(ann)
    for text in ("one", "two", "three"):
        await room.say(ann, text)
    async with hearth.parts.base.process.database.reader() as conn:
        await conn.execute(
            "UPDATE events SET origin_server_ts = 1000 * (room_order >> 24) WHERE room_nid ="
            " (SELECT room_nid FROM rooms WHERE room_id = $1)",
            room.room_id,
        )
        newest = await conn.fetchval("SELECT max(room_order) >> 24 FROM events")
    await purge(root, room, purge_up_to_ts=1000 * (newest - 1), delete_local_events=True)
    assert await room.texts(ann) == ["three", "two"]
    # The end of the room stays, however old it is.
    await purge(root, room, purge_up_to_ts=2**50, delete_local_events=True)
    assert await room.texts(ann) == ["three"]
    await room.say(ann, "four")
    assert await room.texts(ann) == ["four", "three"]


async def test_what_cannot_be_purged(hearth: Hearth, root: Client, ann: Client) -> None:
    room, other = await staged(ann), await staged(ann)
    theirs = await other.say(ann, "there")
    path = f"{V1}/purge_history/{room.room_id}"
    assert (await root.post(path)).errcode == "M_MISSING_PARAM"
    assert (await root.post(f"{path}/{theirs}")).status == 404
    assert (await root.post(f"{path}/$nothing")).status == 404
    assert (await root.post(f"{V1}/purge_history/!no:one.test/$x")).status == 404
    assert (
        await root.post(f"{V1}/purge_history/!no:one.test", {"purge_up_to_ts": 5})
    ).status == 404
    assert (await root.post(path, {"purge_up_to_ts": -5})).status == 400
    assert (await root.get(f"{V1}/purge_history_status/nothing")).status == 404
    assert (await ann.post(path, {"purge_up_to_ts": 5})).errcode == "M_FORBIDDEN"


async def test_others_are_not_asked_for_what_is_gone(pair: tuple[Hearth, Hearth]) -> None:
    one, other = pair
    zoe, root = await other.user("zoe"), await one.user("root", is_admin=True)
    theirs = await staged(zoe)
    before = await theirs.say(zoe, "before")
    (await root.post(f"/_matrix/client/v3/join/{theirs.room_id}", server_name=other.name)).ok()
    room = Stage(one, theirs.room_id, root)
    assert await room.texts(root) == ["before"]
    await theirs.say(zoe, "after")
    edge = await theirs.say(zoe, "edge")

    async def arrived() -> bool:
        return "edge" in await room.texts(root)

    await eventually(arrived)
    await purge(root, room, edge)
    assert await room.texts(root) == ["edge"]
    # Both go on talking, and nothing of it comes back.
    await room.say(root, "ours")
    await theirs.say(zoe, "theirs")

    async def both() -> bool:
        return {"ours", "theirs"} <= set(await room.texts(root)) & set(await theirs.texts(zoe))

    await eventually(both)
    assert set(await room.texts(root)) == {"edge", "ours", "theirs"}
    assert (await root.get(f"{room.path}/event/{before}")).status == 404


async def test_one_at_a_time_and_what_a_stopped_server_leaves(hearth: Hearth, ann: Client) -> None:
    room = await staged(ann)
    process = hearth.parts.base.process
    tasks = hearth.parts.admin_house.tasks
    async with process.database.reader() as conn:
        nid = (await process.numbers.rooms.find(conn, [room.room_id]))[room.room_id]
        await conn.execute(
            "INSERT INTO admin_tasks VALUES ('gone', 1, $1, 'active', $2, '{}')",
            nid,
            process.now() - 1,
        )
    state = await tasks.state(TaskKind.PURGE_HISTORY, "gone")
    assert state.status == "failed"
    assert "stopped" in state.result["error"]
