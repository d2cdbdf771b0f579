"""Typing notifications, as clients send them."""

import pytest

from tests.client_server.stage import staged
from tests.servers import Hearth, eventually


async def test_typing(hearth: Hearth) -> None:
    ann, bob = await hearth.user("ann"), await hearth.user("bob")
    room = await staged(ann)
    typing = hearth.parts.reading.typing
    path = f"{room.path}/typing/{ann.user_id}"
    assert (await ann.put(path, {"typing": True, "timeout": 5000})).ok() == {}
    ((_, users),) = typing.since(list(typing._typing), 0).items()
    assert users == [ann.user_id]
    assert (await ann.put(path, {"typing": False})).ok() == {}
    assert typing._typing == {}
    assert (await bob.put(path, {"typing": True})).errcode == "M_FORBIDDEN"
    theirs = f"{room.path}/typing/{bob.user_id}"
    assert (await bob.put(theirs, {"typing": True})).errcode == "M_FORBIDDEN"
    assert typing._typing == {}


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({}, "M_MISSING_PARAM"),
        ({"typing": "yes"}, "M_BAD_JSON"),
        ({"typing": True, "timeout": -1}, "M_INVALID_PARAM"),
        ({"typing": True, "timeout": "1"}, "M_BAD_JSON"),
    ],
)
async def test_bad_bodies(hearth: Hearth, body: object, errcode: str) -> None:
    ann = await hearth.user("ann")
    room = await staged(ann)
    answer = await ann.put(f"{room.path}/typing/{ann.user_id}", body)
    assert (answer.status, answer.errcode) == (400, errcode)


async def test_who_leaves_types_no_more(hearth: Hearth) -> None:
    ann, ben = await hearth.user("ann"), await hearth.user("ben")
    room = (await ann.post("/_matrix/client/v3/createRoom", {"preset": "public_chat"})).ok()[
        "room_id"
    ]
    (await ben.post(f"/_matrix/client/v3/join/{room}")).ok()
    typing = f"/_matrix/client/v3/rooms/{room}/typing/{ben.user_id}"
    (await ben.put(typing, {"typing": True, "timeout": 30_000})).ok()

    async def shown() -> list[str]:
        sync = (await ann.get("/_matrix/client/v3/sync", timeout=0)).ok()
        events = sync["rooms"]["join"][room].get("ephemeral", {}).get("events", [])
        return [
            user for e in events if e["type"] == "m.typing" for user in e["content"]["user_ids"]
        ]

    assert await shown() == [ben.user_id]
    (await ben.post(f"/_matrix/client/v3/rooms/{room}/leave")).ok()

    async def nobody() -> bool:
        return await shown() == []

    await eventually(nobody)
