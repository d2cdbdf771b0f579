"""What clients keep here, and how they take it back.

https://github.com/matrix-org/matrix-spec-proposals/pull/3391
"""

from typing import Any

import pytest

from tests.client_server.test_sync import room_of
from tests.servers import Client, Hearth

V3 = "/_matrix/client/v3"
KIND = "org.example.kept"


@pytest.fixture
async def ann(hearth: Hearth) -> Client:
    return await hearth.user("ann")


async def kept(ann: Client, room_id: str, since: str | None = None) -> tuple[list[Any], str]:
    """What a sync tells of account data of the type, of the account and the room, and its end."""
    more = {"since": since} if since else {}
    sync = (await ann.get(f"{V3}/sync", timeout=0, **more)).ok()
    room = sync.get("rooms", {}).get("join", {}).get(room_id, {})
    found = [
        event["content"]
        for part in (sync, room)
        for event in part.get("account_data", {}).get("events", ())
        if event["type"] == KIND
    ]
    return found, sync["next_batch"]


@pytest.mark.parametrize("how", ["DELETE", "unstable DELETE", "PUT {}"])
async def test_what_is_deleted_is_told_once_and_gone(ann: Client, how: str) -> None:
    room_id = await room_of(ann)
    user = f"user/{ann.user_id}"
    paths = [f"{user}/account_data/{KIND}", f"{user}/rooms/{room_id}/account_data/{KIND}"]
    for path in paths:
        (await ann.put(f"{V3}/{path}", {"a": 1})).ok()
    found, since = await kept(ann, room_id)
    assert found == [{"a": 1}, {"a": 1}]

    async def delete(path: str) -> None:
        if how == "PUT {}":
            (await ann.put(f"{V3}/{path}", {})).ok()
        else:
            root = "/_matrix/client/unstable/org.matrix.msc3391"
            (await ann.delete(f"{root if 'unstable' in how else V3}/{path}")).ok()

    for path in paths:
        await delete(path)
        assert (await ann.get(f"{V3}/{path}")).errcode == "M_NOT_FOUND"
    found, after = await kept(ann, room_id, since)
    assert found == [{}, {}]
    # "An initial sync must never contain keys with content {}, even if the delete has just
    # occurred."
    assert (await kept(ann, room_id))[0] == []
    # What is gone is deleted without a word.
    for path in paths:
        await delete(path)
    assert (await kept(ann, room_id, after))[0] == []
    (await ann.put(f"{V3}/{paths[0]}", {"a": 2})).ok()
    assert (await kept(ann, room_id, after))[0] == [{"a": 2}]


async def test_what_is_not_to_be_deleted(hearth: Hearth, ann: Client) -> None:
    bob = await hearth.user("bob")
    data = f"{V3}/user/{ann.user_id}/account_data"
    (await ann.put(f"{data}/{KIND}", {"a": 1})).ok()
    for kind in ("m.fully_read", "m.push_rules"):
        assert (await ann.delete(f"{data}/{kind}")).status == 405
        assert (await ann.put(f"{data}/{kind}", {})).status == 405
    assert (await bob.delete(f"{data}/{KIND}")).errcode == "M_FORBIDDEN"
    assert (await ann.get(f"{data}/{KIND}")).ok() == {"a": 1}
