"""Guests: what they may ask for, which rooms they may join, and when they have to go.

https://spec.matrix.org/v1.19/client-server-api/#guest-access
"""

from pathlib import Path
from typing import Any

import asyncpg
import pytest

from homeserver.app.tables import ADMIN, CLIENT
from homeserver.http.routes import Auth
from tests.client_server.test_every_endpoint import filled, label
from tests.database import Server
from tests.server_server.conftest import Scene, federated, scene  # noqa: F401
from tests.server_server.peer import Peer
from tests.servers import Client, Hearth, eventually, own_database, serving, test_settings

V3 = "/_matrix/client/v3"
GUESTS = "m.room.guest_access"

OPERATIONS = {
    "get_room_state",
    "get_event_context",
    "get_one_room_event",
    "get_room_state_with_key",
    "get_room_events",
    "get_members_by_room",
    "room_initial_sync",
    "sync",
    "get_events",
    "get_content_authed",
    "get_content_override_name_authed",
    "get_content_thumbnail_authed",
    "join_room_by_id",
    "leave_room",
    "send_message",
    "set_room_state_with_key",
    "send_to_device",
    "set_profile_field",
    "delete_profile_field",
    "get_devices",
    "get_device",
    "update_device",
    "get_token_owner",
    "upload_keys",
    "query_keys",
    "claim_keys",
    # MSC4140, for calls; what is done to a delayed event needs no account at all.
    "schedule_delayed_event",
    "get_delayed_events",
    "get_delayed_event",
}
"""What the specification lists, and a proposal."""


async def guest_of(hearth: Hearth) -> Client:
    made = (await hearth.anybody.post(f"{V3}/register", {}, kind="guest")).ok()
    return Client(hearth, made["access_token"], made["user_id"], made["device_id"])


async def room_of(owner: Client, access: str | None = "can_join") -> str:
    initial = [] if access is None else [guest_access(access)]
    wanted: dict[str, Any] = {"preset": "public_chat", "initial_state": initial}
    return str((await owner.post(f"{V3}/createRoom", wanted)).ok()["room_id"])


def guest_access(access: str) -> dict[str, Any]:
    return {"type": GUESTS, "state_key": "", "content": {"guest_access": access}}


async def membership(asks: Client, room: str, whose: Client) -> str:
    path = f"{V3}/rooms/{room}/state/m.room.member/{whose.user_id}"
    return str((await asks.get(path)).ok()["membership"])


async def is_out(asks: Client, room: str, whose: Client) -> bool:
    return await membership(asks, room, whose) == "leave"


def test_the_endpoints_are_those_of_the_specification() -> None:
    routes = [route for table in (*CLIENT, *ADMIN) for route in table]
    closed = {r.operation for r in routes if "guest" in r.allows and r.auth is not Auth.OPTIONAL}
    assert closed == OPERATIONS


async def test_guests_are_refused_everything_else(hearth: Hearth) -> None:
    guest = await guest_of(hearth)
    for route in [route for table in (*CLIENT, *ADMIN) for route in table]:
        if "guest" not in route.allows and route.auth in {Auth.ACCESS_TOKEN, Auth.ADMINISTRATOR}:
            answer = await guest.ask(route.method, filled(route.path), {})
            if route.method != "HEAD":
                found = (answer.status, answer.errcode)
                assert found == (403, "M_GUEST_ACCESS_FORBIDDEN"), label(route)


async def test_guests_change_their_name_and_nothing_else_of_their_profile(hearth: Hearth) -> None:
    guest = await guest_of(hearth)
    path = f"{V3}/profile/{guest.user_id}"
    (await guest.put(f"{path}/displayname", {"displayname": "Visitor"})).ok()
    (await guest.delete(f"{path}/displayname")).ok()
    answer = await guest.put(f"{path}/avatar_url", {"avatar_url": "mxc://one.test/x"})
    assert answer.status == 403


async def test_guests_keep_their_account(hearth: Hearth) -> None:
    guest = await guest_of(hearth)
    path = f"{V3}/devices/{guest.device_id}"
    (await guest.put(path, {"display_name": "browser"})).ok()
    assert (await guest.get(path)).ok()["display_name"] == "browser"
    assert len((await guest.get(f"{V3}/devices")).ok()["devices"]) == 1
    (await guest.post(f"{V3}/keys/query", {"device_keys": {guest.user_id: []}})).ok()
    assert (await guest.get(f"{V3}/account/whoami")).ok()["is_guest"] is True


async def test_a_guest_who_stays_becomes_a_user(hearth: Hearth) -> None:
    """With all they have, and nobody else becomes it."""
    guest, other, owner = await guest_of(hearth), await guest_of(hearth), await hearth.user("owner")
    room, name = await room_of(owner), guest.user_id[1:].partition(":")[0]
    (await guest.post(f"{V3}/rooms/{room}/join")).ok()
    body = {"username": name, "password": "long enough it is", "guest_access_token": guest.token}

    async def asks(**change: Any) -> tuple[int, str | None]:
        answer = await hearth.anybody.post(f"{V3}/register", {**body, **change})
        return answer.status, answer.errcode

    assert await asks(guest_access_token="hth_none") == (403, "M_FORBIDDEN")
    assert await asks(guest_access_token=owner.token) == (403, "M_FORBIDDEN")
    assert await asks(guest_access_token=other.token) == (400, "M_INVALID_PARAM")
    assert await asks(guest_access_token=None) == (400, "M_USER_IN_USE")
    for username in ("owner", None):
        assert await asks(username=username) == (400, "M_INVALID_PARAM")
    asked = await hearth.anybody.post(f"{V3}/register", body)
    assert asked.status == 401
    auth = {"type": "m.login.dummy", "session": asked.json["session"]}
    made = (await hearth.anybody.post(f"{V3}/register", {**body, "auth": auth})).ok()
    again = (await hearth.anybody.post(f"{V3}/register", {**body, "auth": auth})).ok()
    assert made["user_id"] == again["user_id"] == guest.user_id
    for token in (guest.token, again["access_token"]):
        who = Client(hearth, token, guest.user_id)
        assert (await who.get(f"{V3}/account/whoami")).ok()["is_guest"] is False
        assert (await who.get(f"{V3}/joined_rooms")).ok() == {"joined_rooms": [room]}
    login = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": name},
        "password": "long enough it is",
    }
    (await hearth.anybody.post(f"{V3}/login", login)).ok()
    (await owner.put(f"{V3}/rooms/{room}/state/{GUESTS}", {"guest_access": "forbidden"})).ok()
    (await other.get(f"{V3}/sync", timeout=0)).ok()
    assert await membership(owner, room, guest) == "join"
    assert await asks() == (403, "M_FORBIDDEN")


@pytest.mark.parametrize("access", [None, "forbidden", "whatever"])
async def test_guests_join_no_room_that_does_not_say_so(hearth: Hearth, access: str | None) -> None:
    guest, owner = await guest_of(hearth), await hearth.user("owner")
    room = await room_of(owner, access)
    join = await guest.post(f"{V3}/rooms/{room}/join")
    assert (join.status, join.errcode) == (403, "M_GUEST_ACCESS_FORBIDDEN")
    # Nor through the state, nor because they are invited.
    (await owner.post(f"{V3}/rooms/{room}/invite", {"user_id": guest.user_id})).ok()
    path = f"{V3}/rooms/{room}/state/m.room.member/{guest.user_id}"
    for answer in (
        await guest.put(path, {"membership": "join"}),
        await guest.post(f"{V3}/rooms/{room}/join"),
        await guest.post(f"{V3}/rooms/!nowhere:one.test/join"),
    ):
        assert (answer.status, answer.errcode) == (403, "M_GUEST_ACCESS_FORBIDDEN")


async def test_guests_take_part_where_they_may(hearth: Hearth) -> None:
    guest, owner = await guest_of(hearth), await hearth.user("owner")
    room = await room_of(owner)
    (await guest.post(f"{V3}/rooms/{room}/join")).ok()
    (
        await guest.put(
            f"{V3}/rooms/{room}/send/m.room.message/1", {"msgtype": "m.text", "body": "hi"}
        )
    ).ok()
    (await guest.get(f"{V3}/rooms/{room}/messages", dir="b")).ok()
    msc = "/_matrix/client/unstable/org.matrix.msc4140"
    later = {"delay_ms": 600_000, "content": {"msgtype": "m.text", "body": "bye"}}
    path = f"{msc}/rooms/{room}/delayed_event/m.room.message/2"
    scheduled = (await guest.put(path, later)).ok()["delay_id"]
    (await guest.post(f"{msc}/delayed_events/{scheduled}/send")).ok()
    assert (await guest.get(f"{msc}/delayed_events/{scheduled}")).ok()["event_id"]
    assert (await guest.get(f"{msc}/delayed_events")).ok() == {"delayed_events": []}
    (await guest.post(f"{V3}/rooms/{room}/leave")).ok()
    assert await membership(owner, room, guest) == "leave"


async def test_guests_are_put_out_and_nobody_else(hearth: Hearth) -> None:
    owner, member = await hearth.user("owner"), await hearth.user("member")
    guests = [await guest_of(hearth) for _ in range(3)]
    room, other = await room_of(owner), await room_of(owner)
    for person in (*guests, member):
        (await person.post(f"{V3}/rooms/{room}/join")).ok()
    (await guests[0].post(f"{V3}/rooms/{other}/join")).ok()
    path = f"{V3}/rooms/{room}/state/{GUESTS}"
    (await owner.put(path, {"guest_access": "forbidden"})).ok()
    for guest in guests:
        await eventually(lambda guest=guest: is_out(owner, room, guest))
    assert await membership(owner, room, member) == "join"
    assert await membership(owner, other, guests[0]) == "join"


async def test_another_server_puts_our_guests_out(scene: Scene) -> None:  # noqa: F811
    guest, peer, eve = await guest_of(scene.hearth), scene.peer, scene.peer.user("eve")
    path = f"{scene.path}/state"
    (await scene.ann.put(f"{path}/{GUESTS}", {"guest_access": "can_join"})).ok()
    levels = (await scene.ann.get(f"{path}/m.room.power_levels")).ok()
    levels["users"][eve] = 100
    (await scene.ann.put(f"{path}/m.room.power_levels", levels)).ok()
    (await guest.post(f"{scene.path}/join")).ok()
    room = await peer.join(scene.room.room_id, eve)
    event = peer.make(room, GUESTS, {"guest_access": "forbidden"}, eve, "")
    assert await peer.send([event]) == {event.event_id: {}}
    await eventually(lambda: is_out(scene.ann, scene.room.room_id, guest))


async def test_rooms_of_other_servers(federated: tuple[Hearth, Peer]) -> None:  # noqa: F811
    """They are asked first whether they let guests in, and not believed if they do not."""
    hearth, peer = federated
    guest, olga = await guest_of(hearth), peer.user("olga")
    open_room, closed = peer.found(olga), peer.found(olga)
    peer.say_state(open_room, GUESTS, {"guest_access": "can_join"}, olga)

    def told(room: str, *, lets_in: bool) -> dict[str, Any]:
        summary = {"room_id": room, "num_joined_members": 1, "guest_can_join": lets_in}
        return {"room": {**summary, "children_state": []}, "children": []}

    async def joins(room: str) -> tuple[int, str | None]:
        answer = await guest.post(f"{V3}/rooms/{room}/join")
        return answer.status, answer.errcode

    refused = (403, "M_GUEST_ACCESS_FORBIDDEN")
    assert await joins(open_room.room_id) == refused
    peer.lies["hierarchy"] = lambda _: told(open_room.room_id, lets_in=True)
    assert await joins(open_room.room_id) == (200, None)
    peer.lies["hierarchy"] = lambda _: told(closed.room_id, lets_in=False)
    assert await joins(closed.room_id) == refused
    assert not any("make_join" in path and closed.room_id in path for path in peer.asked)
    peer.lies["hierarchy"] = lambda _: told(closed.room_id, lets_in=True)
    assert await joins(closed.room_id) == refused
    rooms = (await guest.get(f"{V3}/sync")).ok()["rooms"]
    assert list(rooms["join"]) == [open_room.room_id]


async def test_a_restart_forgets_no_guest(postgres: Server, tmp_path: Path) -> None:
    """Who was to be put out when the server stopped is put out when it is there again."""
    settings = test_settings("one.test", tmp_path)
    async with own_database(postgres, "guests_restart") as where:
        async with serving(settings, where) as hearth:
            owner, guest = await hearth.user("owner"), await guest_of(hearth)
            room = await room_of(owner)
            (await guest.post(f"{V3}/rooms/{room}/join")).ok()
            async with hearth.parts.base.process.database.reader() as conn:
                # Another process has the duty, and does nothing.
                steal = "UPDATE duties SET holder = 'x', until_ts = $1 WHERE name = $2 RETURNING 1"
                assert await conn.fetchval(steal, 2**53, "put out guests")
            path = f"{V3}/rooms/{room}/state/{GUESTS}"
            (await owner.put(path, {"guest_access": "forbidden"})).ok()
            assert await membership(owner, room, guest) == "join"
        conn = await asyncpg.connect(**where)
        await conn.execute("UPDATE duties SET until_ts = 0 WHERE name = 'put out guests'")
        await conn.close()
        async with serving(settings, where) as hearth:
            owner = await hearth.log_in("@owner:one.test")
            await eventually(lambda: is_out(owner, room, guest))
