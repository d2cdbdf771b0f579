"""Administrators and accounts: locking, suspending, looking."""

import pytest

from tests.client_server.stage import staged
from tests.servers import Client, Hearth

V1 = "/_matrix/client/v1/admin"


@pytest.fixture
async def root(hearth: Hearth) -> Client:
    return await hearth.user("root", is_admin=True)


@pytest.fixture
async def ann(hearth: Hearth) -> Client:
    return await hearth.user("ann")


async def test_locked_and_let_in_again(root: Client, ann: Client) -> None:
    path = f"{V1}/lock/{ann.user_id}"
    assert (await root.get(path)).ok() == {"locked": False}
    assert (await root.put(path, {"locked": True})).ok() == {"locked": True}
    assert (await root.get(path)).ok() == {"locked": True}
    unstable = path.replace("v1", "unstable/uk.timedout.msc4323")
    assert (await root.get(unstable)).ok() == {"locked": True}
    refused = await ann.get("/_matrix/client/v3/sync")
    assert (refused.status, refused.errcode) == (401, "M_USER_LOCKED")
    assert refused.json["soft_logout"] is True
    (await root.put(path, {"locked": False})).ok()
    (await ann.get("/_matrix/client/v3/sync")).ok()


async def test_suspended(root: Client, ann: Client) -> None:
    room = await staged(ann)
    path = f"{V1}/suspend/{ann.user_id}"
    assert (await root.put(path, {"suspended": True})).ok() == {"suspended": True}
    assert (await root.get(path)).ok() == {"suspended": True}
    said = await ann.put(f"{room.path}/send/m.room.message/1", {"msgtype": "m.text", "body": "x"})
    assert (said.status, said.errcode) == (403, "M_USER_SUSPENDED")
    (await ann.get("/_matrix/client/v3/sync")).ok()
    (await ann.post(f"{room.path}/leave")).ok()


@pytest.mark.parametrize("what", ["lock", "suspend"])
async def test_who_may_do_it_to_whom(hearth: Hearth, root: Client, ann: Client, what: str) -> None:
    body = {"locked": True, "suspended": True}
    other = await hearth.user("other", is_admin=True)
    for who, whom, status, errcode in (
        (ann, root.user_id, 403, "M_FORBIDDEN"),
        (ann, "@nobody:elsewhere", 403, "M_FORBIDDEN"),
        (ann, ann.user_id, 403, "M_FORBIDDEN"),
        (root, root.user_id, 403, "M_FORBIDDEN"),
        (root, other.user_id, 403, "M_FORBIDDEN"),
        (root, "@nobody:elsewhere", 400, "M_INVALID_PARAM"),
        (root, "nobody", 400, "M_INVALID_PARAM"),
        (root, f"@nobody:{hearth.name}", 404, "M_NOT_FOUND"),
        (Client(hearth), ann.user_id, 401, "M_MISSING_TOKEN"),
    ):
        for answer in (
            await who.put(f"{V1}/{what}/{whom}", body),
            await who.get(f"{V1}/{what}/{whom}"),
        ):
            assert (answer.status, answer.errcode) == (status, errcode), (whom, answer)
    wrong = await root.put(f"{V1}/{what}/{ann.user_id}", {"locked": "yes", "suspended": 1})
    assert wrong.status == 400


async def test_capabilities_say_so(root: Client, ann: Client) -> None:
    for who, may in ((root, True), (ann, False)):
        found = (await who.get("/_matrix/client/v3/capabilities")).ok()["capabilities"]
        for name in ("m.account_moderation", "uk.timedout.msc4323"):
            assert found[name] == {"lock": may, "suspend": may}


async def test_whois(hearth: Hearth, root: Client, ann: Client) -> None:
    path = f"/_matrix/client/v3/admin/whois/{ann.user_id}"
    ben = await hearth.user("ben")
    for who in (root, ann):
        found = (await who.get(path)).ok()
        assert found["user_id"] == ann.user_id
        assert list(found["devices"]) == [ann.device_id]
    assert (await ben.get(path)).errcode == "M_FORBIDDEN"
