"""The server speaking to people."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from homeserver.config.settings import ServerNotices
from tests.database import Server
from tests.servers import Client, Hearth, own_database, serving, test_settings

PATH = "/_synapse/admin/v1/send_server_notice"
V3 = "/_matrix/client/v3"


@pytest.fixture
async def speaking(postgres: Server, tmp_path: Path) -> AsyncIterator[Hearth]:
    """A server that speaks to people."""
    notices = ServerNotices(localpart="notices", display_name="The house", room_name="News")
    settings = test_settings("one.test", tmp_path, server_notices=notices)
    async with (
        own_database(postgres, f"hearth_{id(tmp_path)}") as where,
        serving(settings, where) as server,
    ):
        yield server


@pytest.fixture
async def root(speaking: Hearth) -> Client:
    return await speaking.user("root", is_admin=True)


@pytest.fixture
async def ann(speaking: Hearth) -> Client:
    return await speaking.user("ann")


def saying(text: str, user: str = "@ann:one.test") -> dict[str, Any]:
    return {"user_id": user, "content": {"msgtype": "m.text", "body": text}}


async def rooms(who: Client, section: str) -> dict[str, Any]:
    synced = (await who.get(f"{V3}/sync")).ok()
    found: dict[str, Any] = synced.get("rooms", {}).get(section, {})
    return found


async def texts(who: Client, room: str) -> list[str]:
    page = (await who.get(f"{V3}/rooms/{room}/messages", dir="b")).ok()["chunk"]
    return [event["content"]["body"] for event in page if event["type"] == "m.room.message"]


async def test_one_room_for_each(speaking: Hearth, root: Client, ann: Client) -> None:
    assert (await root.post(PATH, saying("one"))).ok()["event_id"].startswith("$")
    ((room, shown),) = (await rooms(ann, "invite")).items()
    state = {event["type"]: event for event in shown["invite_state"]["events"]}
    assert state["m.room.name"]["content"]["name"] == "News"
    assert state["m.room.create"]["sender"] == "@notices:one.test"
    (await ann.post(f"{V3}/rooms/{room}/join")).ok()
    (await root.post(PATH, saying("two"))).ok()
    assert list(await rooms(ann, "join")) == [room]
    assert await texts(ann, room) == ["two", "one"]
    member = (await ann.get(f"{V3}/rooms/{room}/state/m.room.member/@notices:one.test")).ok()
    assert member["displayname"] == "The house"
    tags = (await ann.get(f"{V3}/user/{ann.user_id}/rooms/{room}/tags")).ok()["tags"]
    assert "m.server_notice" in tags
    answer = await ann.put(
        f"{V3}/rooms/{room}/send/m.room.message/1", {"msgtype": "m.text", "body": "no"}
    )
    assert answer.errcode == "M_FORBIDDEN"


async def test_the_invitation_cannot_be_rejected(root: Client, ann: Client) -> None:
    (await root.post(PATH, saying("one"))).ok()
    (room,) = await rooms(ann, "invite")
    path = f"{V3}/rooms/{room}"
    for refused in (
        await ann.post(f"{path}/leave"),
        await ann.put(f"{path}/state/m.room.member/{ann.user_id}", {"membership": "leave"}),
    ):
        assert (refused.status, refused.errcode) == (403, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM")
    # Who has joined may leave, and is invited into the same room again.
    (await ann.post(f"{path}/join")).ok()
    (await ann.post(f"{path}/leave")).ok()
    assert await rooms(ann, "invite") == {}
    (await root.post(PATH, saying("two"))).ok()
    assert list(await rooms(ann, "invite")) == [room]


async def test_once_for_each_transaction(root: Client, ann: Client) -> None:
    first = (await root.put(f"{PATH}/t1", saying("one"))).ok()
    assert (await root.put(f"{PATH}/t1", saying("one"))).ok() == first
    assert (await root.put(f"{PATH}/t2", saying("one"))).ok() != first
    (room,) = await rooms(ann, "invite")
    (await ann.post(f"{V3}/rooms/{room}/join")).ok()
    assert await texts(ann, room) == ["one", "one"]
    # A repeat invites nobody again.
    (await ann.post(f"{V3}/rooms/{room}/leave")).ok()
    assert (await root.put(f"{PATH}/t1", saying("one"))).ok() == first
    assert await rooms(ann, "invite") == {}
    (await root.put(f"{PATH}/t3", saying("three"))).ok()
    (await ann.post(f"{V3}/rooms/{room}/join")).ok()
    assert await texts(ann, room) == ["three", "one", "one"]
    state = {**saying("x"), "type": "m.room.topic", "state_key": "", "content": {"topic": "News"}}
    (await root.post(PATH, state)).ok()
    assert (await ann.get(f"{V3}/rooms/{room}/state/m.room.topic")).ok()["topic"] == "News"


async def test_many_at_a_time(root: Client, ann: Client) -> None:
    sent = await asyncio.gather(*(root.post(PATH, saying(str(n))) for n in range(10)))
    assert len({answer.ok()["event_id"] for answer in sent}) == 10
    assert len(await rooms(ann, "invite")) == 1


async def test_a_new_room_where_the_old_one_was_ended(root: Client, ann: Client) -> None:
    (await root.post(PATH, saying("one"))).ok()
    (room,) = await rooms(ann, "invite")
    (await root.delete(f"/_synapse/admin/v1/rooms/{room}", {})).ok()
    (await root.post(PATH, saying("two"))).ok()
    (new,) = await rooms(ann, "invite")
    assert new != room
    (await root.delete(f"/_synapse/admin/v1/rooms/{new}", {"purge": False})).ok()
    (await root.post(PATH, saying("three"))).ok()
    (newest,) = await rooms(ann, "invite")
    assert newest not in {room, new}


async def test_who_is_not_spoken_to(hearth: Hearth) -> None:
    plain = await hearth.user("plain", is_admin=True)
    off = await plain.post(PATH, saying("x", plain.user_id))
    assert off.status == 400
    assert "server_notices" in off.json["error"]


async def test_what_is_refused(root: Client, ann: Client) -> None:
    for user, status in (("@no:one.test", 404), ("@ann:elsewhere.test", 400), ("ann", 400)):
        assert (await root.post(PATH, saying("x", user))).status == status
    for body in ({"user_id": ann.user_id}, {**saying("x"), "content": 5}):
        assert (await root.post(PATH, body)).status == 400
    floating = {**saying("x"), "content": {"number": 1.5}}
    assert (await root.post(PATH, floating)).errcode == "M_BAD_JSON"
    assert (await root.post(PATH, {**saying("x"), "type": ""})).status == 400
    assert (await ann.post(PATH, saying("x"))).errcode == "M_FORBIDDEN"


async def test_nobody_can_refuse_them(root: Client, ann: Client) -> None:
    path = f"{V3}/user/{ann.user_id}/account_data/m.invite_permission_config"
    (await ann.put(path, {"default_action": "block"})).ok()
    refused = await root.post(f"{V3}/createRoom", {"invite": [ann.user_id]})
    assert refused.errcode == "M_INVITE_BLOCKED"
    (await root.post(PATH, saying("one"))).ok()
    assert len(await rooms(ann, "invite")) == 1
