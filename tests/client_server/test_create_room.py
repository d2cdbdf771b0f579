"""What a new room is made of.

https://spec.matrix.org/v1.19/client-server-api/#creation
"""

import asyncio
from typing import Any

import pytest

from tests.client_server.keyring import Device
from tests.servers import Client, Hearth

V3 = "/_matrix/client/v3"
OWN = {"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": 5}


async def made(owner: Client, **wanted: Any) -> dict[tuple[str, str], Any]:
    """The state of a new room, by type and state key."""
    room = (await owner.post(f"{V3}/createRoom", wanted)).ok()["room_id"]
    state = (await owner.get(f"{V3}/rooms/{room}/state")).ok()
    return {(event["type"], event["state_key"]): event for event in state}


@pytest.mark.parametrize(
    ("wanted", "errcode"),
    [
        ({"room_version": 11}, "M_BAD_JSON"),
        ({"room_version": "unheard of"}, "M_UNSUPPORTED_ROOM_VERSION"),
        ({"preset": "unheard_of"}, "M_INVALID_PARAM"),
        ({"visibility": "unheard_of"}, "M_INVALID_PARAM"),
        ({"name": 5}, "M_BAD_JSON"),
        ({"invite": ["ben"]}, "M_INVALID_PARAM"),
        ({"invite": "@ben:one.test"}, "M_BAD_JSON"),
        ({"room_alias_name": "has:colon"}, "M_INVALID_PARAM"),
        ({"room_alias_name": "has\u0000nul"}, "M_INVALID_PARAM"),
        ({"creation_content": {"number": 2**60}}, "M_BAD_JSON"),
        ({"creation_content": {"number": 1.5}}, "M_BAD_JSON"),
        ({"initial_state": [{"type": "m.room.name"}]}, "M_MISSING_PARAM"),
        ({"initial_state": [{"type": "m.x", "content": {"n": 2**60}}]}, "M_BAD_JSON"),
        ({"initial_state": {"type": "m.x"}}, "M_BAD_JSON"),
        (
            {"power_level_content_override": {"users": {"@ann:one.test": 50}}},
            "M_INVALID_ROOM_STATE",
        ),
        ({"power_level_content_override": {"ban": "50"}}, "M_INVALID_ROOM_STATE"),
        ({"power_level_content_override": []}, "M_BAD_JSON"),
        ({"creation_content": {"additional_creators": ["ben"]}}, "M_INVALID_PARAM"),
        ({"creation_content": {"additional_creators": "@ben:one.test"}}, "M_INVALID_PARAM"),
    ],
    ids=str,
)
async def test_refused(hearth: Hearth, wanted: Any, errcode: str) -> None:
    ann = await hearth.user("ann")
    answer = await ann.post(f"{V3}/createRoom", wanted)
    assert answer.status == 400, answer.json
    assert answer.errcode == errcode
    assert (await ann.get(f"{V3}/joined_rooms")).ok() == {"joined_rooms": []}


async def test_the_version_is_that_of_the_request(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    create = (await made(ann))["m.room.create", ""]
    assert create["content"]["room_version"] == "12"
    assert "creator" not in create["content"]
    state = await made(
        ann, room_version="9", creation_content={"room_version": "3", "creator": "@x:y", "k": 1}
    )
    content = state["m.room.create", ""]["content"]
    assert (content["room_version"], content["creator"], content["k"]) == ("9", ann.user_id, 1)


async def test_name_and_topic_win_over_initial_state(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    initial = [
        {"type": "m.room.name", "content": {"name": "initial"}},
        {"type": "m.room.topic", "content": {"topic": "initial"}},
        {"type": "m.custom", "state_key": "k", "content": {"a": 1}},
    ]
    state = await made(ann, name="Hall", topic="Talk", initial_state=initial)
    assert state["m.room.name", ""]["content"] == {"name": "Hall"}
    topic = state["m.room.topic", ""]["content"]
    assert topic["topic"] == "Talk"
    assert topic["m.topic"]["m.text"] == [{"body": "Talk"}]
    assert state["m.custom", "k"]["content"] == {"a": 1}


async def test_presets(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    for preset, join, guests, history in (
        ("private_chat", "invite", "can_join", "shared"),
        ("trusted_private_chat", "invite", "can_join", "shared"),
        ("public_chat", "public", "forbidden", "shared"),
    ):
        state = await made(ann, preset=preset)
        assert state["m.room.join_rules", ""]["content"]["join_rule"] == join
        assert state["m.room.guest_access", ""]["content"]["guest_access"] == guests
        assert state["m.room.history_visibility", ""]["content"]["history_visibility"] == history
    invite = (await made(ann, preset="private_chat"))["m.room.power_levels", ""]["content"][
        "invite"
    ]
    assert invite == 50
    own = {"power_level_content_override": {"invite": 0}}
    levels = (await made(ann, preset="private_chat", **own))["m.room.power_levels", ""]["content"]
    assert levels["invite"] == 0
    assert levels["events"]["m.room.tombstone"] == 150


async def test_direct_and_invited(hearth: Hearth) -> None:
    ann, ben = await hearth.user("ann"), await hearth.user("ben")
    state = await made(ann, is_direct=True, invite=[ben.user_id], preset="trusted_private_chat")
    member = state["m.room.member", ben.user_id]["content"]
    assert (member["membership"], member["is_direct"]) == ("invite", True)
    assert state["m.room.create", ""]["content"]["additional_creators"] == [ben.user_id]
    shown = (await ben.get(f"{V3}/sync", timeout=0)).ok()["rooms"]["invite"]
    (room,) = shown.values()
    assert ("m.room.create", "") in {
        (event["type"], event["state_key"]) for event in room["invite_state"]["events"]
    }


async def test_an_alias_comes_with_the_room_or_no_room_does(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    state = await made(ann, room_alias_name="hall")
    assert state["m.room.canonical_alias", ""]["content"]["alias"] == "#hall:one.test"
    rooms = (await ann.get(f"{V3}/joined_rooms")).ok()["joined_rooms"]
    answer = await ann.post(f"{V3}/createRoom", {"room_alias_name": "hall"})
    assert (answer.status, answer.errcode) == (400, "M_ROOM_IN_USE")
    assert (await ann.get(f"{V3}/joined_rooms")).ok()["joined_rooms"] == rooms


async def test_encryption_is_on_where_clients_can(hearth: Hearth) -> None:
    ann = await hearth.user("ann", "PHONE")
    key = ("m.room.encryption", "")
    assert key not in await made(ann, preset="private_chat"), "a device without keys"
    (await ann.post(f"{V3}/keys/upload", {"device_keys": Device.of(ann).keys()})).ok()
    state = await made(ann, preset="private_chat")
    assert state[key]["content"]["algorithm"] == "m.megolm.v1.aes-sha2"
    assert key not in await made(ann, preset="public_chat")
    assert key not in await made(ann, preset="private_chat", creation_content={"type": "m.space"})
    own = [{"type": "m.room.encryption", "content": OWN}]
    state = await made(ann, preset="private_chat", initial_state=own)
    assert state[key]["content"] == OWN


async def test_there_is_one_beginning(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    room = (await ann.post(f"{V3}/createRoom", {})).ok()["room_id"]
    for path in (
        f"{V3}/rooms/{room}/state/m.room.create",
        f"{V3}/rooms/{room}/state/m.room.create/more",
    ):
        answer = await ann.put(path, {"room_version": "12"})
        assert answer.status in {400, 403}


async def test_many_at_the_same_moment_are_rooms_of_their_own(hearth: Hearth) -> None:
    """The ID of a version 12 room follows from its create event, and that from the moment."""
    ann = await hearth.user("ann")
    answers = await asyncio.gather(*(ann.post(f"{V3}/createRoom", {}) for _ in range(30)))
    rooms = {answer.ok()["room_id"] for answer in answers}
    assert len(rooms) == 30
    assert set((await ann.get(f"{V3}/joined_rooms")).ok()["joined_rooms"]) == rooms


async def test_a_room_with_a_lot_of_state(hearth: Hearth) -> None:
    """More than is written in one piece: all is there, and who is invited comes last."""
    ann, bob = await hearth.user("ann"), await hearth.user("bob")
    many = [{"type": "m.x", "state_key": f"{n}", "content": {"n": n}} for n in range(1500)]
    wanted = {"initial_state": many, "name": "Hall", "invite": [bob.user_id]}
    room_id = (await ann.post(f"{V3}/createRoom", wanted)).ok()["room_id"]
    state = (await ann.get(f"{V3}/rooms/{room_id}/state")).ok()
    entries = {(event["type"], event["state_key"]): event["content"] for event in state}
    assert all(entries["m.x", f"{n}"] == {"n": n} for n in range(1500))
    assert entries["m.room.name", ""] == {"name": "Hall"}
    assert entries["m.room.member", bob.user_id]["membership"] == "invite"
    too_many = [*many * 6, *many]
    refused = await ann.post(f"{V3}/createRoom", {"initial_state": too_many})
    assert (refused.status, refused.errcode) == (413, "M_TOO_LARGE")
