"""What Element X asks, in its order: two connections, a list that grows, rooms that are opened.

As `RoomListService` and `EncryptionSyncService` of the Rust SDK do.

https://github.com/matrix-org/matrix-spec-proposals/pull/4186, "Example usage"
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.client_server.keyring import Device
from tests.client_server.test_sliding_sync import SLIDING, V3, texts
from tests.client_server.test_sync import room_of, say
from tests.servers import Client, Hearth

STATE = [
    ["m.room.name", ""],
    ["m.room.encryption", ""],
    ["m.room.member", "$LAZY"],
    ["m.room.member", "$ME"],
    ["m.room.topic", ""],
    ["m.room.canonical_alias", ""],
    ["m.room.power_levels", ""],
    ["org.matrix.msc3401.call.member", "*"],
    ["m.room.join_rules", ""],
    ["m.room.tombstone", ""],
    ["m.room.create", ""],
    ["m.room.history_visibility", ""],
    ["io.element.functional_members", ""],
    ["m.space.parent", "*"],
    ["m.space.child", "*"],
]
OPENED = [*STATE, ["m.room.pinned_events", ""]]
EXTENSIONS = {
    "account_data": {"enabled": True},
    "receipts": {"enabled": True, "rooms": ["*"]},
    "typing": {"enabled": True},
    "io.element.msc4308.thread_subscriptions": {"enabled": True, "limit": 10},
}


@dataclass
class App:
    """The app of somebody."""

    client: Client
    pos: str | None = None
    """Of the list of rooms; kept over restarts."""
    since: str | None = None
    """Of messages to the device; the same."""
    encryption_pos: str | None = None
    opened: dict[str, Any] = field(default_factory=dict)

    async def ask(self, last: int, wait: int = 0) -> Any:
        """The list of rooms up to a place."""
        rooms = {"ranges": [[0, last]], "required_state": STATE, "timeline_limit": 1}
        body = {
            "conn_id": "room-list",
            "lists": {"all_rooms": rooms | {"filters": {"not_room_types": ["m.space"]}}},
            "room_subscriptions": self.opened,
            "extensions": EXTENSIONS,
            "txn_id": f"{last}",
        }
        found = await self._post(body, self.pos, wait)
        assert found["txn_id"] == f"{last}"
        self.pos = found["pos"]
        return found

    async def ask_of_encryption(self, wait: int = 0) -> Any:
        to_device = {"enabled": True} | ({"since": self.since} if self.since else {})
        extensions = {"e2ee": {"enabled": True}, "to_device": to_device}
        body = {"conn_id": "encryption", "extensions": extensions}
        found = await self._post(body, self.encryption_pos, wait)
        self.encryption_pos = found["pos"]
        self.since = found["extensions"]["to_device"]["next_batch"]
        return found["extensions"]

    def open(self, room_id: str) -> None:
        self.opened = {room_id: {"required_state": OPENED, "timeline_limit": 20}}

    async def _post(self, body: Any, pos: str | None, wait: int) -> Any:
        query = {"pos": pos} if pos else {}
        return (await self.client.post(SLIDING, body, timeout=wait, **query)).ok()


@pytest.fixture
async def ann(hearth: Hearth) -> Client:
    return await hearth.user("ann")


@pytest.fixture
async def bob(hearth: Hearth) -> Client:
    return await hearth.user("bob")


async def test_a_list_that_grows_and_rooms_that_are_opened(ann: Client, bob: Client) -> None:
    rooms = [await room_of(bob, ann, name=f"{number}") for number in range(23)]
    await room_of(ann, creation_content={"type": "m.space"})
    for number in range(5):
        await say(bob, rooms[0], f"old {number}")
    app = App(ann)
    first = await app.ask(19)
    assert first["lists"]["all_rooms"]["count"] == 23
    assert set(first["rooms"]) == {rooms[0], *rooms[4:]}
    assert all(room["initial"] for room in first["rooms"].values())
    room = first["rooms"][rooms[0]]
    assert (room["name"], texts(room), room["limited"]) == ("0", ["old 4"], True)
    kinds = {(e["type"], e["state_key"]) for e in room["required_state"]}
    assert {("m.room.create", ""), ("m.room.member", ann.user_id)} <= kinds
    # Who spoke is told beside oneself.
    assert ("m.room.member", bob.user_id) in kinds
    pushed = first["extensions"]["account_data"]["global"]
    assert "m.push_rules" in [event["type"] for event in pushed]

    assert set((await app.ask(99))["rooms"]) == set(rooms[1:4])

    # Something happens while the list is complete.
    waiting = asyncio.create_task(app.ask(22, 20_000))
    await say(bob, rooms[2], "new")
    live = await waiting
    room = live["rooms"].pop(rooms[2])
    assert (live["rooms"], texts(room), room["num_live"]) == ({}, ["new"], 1)
    assert room["bump_stamp"] > first["rooms"][rooms[0]]["bump_stamp"]
    assert room["notification_count"] == 1

    # A room is opened: there is more to show of it, at once, however long the app would wait.
    app.open(rooms[0])
    opened = (await app.ask(22, 20_000))["rooms"].pop(rooms[0])
    assert texts(opened) == [f"old {number}" for number in range(5)]
    assert (opened["unstable_expanded_timeline"], opened["num_live"]) == (True, 0)
    earlier = await ann.get(
        f"{V3}/rooms/{rooms[0]}/messages", dir="b", **{"from": opened["prev_batch"]}
    )
    assert {e["event_id"] for e in earlier.ok()["chunk"]}.isdisjoint(
        e["event_id"] for e in opened["timeline"]
    )
    waiting = asyncio.create_task(app.ask(22, 20_000))
    typing = f"{V3}/rooms/{rooms[0]}/typing/{bob.user_id}"
    (await bob.put(typing, {"typing": True, "timeout": 20_000})).ok()
    told = (await waiting)["extensions"]["typing"]["rooms"]
    assert told[rooms[0]]["content"] == {"user_ids": [bob.user_id]}


async def test_what_is_missed_while_the_app_sleeps(ann: Client, bob: Client) -> None:
    rooms = [await room_of(bob, ann) for _ in range(22)]
    app = App(ann)
    await app.ask(19)
    await app.ask(99)
    await say(bob, rooms[21], "one")
    await say(bob, rooms[0], "two")
    invited = await room_of(bob, preset="trusted_private_chat", invite=[ann.user_id])
    (await ann.post(f"{V3}/rooms/{rooms[5]}/leave")).ok()
    # It begins small again, with the position that it kept.
    woken = App(ann, app.pos)
    found = (await woken.ask(19))["rooms"]
    assert {rooms[21], rooms[0], invited} <= found.keys()
    assert found[invited]["membership"] == "invite"
    assert "m.room.create" in {e["type"] for e in found[invited]["invite_state"]}
    assert found[rooms[5]]["membership"] == "leave"
    assert found.keys() <= {rooms[21], rooms[0], invited, rooms[5]}
    assert texts(found[rooms[0]]) == ["two"]
    (await ann.post(f"{V3}/join/{invited}")).ok()
    joined = (await woken.ask(99))["rooms"][invited]
    assert (joined["membership"], joined["initial"]) == ("join", True)
    assert (await woken.ask(99))["rooms"] == {}


async def test_messages_to_the_device_over_a_new_beginning(ann: Client, bob: Client) -> None:
    """A position that is not known any more costs no message, and repeats none."""
    device = Device.of(ann)
    keys = dict([device.one_time_key("A")])
    body = {"device_keys": device.keys(), "one_time_keys": keys}
    (await ann.post(f"{V3}/keys/upload", body)).ok()
    app = App(ann)
    first = await app.ask_of_encryption()
    assert first["e2ee"]["device_one_time_keys_count"] == {"signed_curve25519": 1}

    async def send(number: int) -> None:
        messages = {"messages": {ann.user_id: {"*": {"number": number}}}}
        (await bob.put(f"{V3}/sendToDevice/m.room_key/{number}", messages)).ok()

    def numbers(found: Any) -> list[int]:
        return [event["content"]["number"] for event in found["to_device"]["events"]]

    waiting = asyncio.create_task(app.ask_of_encryption(20_000))
    await send(1)
    assert numbers(await waiting) == [1]
    await room_of(bob, ann)
    met = await app.ask_of_encryption()
    assert met["e2ee"]["device_lists"]["changed"] == [bob.user_id]
    assert numbers(met) == []
    await send(2)
    lost = await ann.post(SLIDING, {"conn_id": "encryption"}, pos="h1.999999999.0.0~1.1")
    assert lost.errcode == "M_UNKNOWN_POS"
    app.encryption_pos = None
    assert numbers(await app.ask_of_encryption()) == [2]
    assert numbers(await app.ask_of_encryption()) == []
