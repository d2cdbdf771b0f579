"""Administrators and accounts: locking, suspending, looking."""

import pytest

from homeserver.app.tables import ADMIN, CLIENT
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


SUSPENDED_MAY = {
    # Log in elsewhere, and out; end the account; say where it can be reached.
    *("generate_login_token", "logout", "logout_all", "deactivate_account", "add_3pid"),
    *("update_device", "delete_device", "delete_devices"),
    # See and receive what there is, and say where they are.
    *("define_filter", "sliding_sync", "search", "query_public_rooms", "search_user_directory"),
    *("set_presence", "post_receipt", "set_read_marker", "set_typing"),
    *("post_pusher", "set_push_rule", "delete_push_rule"),
    *("put_subscription", "delete_subscription"),
    *("set_account_data", "delete_account_data", "set_room_tag", "delete_room_tag"),
    *("set_account_data_per_room", "delete_account_data_per_room"),
    # Verify other devices, and keep their keys.
    *("send_to_device", "upload_keys", "query_keys", "claim_keys"),
    *("upload_cross_signing_keys", "upload_cross_signing_signatures"),
    *("post_room_keys_version", "put_room_keys_version", "delete_room_keys_version"),
    *("put_room_keys", "put_room_keys_by_room_id", "put_room_keys_by_session_id"),
    *("delete_room_keys", "delete_room_keys_by_room_id", "delete_room_keys_by_session_id"),
    *("put_dehydrated_device", "delete_dehydrated_device", "post_dehydrated_device_events"),
    # Leave, and take back their own words.
    *("leave_room", "forget_room", "redact_event", "send_message"),
}
"""Beside what only reads."""


def test_what_suspended_people_may() -> None:
    """https://spec.matrix.org/v1.19/client-server-api/#account-suspension"""
    rows = [route for table in (*CLIENT, *ADMIN) for route in table if route.method != "GET"]
    assert {row.operation for row in rows if "suspended" in row.allows} == SUSPENDED_MAY


async def test_suspended(hearth: Hearth, root: Client, ann: Client) -> None:
    room, ben = await staged(ann), await hearth.user("ben")
    await room.member(ben, "join")
    own, other = await room.say(ann, "mine"), await room.say(ben, "not mine")
    path = f"{V1}/suspend/{ann.user_id}"
    assert (await root.put(path, {"suspended": True})).ok() == {"suspended": True}
    assert (await root.get(path)).ok() == {"suspended": True}
    send = f"{room.path}/send/m.room"
    text = {"msgtype": "m.text", "body": "x"}
    for answer in (
        await ann.put(f"{send}.message/1", text),
        await ann.put(f"{send}.message/2", text, **{"org.matrix.msc4140.delay": 1}),
        await ann.put(f"{send}.redaction/3", {"redacts": other}),
        await ann.put(f"{send}.redaction/4", {}),
        await ann.put(f"{room.path}/redact/{other}/5"),
        await ann.put(f"{room.path}/redact/$nothing/6"),
        await ann.put(f"{room.path}/state/m.room.name/", {"name": "x"}),
        await ann.post(f"{room.path}/invite", {"user_id": root.user_id}),
        await ann.post("/_matrix/client/v3/createRoom"),
    ):
        assert (answer.status, answer.errcode) == (403, "M_USER_SUSPENDED")
    (await ann.put(f"{room.path}/redact/{own}/7")).ok()
    (await ann.put(f"{send}.redaction/8", {"redacts": own})).ok()
    assert (await ben.get(f"{room.path}/event/{own}")).ok()["content"] == {}
    chosen = (await ann.post(f"/_matrix/client/v3/user/{ann.user_id}/filter", {})).ok()
    (await ann.get("/_matrix/client/v3/sync", filter=chosen["filter_id"])).ok()
    (await ann.post("/_matrix/client/v3/keys/query", {"device_keys": {ann.user_id: []}})).ok()
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
