"""Rooms that are replaced.

https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
"""

from typing import Any

import pytest

from tests.servers import Client, Hearth, eventually

V3 = "/_matrix/client/v3"


async def make(owner: Client, **wanted: Any) -> str:
    return str((await owner.post(f"{V3}/createRoom", wanted)).ok()["room_id"])


async def state_of(reader: Client, room: str) -> dict[tuple[str, str], Any]:
    state = (await reader.get(f"{V3}/rooms/{room}/state")).ok()
    return {(event["type"], event["state_key"]): event["content"] for event in state}


@pytest.mark.parametrize(
    ("before", "after"), [("1", "6"), ("9", "11"), ("11", "12"), ("12", "12"), ("12", "10")]
)
async def test_what_goes_along(hearth: Hearth, before: str, after: str) -> None:
    ann, ben, eve = [await hearth.user(name) for name in ("ann", "ben", "eve")]
    room = await make(
        ann,
        room_version=before,
        preset="public_chat",
        name="Hall",
        topic="Talk",
        room_alias_name="hall",
        visibility="public",
        power_level_content_override={"users_default": 3, "ban": 40},
        creation_content={"type": "m.space", "other": "stays"},
        initial_state=[
            {"type": "m.room.server_acl", "content": {"allow": ["*"]}},
            {"type": "m.space.child", "state_key": "!child:x", "content": {"via": ["x"]}},
            {"type": "org.custom", "content": {"a": 1}},
        ],
    )
    (await ben.post(f"{V3}/join/{room}")).ok()
    (await ann.post(f"{V3}/rooms/{room}/ban", {"user_id": eve.user_id, "reason": "noise"})).ok()
    answer = (await ann.post(f"{V3}/rooms/{room}/upgrade", {"new_version": after})).ok()
    new = answer["replacement_room"]
    state = await state_of(ann, new)
    create = state["m.room.create", ""]
    assert create["room_version"] == after
    assert create["type"] == "m.space"
    assert "other" not in create
    assert create["predecessor"]["room_id"] == room
    assert state["m.room.name", ""]["name"] == "Hall"
    assert state["m.room.topic", ""]["topic"] == "Talk"
    assert state["m.room.server_acl", ""] == {"allow": ["*"]}
    assert state["m.room.member", eve.user_id]["membership"] == "ban"
    assert state["m.space.child", "!child:x"] == {"via": ["x"]}
    assert ("org.custom", "") not in state
    assert ("m.room.member", ben.user_id) not in state
    levels = state["m.room.power_levels", ""]
    assert (levels["users_default"], levels["ban"]) == (3, 40)
    highest = 150 if before == "12" else 100
    assert levels["users"] == ({} if after == "12" else {ann.user_id: highest})
    old = await state_of(ann, room)
    assert old["m.room.tombstone", ""]["replacement_room"] == new
    assert old["m.room.power_levels", ""]["events_default"] == 50
    assert old["m.room.power_levels", ""]["invite"] == 50
    found = (await ben.get(f"{V3}/directory/room/%23hall:one.test")).ok()
    assert found["room_id"] == new
    assert state["m.room.canonical_alias", ""]["alias"] == "#hall:one.test"
    for one, listed in ((room, "private"), (new, "public")):
        shown = (await ann.get(f"{V3}/directory/list/room/{one}")).ok()
        assert shown["visibility"] == listed


async def test_creators_are_as_the_request_says(hearth: Hearth) -> None:
    ann, ben = await hearth.user("ann"), await hearth.user("ben")
    room = await make(ann, creation_content={"additional_creators": ["@eve:one.test"]})
    wanted = {"new_version": "12", "additional_creators": [ben.user_id]}
    new = (await ann.post(f"{V3}/rooms/{room}/upgrade", wanted)).ok()["replacement_room"]
    create = (await state_of(ann, new))["m.room.create", ""]
    assert create["additional_creators"] == [ben.user_id]


async def test_who_may(hearth: Hearth) -> None:
    ann, ben, eve = [await hearth.user(name) for name in ("ann", "ben", "eve")]
    room = await make(ann, preset="public_chat")
    (await ben.post(f"{V3}/join/{room}")).ok()
    for who in (ben, eve):
        answer = await who.post(f"{V3}/rooms/{room}/upgrade", {"new_version": "12"})
        assert (answer.status, answer.errcode) == (403, "M_FORBIDDEN")
        assert (await who.get(f"{V3}/joined_rooms")).ok()["joined_rooms"] == (
            [room] if who is ben else []
        )
    answer = await ann.post(f"{V3}/rooms/{room}/upgrade", {"new_version": "99"})
    assert (answer.status, answer.errcode) == (400, "M_UNSUPPORTED_ROOM_VERSION")
    answer = await ann.post(f"{V3}/rooms/!no:where/upgrade", {"new_version": "12"})
    assert answer.status == 404


async def test_what_people_set_goes_with_them(hearth: Hearth) -> None:
    ann, ben = await hearth.user("ann"), await hearth.user("ben")
    room = await make(ann, preset="public_chat")
    (await ben.post(f"{V3}/join/{room}")).ok()
    for who, order in ((ann, 0.1), (ben, 0.2)):
        tag = f"{V3}/user/{who.user_id}/rooms/{room}/tags/m.favourite"
        (await who.put(tag, {"order": order})).ok()
    direct = f"{V3}/user/{ben.user_id}/account_data/m.direct"
    (await ben.put(direct, {ann.user_id: [room], "@x:y": ["!other:z"]})).ok()
    rules = f"{V3}/pushrules/global"
    here = {"kind": "event_match", "key": "room_id", "pattern": room}
    word = {"kind": "event_match", "key": "content.body", "pattern": "x"}
    for who in (ann, ben):
        (await who.put(f"{rules}/room/{room}", {"actions": []})).ok()
        muted = {"actions": [], "conditions": [here, word]}
        (await who.put(f"{rules}/override/{room}", muted)).ok()
    upgraded = await ann.post(f"{V3}/rooms/{room}/upgrade", {"new_version": "12"})
    new = upgraded.ok()["replacement_room"]
    (await ben.post(f"{V3}/join/{new}")).ok()
    for who in (ann, ben):
        assert (await who.get(f"{rules}/room/{new}")).ok()["actions"] == []
        override = (await who.get(f"{rules}/override/{new}")).ok()
        assert override["conditions"] == [{**here, "pattern": new}, word]
    for who, order in ((ann, 0.1), (ben, 0.2)):
        tags = (await who.get(f"{V3}/user/{who.user_id}/rooms/{new}/tags")).ok()["tags"]
        assert tags == {"m.favourite": {"order": order}}
    assert (await ben.get(direct)).ok() == {ann.user_id: [room, new], "@x:y": ["!other:z"]}
    # A room that only claims to be the next one gets nothing.
    before = {"creation_content": {"predecessor": {"room_id": room, "event_id": "$x"}}}
    claim = await make(ann, preset="public_chat", **before)
    (await ben.post(f"{V3}/join/{claim}")).ok()
    assert (await ben.get(f"{V3}/user/{ben.user_id}/rooms/{claim}/tags")).ok()["tags"] == {}


async def test_a_room_is_replaced_by_hand(hearth: Hearth) -> None:
    ann, ben = await hearth.user("ann"), await hearth.user("ben")
    room = await make(ann, preset="public_chat", room_alias_name="hall")
    (await ben.post(f"{V3}/join/{room}")).ok()
    for who in (ann, ben):
        (await who.put(f"{V3}/user/{who.user_id}/rooms/{room}/tags/m.favourite", {})).ok()
    before = {"creation_content": {"predecessor": {"room_id": room, "event_id": "$x"}}}
    new = await make(ann, preset="public_chat", **before)
    (await ben.post(f"{V3}/join/{new}")).ok()
    path = f"{V3}/rooms/{room}/state/m.room.tombstone"
    for wrong in (5, "nonsense", "!nothing:one.test", "\0"):
        (await ann.put(path, {"body": "", "replacement_room": wrong})).ok()
    (await ann.put(path, {"body": "", "replacement_room": new})).ok()
    for who in (ann, ben):
        tags = (await who.get(f"{V3}/user/{who.user_id}/rooms/{new}/tags")).ok()["tags"]
        assert tags == {"m.favourite": {}}
    assert (await ann.get(f"{V3}/directory/room/%23hall:one.test")).ok()["room_id"] == new


@pytest.mark.parametrize("before", [{"room_id": "\0"}, {"room_id": 5}, {"room_id": "x"}, {}, 5])
async def test_a_room_that_replaces_nothing_is_joined_like_others(
    hearth: Hearth, before: Any
) -> None:
    ann, ben = await hearth.user("ann"), await hearth.user("ben")
    room = await make(ann, preset="public_chat", creation_content={"predecessor": before})
    (await ben.post(f"{V3}/join/{room}")).ok()
    found = {
        "search_categories": {"room_events": {"search_term": "x", "filter": {"rooms": [room]}}}
    }
    (await ben.post(f"{V3}/search", found)).ok()


async def test_who_upgrades_a_room_may_do_so_again(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    room = await make(ann, room_version="12")
    for version in ("11", "10", "12", "12"):
        upgraded = await ann.post(f"{V3}/rooms/{room}/upgrade", {"new_version": version})
        room = upgraded.ok()["replacement_room"]


@pytest.mark.parametrize("version", ["11", "12"])
async def test_levels_above_all_that_is_usual(hearth: Hearth, version: str) -> None:
    """Who may end the room may do all that its successor begins with, and has their level then."""
    ann, ben, eve = [await hearth.user(name) for name in ("ann", "ben", "eve")]
    users = {ann.user_id: 150, ben.user_id: 60, eve.user_id: 50}
    levels: dict[str, Any] = {"users": users, "state_default": 140, "ban": 130}
    room = await make(
        ann, room_version="11", preset="public_chat", power_level_content_override=levels
    )
    (await ben.post(f"{V3}/join/{room}")).ok()
    (await ann.post(f"{V3}/rooms/{room}/ban", {"user_id": eve.user_id})).ok()
    path = f"{V3}/rooms/{room}/state/m.room.power_levels"
    ends = {"m.room.tombstone": 60, "m.room.power_levels": 140}
    users = {**users, ann.user_id: 100, eve.user_id: 149}
    levels |= {"users": users, "events": ends, "state_default": 150}
    (await ann.put(path, levels)).ok()
    upgraded = await ben.post(f"{V3}/rooms/{room}/upgrade", {"new_version": version})
    state = await state_of(ben, upgraded.ok()["replacement_room"])
    assert state["m.room.member", eve.user_id]["membership"] == "ban"
    if version == "12":
        del users[ben.user_id]
    assert state["m.room.power_levels", ""]["users"] == users


async def test_a_room_is_not_replaced_by_itself(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    room = await make(ann)
    tombstone = {"body": "", "replacement_room": room}
    answer = await ann.put(f"{V3}/rooms/{room}/state/m.room.tombstone", tombstone)
    assert (answer.status, answer.errcode) == (400, "M_INVALID_PARAM")


async def test_what_is_ours_of_a_room_that_another_server_replaces(
    pair: tuple[Hearth, Hearth],
) -> None:
    here, there = pair
    ann, ben = await here.user("ann"), await there.user("ben")
    room = await make(ann, preset="public_chat")
    (await ben.post(f"{V3}/join/{room}", server_name=here.name)).ok()
    alias = f"{V3}/directory/room/%23ours:{there.name}"
    (await ben.put(alias, {"room_id": room})).ok()
    (await ben.put(f"{V3}/user/{ben.user_id}/rooms/{room}/tags/m.favourite", {})).ok()
    upgraded = await ann.post(f"{V3}/rooms/{room}/upgrade", {"new_version": "11"})
    new = upgraded.ok()["replacement_room"]

    async def replaced() -> bool:
        state = f"{V3}/rooms/{room}/state/m.room.tombstone"
        return (await ben.get(state)).status == 200

    await eventually(replaced)
    (await ben.post(f"{V3}/join/{new}", server_name=here.name)).ok()
    assert (await ben.get(alias)).ok()["room_id"] == new
    tags = (await ben.get(f"{V3}/user/{ben.user_id}/rooms/{new}/tags")).ok()["tags"]
    assert tags == {"m.favourite": {}}
