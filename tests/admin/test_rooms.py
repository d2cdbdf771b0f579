"""Rooms, as administrators look at them, block them and take charge of them."""

import pytest

from tests.client_server.stage import staged
from tests.servers import Client, Hearth

V1 = "/_synapse/admin/v1"


@pytest.fixture
async def root(hearth: Hearth) -> Client:
    return await hearth.user("root", is_admin=True)


@pytest.fixture
async def ann(hearth: Hearth) -> Client:
    return await hearth.user("ann")


async def create(who: Client, **wish: object) -> str:
    made = (await who.post("/_matrix/client/v3/createRoom", wish)).ok()
    room_id: str = made["room_id"]
    return room_id


async def join(who: Client, room: str) -> None:
    (await who.post(f"/_matrix/client/v3/join/{room}")).ok()


async def test_looked_through(hearth: Hearth, root: Client, ann: Client) -> None:
    tea = await create(ann, name="Tea", visibility="public", room_alias_name="leaves")
    await create(ann, name="coffee")
    nameless = await create(ann)
    await join(root, tea)

    async def names(**query: str) -> list[str | None]:
        found = (await root.get(f"{V1}/rooms", **query)).ok()
        return [room["name"] for room in found["rooms"]]

    assert await names() == ["coffee", "Tea", None]
    assert await names(dir="b") == [None, "Tea", "coffee"]
    assert (await names(order_by="joined_members"))[0] == "Tea"
    assert await names(search_term="TEA") == ["Tea"]
    assert await names(search_term="leaves") == ["Tea"]
    assert await names(search_term=nameless) == [None]
    assert await names(search_term="nothing") == []
    assert await names(public_rooms="true") == ["Tea"]
    assert await names(empty_rooms="true") == []
    first = (await root.get(f"{V1}/rooms", limit="2")).ok()
    assert (first["offset"], first["total_rooms"], first["next_batch"]) == (0, 3, 2)
    last = (await root.get(f"{V1}/rooms", limit="2", **{"from": "2"})).ok()
    assert (len(last["rooms"]), last["prev_batch"], "next_batch" in last) == (1, 0, False)
    assert (await root.get(f"{V1}/rooms", search_term="")).status == 400
    assert (await ann.get(f"{V1}/rooms")).errcode == "M_FORBIDDEN"


async def test_one_room(hearth: Hearth, root: Client, ann: Client) -> None:
    room = await create(ann, name="Tea", topic="Green", preset="private_chat")
    found = (await root.get(f"{V1}/rooms/{room}")).ok()
    assert (found["name"], found["topic"], found["creator"]) == ("Tea", "Green", ann.user_id)
    assert (found["joined_members"], found["joined_local_members"]) == (1, 1)
    assert (found["joined_local_devices"], found["forgotten"]) == (1, False)
    assert (found["join_rules"], found["public"], found["federatable"]) == ("invite", False, True)
    members = (await root.get(f"{V1}/rooms/{room}/members")).ok()
    assert members == {"members": [ann.user_id], "total": 1}
    state = (await root.get(f"{V1}/rooms/{room}/state")).ok()["state"]
    assert len(state) == found["state_events"]
    assert {"m.room.create", "m.room.name"} <= {event["type"] for event in state}
    for path in ("", "/members", "/state"):
        assert (await root.get(f"{V1}/rooms/!nothing:{hearth.name}{path}")).status == 404
    (await ann.post(f"/_matrix/client/v3/rooms/{room}/leave")).ok()
    (await ann.post(f"/_matrix/client/v3/rooms/{room}/forget")).ok()
    assert (await root.get(f"{V1}/rooms/{room}")).ok()["forgotten"]


async def test_a_blocked_room(hearth: Hearth, root: Client, ann: Client) -> None:
    ben = await hearth.user("ben")
    room = await create(ann, preset="public_chat")
    path = f"{V1}/rooms/{room}/block"
    assert (await root.get(path)).ok() == {"block": False}
    assert (await root.put(path, {"block": True})).ok() == {"block": True}
    assert (await root.get(path)).ok() == {"block": True, "user_id": root.user_id}
    for verb in ("join", "knock"):
        assert (await ben.post(f"/_matrix/client/v3/{verb}/{room}")).errcode == "M_FORBIDDEN"
    invite = {"user_id": ben.user_id}
    refused = await ann.post(f"/_matrix/client/v3/rooms/{room}/invite", invite)
    assert refused.errcode == "M_FORBIDDEN"
    members = f"/_matrix/client/v3/rooms/{room}/state/m.room.member"
    for who, whom, membership in ((ben, ben, "join"), (ben, ben, "knock"), (ann, ben, "invite")):
        answer = await who.put(f"{members}/{whom.user_id}", {"membership": membership})
        assert answer.errcode == "M_FORBIDDEN"
    shown = {"membership": "join", "displayname": "Ann"}
    (await ann.put(f"{members}/{ann.user_id}", shown)).ok()
    said = {"msgtype": "m.text", "body": "still here"}
    (await ann.put(f"/_matrix/client/v3/rooms/{room}/send/m.room.message/1", said)).ok()
    assert (await root.put(path, {"block": False})).ok() == {"block": False}
    await join(ben, room)
    unknown = f"{V1}/rooms/!elsewhere:other.test/block"
    (await root.put(unknown, {"block": True})).ok()
    assert (await root.get(unknown)).ok()["block"]


async def test_no_invitation_from_elsewhere_into_a_blocked_room(
    pair: tuple[Hearth, Hearth],
) -> None:
    one, other = pair
    root = await one.user("root", is_admin=True)
    zoe = await other.user("zoe")
    room = await create(zoe)
    (await root.put(f"{V1}/rooms/{room}/block", {"block": True})).ok()
    invite = {"user_id": root.user_id}
    refused = await zoe.post(f"/_matrix/client/v3/rooms/{room}/invite", invite)
    assert refused.status >= 400
    assert "invite" not in (await root.get("/_matrix/client/v3/sync")).ok().get("rooms", {})


@pytest.mark.parametrize("version", ["10", "12"])
async def test_in_charge_of_a_room(hearth: Hearth, root: Client, ann: Client, version: str) -> None:
    room = await create(ann, room_version=version)
    (await root.post(f"{V1}/rooms/{room}/make_room_admin")).ok()
    levels = f"/_matrix/client/v3/rooms/{room}/state/m.room.power_levels"
    assert (await ann.get(levels)).ok()["users"][root.user_id] >= 100
    await join(root, room)
    ben = await hearth.user("ben")
    (await root.post(f"{V1}/rooms/{room}/make_room_admin", {"user_id": ben.user_id})).ok()
    await join(ben, room)
    assert (await ben.get(levels)).ok()["users"][ben.user_id] >= 100
    (await root.post(f"{V1}/rooms/{room}/make_room_admin", {"user_id": ben.user_id})).ok()
    assert (await root.post(f"{V1}/rooms/!no:one.test/make_room_admin")).status == 404


async def test_nobody_left_to_give_power(hearth: Hearth, root: Client, ann: Client) -> None:
    room = await create(ann)
    (await ann.post(f"/_matrix/client/v3/rooms/{room}/leave")).ok()
    refused = await root.post(f"{V1}/rooms/{room}/make_room_admin")
    assert (refused.status, refused.errcode) == (400, "M_INVALID_PARAM")


async def test_somebody_is_let_into_a_room(hearth: Hearth, root: Client, ann: Client) -> None:
    ben = await hearth.user("ben")
    stage = await staged(ann)
    public = await create(ann, preset="public_chat", room_alias_name="open")
    private = await create(root, preset="private_chat")
    body = {"user_id": ben.user_id}
    assert (await root.post(f"{V1}/join/%23open:{hearth.name}", body)).ok() == {"room_id": public}
    assert (await root.post(f"{V1}/join/{private}", body)).ok() == {"room_id": private}
    joined = (await ben.get("/_matrix/client/v3/joined_rooms")).ok()["joined_rooms"]
    assert set(joined) == {public, private}
    # The administrator is not in that one, and so can invite nobody.
    (await stage.state("m.room.join_rules", {"join_rule": "invite"}))
    assert (await root.post(f"{V1}/join/{stage.room_id}", body)).errcode == "M_FORBIDDEN"
    for user, status in (("@nobody:one.test", 404), ("@ann:elsewhere", 400), ("x", 400)):
        assert (await root.post(f"{V1}/join/{public}", {"user_id": user})).status == status
