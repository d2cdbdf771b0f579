"""Who may come, go, and send others away.

https://spec.matrix.org/v1.19/client-server-api/#room-membership
"""

from dataclasses import dataclass

import pytest

from tests.servers import Client, Hearth

V3 = "/_matrix/client/v3"


@dataclass
class House:
    """A room and people of every kind."""

    room_id: str
    people: dict[str, Client]

    @property
    def path(self) -> str:
        return f"{V3}/rooms/{self.room_id}"


KINDS = ("owner", "moderator", "member", "target", "invited", "left", "banned", "stranger")


@pytest.fixture
async def house(hearth: Hearth) -> House:
    people = {kind: await hearth.user(kind) for kind in KINDS}
    owner = people["owner"]
    wanted = {
        "preset": "public_chat",
        "power_level_content_override": {
            "users": {people["moderator"].user_id: 50},
            "invite": 50,
        },
    }
    room_id = (await owner.post(f"{V3}/createRoom", wanted)).ok()["room_id"]
    path = f"{V3}/rooms/{room_id}"
    for kind in ("moderator", "member", "target", "left", "banned"):
        (await people[kind].post(f"{path}/join")).ok()
    (await people["left"].post(f"{path}/leave")).ok()
    (await owner.post(f"{path}/ban", {"user_id": people["banned"].user_id})).ok()
    (await owner.post(f"{path}/invite", {"user_id": people["invited"].user_id})).ok()
    return House(room_id, people)


async def test_moderators_stand_between(house: House) -> None:
    """Who else may what is tested with all there are, see `test_who_may`."""
    moderator, path = house.people["moderator"], house.path
    target, owner, stranger = (house.people[k].user_id for k in ("target", "owner", "stranger"))
    for what, whom in (("kick", target), ("ban", target), ("unban", target), ("invite", stranger)):
        (await moderator.post(f"{path}/{what}", {"user_id": whom, "reason": "why"})).ok()
    (await moderator.put(f"{path}/state/m.room.name", {"name": "x"})).ok()
    for what in ("kick", "ban"):
        answer = await moderator.post(f"{path}/{what}", {"user_id": owner})
        assert (answer.status, answer.errcode) == (403, "M_FORBIDDEN")
    # To put out oneself is to leave.
    member = house.people["member"]
    (await member.post(f"{path}/kick", {"user_id": member.user_id})).ok()


async def test_joining_twice_is_joining_once(house: House) -> None:
    member = house.people["member"]
    before = (await member.get(f"{house.path}/messages", dir="b", limit="1")).ok()["chunk"]
    (await member.post(f"{house.path}/join")).ok()
    assert (await member.get(f"{house.path}/messages", dir="b", limit="1")).ok()["chunk"][0][
        "event_id"
    ] == before[0]["event_id"]


async def test_a_join_keeps_what_the_client_says(house: House) -> None:
    stranger = house.people["stranger"]
    (await stranger.post(f"{house.path}/join", {"org.example": 1, "reason": "curious"})).ok()
    path = f"{house.path}/state/m.room.member/{stranger.user_id}"
    content = (await stranger.get(path)).ok()
    assert content == {"membership": "join", "org.example": 1, "reason": "curious"}


async def test_forgetting(house: House) -> None:
    left, member = house.people["left"], house.people["member"]
    assert (await member.post(f"{house.path}/forget")).status == 400
    (await left.post(f"{house.path}/forget")).ok()
    filtered = '{"room":{"include_leave":true}}'
    rooms = (await left.get(f"{V3}/sync", filter=filtered)).ok().get("rooms", {})
    assert house.room_id not in rooms.get("leave", {})


async def test_restricted_rooms(house: House) -> None:
    owner, member, stranger = (house.people[k] for k in ("owner", "member", "stranger"))
    rule = {
        "join_rule": "restricted",
        "allow": [{"type": "m.room_membership", "room_id": house.room_id}],
    }
    initial = [{"type": "m.room.join_rules", "state_key": "", "content": rule}]
    made = await owner.post(f"{V3}/createRoom", {"initial_state": initial})
    path = f"{V3}/rooms/{made.ok()['room_id']}"
    assert (await stranger.post(f"{path}/join")).errcode == "M_FORBIDDEN"
    (await member.post(f"{path}/join")).ok()
    found = (await owner.get(f"{path}/state/m.room.member/{member.user_id}")).ok()
    assert found["join_authorised_via_users_server"] == owner.user_id
    # Nobody says of themselves that somebody vouches for them.
    for method, where in (
        (stranger.put, f"{path}/state/m.room.member/{stranger.user_id}"),
        (stranger.post, f"{path}/join"),
    ):
        assert (await method(where, found)).errcode == "M_FORBIDDEN"
    # Clients that change how somebody is shown send all that there was.
    changed = {**found, "displayname": "Somebody else"}
    (await member.put(f"{path}/state/m.room.member/{member.user_id}", changed)).ok()
    after = (await owner.get(f"{path}/state/m.room.member/{member.user_id}")).ok()
    assert after == {"membership": "join", "displayname": "Somebody else"}


async def test_knocking(house: House) -> None:
    owner, stranger = house.people["owner"], house.people["stranger"]
    initial = [{"type": "m.room.join_rules", "content": {"join_rule": "knock"}}]
    room_id = (await owner.post(f"{V3}/createRoom", {"initial_state": initial})).ok()["room_id"]
    (await stranger.post(f"{V3}/knock/{room_id}", {"reason": "please"})).ok()
    knocked = (await stranger.get(f"{V3}/sync")).ok()["rooms"]["knock"]
    kinds = {event["type"] for event in knocked[room_id]["knock_state"]["events"]}
    assert {"m.room.create", "m.room.join_rules", "m.room.member"} <= kinds
    (await owner.post(f"{V3}/rooms/{room_id}/invite", {"user_id": stranger.user_id})).ok()
    (await stranger.post(f"{V3}/rooms/{room_id}/join")).ok()
