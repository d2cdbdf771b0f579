"""Reports of events, as administrators look through them."""

import pytest

from tests.admin.test_purging import purge
from tests.client_server.stage import Stage, staged
from tests.servers import Client, Hearth

PATH = "/_synapse/admin/v1/event_reports"


@pytest.fixture
async def root(hearth: Hearth) -> Client:
    return await hearth.user("root", is_admin=True)


@pytest.fixture
async def ann(hearth: Hearth) -> Client:
    return await hearth.user("ann")


async def report(who: Client, room: Stage, event: str, reason: str) -> None:
    (await who.post(f"{room.path}/report/{event}", {"reason": reason})).ok()


async def test_looked_through_and_forgotten(hearth: Hearth, root: Client, ann: Client) -> None:
    ben = await hearth.user("ben")
    room, other = await staged(ann, name="Tea"), await staged(ann)
    for one in (room, other):
        (await ben.post(f"{one.path}/join")).ok()
    first, second = await room.say(ann, "rude"), await other.say(ben, "worse")
    await report(ben, room, first, "one")
    await report(ann, other, second, "two")
    (await ann.post(f"{room.path}/report", {"reason": "the room"})).ok()

    async def reasons(**query: str) -> list[str]:
        found = (await root.get(PATH, **query)).ok()
        return [row["reason"] for row in found["event_reports"]]

    assert await reasons() == ["two", "one"]
    assert await reasons(dir="f") == ["one", "two"]
    assert await reasons(user_id="@ben") == ["one"]
    assert await reasons(room_id=other.room_id) == ["two"]
    assert await reasons(event_sender_user_id=ben.user_id) == ["two"]
    page = (await root.get(PATH, limit="1")).ok()
    assert (page["total"], page["next_token"], len(page["event_reports"])) == (2, 1, 1)
    row = (await root.get(PATH, limit="1", **{"from": "1"})).ok()["event_reports"][0]
    assert row["name"] == "Tea"
    assert (row["event_id"], row["sender"], row["user_id"]) == (first, ann.user_id, ben.user_id)
    one = (await root.get(f"{PATH}/{row['id']}")).ok()
    assert one["event_json"]["content"]["body"] == "rude"
    assert (await root.delete(f"{PATH}/{row['id']}")).ok() == {}
    assert (await root.delete(f"{PATH}/{row['id']}")).status == 404
    assert (await root.get(f"{PATH}/{row['id']}")).status == 404
    assert await reasons() == ["two"]
    assert (await root.get(f"{PATH}/x")).status == 400
    assert (await ann.get(PATH)).errcode == "M_FORBIDDEN"


async def test_of_an_event_that_is_gone(root: Client, ann: Client) -> None:
    room = await staged(ann)
    said = await room.say(ann, "rude")
    await report(ann, room, said, "one")
    edge = await room.say(ann, "edge")
    await purge(root, room, edge, delete_local_events=True)
    (row,) = (await root.get(PATH)).ok()["event_reports"]
    one = (await root.get(f"{PATH}/{row['id']}")).ok()
    assert (one["event_id"], one["sender"]) == (said, ann.user_id)
    assert "event_json" not in one
