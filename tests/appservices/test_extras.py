"""What a bridge is told beside events, under every name that bridges read.

https://spec.matrix.org/v1.19/application-service-api/#pushing-ephemeral-data
"""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.bridge import Bridge, answering, bot, bridged, ghost, registration
from tests.client_server.keyring import Device, key_of
from tests.database import Server
from tests.servers import Client, Hearth

V3 = "/_matrix/client/v3"
EPHEMERAL = ("ephemeral", "de.sorunome.msc2409.ephemeral")
TO_DEVICE = ("to_device", "de.sorunome.msc2409.to_device")
LISTS = ("device_lists", "org.matrix.msc3202.device_lists")
COUNTS = (
    "device_one_time_keys_count",
    "org.matrix.msc3202.device_one_time_keys_count",
    "org.matrix.msc3202.device_one_time_key_counts",
)
FALLBACK = (
    "device_unused_fallback_key_types",
    "org.matrix.msc3202.device_unused_fallback_key_types",
)


class Scene(NamedTuple):
    """Ben is in a room with a ghost of the bridge, and alone in another."""

    bridge: Bridge
    hearth: Hearth
    irc: Client
    ghost: str
    ben: Client
    room: str
    other: str

    def parts(self, names: tuple[str, ...]) -> list[Any]:
        """What the transactions had in a part, which is the same under all its names."""
        found = []
        for transaction in self.bridge.transactions.values():
            values = [transaction.get(name) for name in names]
            assert all(value == values[0] for value in values)
            if values[0] is not None:
                found.append(values[0])
        return found

    def edus(self, kind: str) -> list[Any]:
        """Ephemeral events of a kind."""
        return [e for part in self.parts(EPHEMERAL) for e in part if e["type"] == kind]


@pytest.fixture
async def scene(postgres: Server, tmp_path: Path) -> AsyncIterator[Scene]:
    wanted = {"receive_ephemeral": True, "org.matrix.msc3202": True}
    async with (
        answering(Bridge()) as bridge,
        bridged(postgres, tmp_path, registration(bridge.port, **wanted)) as hearth,
    ):
        irc, ben = bot(hearth), await hearth.user("ben")
        zoe = await ghost(irc, "_irc_zoe")
        body = {"preset": "public_chat"}
        room, other = [(await ben.post(f"{V3}/createRoom", body)).ok()["room_id"] for _ in "ab"]
        (await irc.post(f"{V3}/join/{room}", user_id=zoe)).ok()
        await bridge.until(lambda: bridge.events)
        yield Scene(bridge, hearth, irc, zoe, ben, room, other)


async def _say(client: Client, room: str, txn: str) -> str:
    path = f"{V3}/rooms/{room}/send/m.room.message/{txn}"
    event_id: str = (await client.put(path, {"msgtype": "m.text", "body": txn})).ok()["event_id"]
    return event_id


async def test_receipts(scene: Scene) -> None:
    for room in (scene.other, scene.room):
        said = await _say(scene.ben, room, "read me")
        (await scene.ben.post(f"{V3}/rooms/{room}/receipt/m.read.private/{said}")).ok()
        (await scene.ben.post(f"{V3}/rooms/{room}/receipt/m.read/{said}")).ok()
    await scene.bridge.until(lambda: scene.edus("m.receipt"))
    (receipt,) = scene.edus("m.receipt")
    assert receipt["room_id"] == scene.room
    assert receipt["content"][said]["m.read"][scene.ben.user_id]["ts"] > 0


async def test_typing(scene: Scene) -> None:
    for room in (scene.other, scene.room):
        path = f"{V3}/rooms/{room}/typing/{scene.ben.user_id}"
        (await scene.ben.put(path, {"typing": True, "timeout": 10_000})).ok()
    await scene.bridge.until(lambda: scene.edus("m.typing"))
    expected = {"type": "m.typing", "room_id": scene.room}
    assert scene.edus("m.typing")[0] == {**expected, "content": {"user_ids": [scene.ben.user_id]}}
    (await scene.ben.put(path, {"typing": False})).ok()
    await scene.bridge.until(lambda: scene.edus("m.typing")[-1]["content"] == {"user_ids": []})
    assert {e["room_id"] for e in scene.edus("m.typing")} == {scene.room}


async def test_presence(scene: Scene) -> None:
    cat = await scene.hearth.user("cat")
    for who in (cat, scene.ben):
        path = f"{V3}/presence/{who.user_id}/status"
        (await who.put(path, {"presence": "online", "status_msg": "here"})).ok()
    await scene.bridge.until(lambda: scene.edus("m.presence"))
    (presence,) = scene.edus("m.presence")
    assert presence["sender"] == scene.ben.user_id
    assert presence["content"]["status_msg"] == "here"


async def _device(scene: Scene) -> str:
    """A device for the ghost, made without logging in."""
    put = await scene.irc.put(f"{V3}/devices/DEVICE", {}, user_id=scene.ghost)
    assert put.status == 201
    made = Device(scene.ghost, "DEVICE", key_of(scene.ghost))
    keys = dict([made.one_time_key("A"), made.one_time_key("B")])
    fallback = dict([made.one_time_key("F", is_fallback=True)])
    body = {"device_keys": made.keys(), "one_time_keys": keys, "fallback_keys": fallback}
    await scene.irc.post(f"{V3}/keys/upload", body, user_id=scene.ghost, device_id="DEVICE")
    return "DEVICE"


async def test_messages_to_devices(scene: Scene) -> None:
    device = await _device(scene)
    body = {"messages": {scene.ghost: {device: {"n": 1}}, scene.ben.user_id: {"*": {"n": 2}}}}
    (await scene.ben.put(f"{V3}/sendToDevice/a.kind/one", body)).ok()
    await scene.bridge.until(lambda: scene.parts(TO_DEVICE))
    assert scene.parts(TO_DEVICE) == [
        [
            {
                "type": "a.kind",
                "sender": scene.ben.user_id,
                "content": {"n": 1},
                "to_user_id": scene.ghost,
                "to_device_id": device,
            }
        ]
    ]


async def test_keys_that_are_left(scene: Scene) -> None:
    device = await _device(scene)
    wanted = {scene.ghost: {device: {"signed_curve25519": 2}}}
    await scene.bridge.until(lambda: wanted in scene.parts(COUNTS))
    assert {scene.ghost: {device: ["signed_curve25519"]}} in scene.parts(FALLBACK)
    claim = {"one_time_keys": {scene.ghost: {device: "signed_curve25519"}}}
    for left in (1, 0):
        (await scene.ben.post(f"{V3}/keys/claim", claim)).ok()
        counts = {scene.ghost: {device: {"signed_curve25519": left}}}
        await scene.bridge.until(lambda: scene.parts(COUNTS)[-1:] == [counts])  # noqa: B023


async def test_device_lists(scene: Scene) -> None:
    cat = await scene.hearth.user("cat")
    for who in (cat, scene.ben):
        made = Device.of(who)
        (await who.post(f"{V3}/keys/upload", {"device_keys": made.keys()})).ok()
    await scene.bridge.until(lambda: len(scene.parts(LISTS)) > 1)
    # Ben was met before.
    assert scene.parts(LISTS) == [{"changed": [scene.ben.user_id], "left": []}] * 2
    (await scene.ben.post(f"{V3}/rooms/{scene.room}/leave")).ok()
    left = {"changed": [], "left": [scene.ben.user_id]}
    await scene.bridge.until(lambda: left in scene.parts(LISTS))


async def test_who_comes_and_goes_is_in_device_lists(scene: Scene) -> None:
    """Into rooms of the bridge's users; and all those whom these meet."""
    cat, dog = await scene.hearth.user("cat"), await scene.hearth.user("dog")

    async def told(*changed: str, left: Sequence[str] = ()) -> None:
        lists = {"changed": sorted(changed), "left": sorted(left)}
        await scene.bridge.until(lambda: scene.parts(LISTS)[-1:] == [lists])

    (await cat.post(f"{V3}/join/{scene.room}")).ok()
    await told(cat.user_id)
    (await dog.post(f"{V3}/join/{scene.other}")).ok()
    (await scene.irc.post(f"{V3}/join/{scene.other}", user_id=scene.ghost)).ok()
    await told(dog.user_id, scene.ben.user_id)
    # A name is no news of devices; and who is met by one ghost is known to all.
    path = f"{V3}/profile/{cat.user_id}/displayname"
    (await cat.put(path, {"displayname": "another"})).ok()
    yan = await ghost(scene.irc, "_irc_yan")
    (await scene.irc.post(f"{V3}/join/{scene.other}", user_id=yan)).ok()
    # Ben is in the other room still.
    (await scene.irc.post(f"{V3}/rooms/{scene.room}/leave", user_id=scene.ghost)).ok()
    await told(left=[cat.user_id])


async def test_only_what_was_asked_for(postgres: Server, tmp_path: Path) -> None:
    async with (
        answering(Bridge()) as bridge,
        bridged(postgres, tmp_path, registration(bridge.port)) as hearth,
    ):
        irc = bot(hearth)
        room = (await irc.post(f"{V3}/createRoom", {})).ok()["room_id"]
        (await irc.put(f"{V3}/rooms/{room}/typing/{irc.user_id}", {"typing": True})).ok()
        await bridge.until_event(await _say(irc, room, "hello"))
        assert {key for txn in bridge.transactions.values() for key in txn} == {"events"}
