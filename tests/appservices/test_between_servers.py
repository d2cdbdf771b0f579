"""Bridges whose rooms, ghosts and people are on several servers."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest

from homeserver.config.settings import AppServices
from tests.appservices.test_asking import Maker
from tests.appservices.test_delivery import Speaker, make_room
from tests.bridge import answering, bot, ghost, registration
from tests.client_server.keyring import CrossSigning, Device, key_of
from tests.database import Server
from tests.federation.net.loopback import Authority
from tests.servers import Client, Hearth, eventually, federating

V3 = "/_matrix/client/v3"


class Scene:
    """A bridge on one server, and Eve on another."""

    def __init__(self, bridge: Maker, one: Hearth, eve: Client) -> None:
        self.bridge, self.one, self.eve = bridge, one, eve
        self.irc = bridge.bot = bot(one)
        self.speaker = Speaker()


@pytest.fixture
async def scene(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> AsyncIterator[Scene]:
    bridge = Maker()
    async with answering(bridge):
        file = tmp_path / "registration.yaml"
        file.write_text(json.dumps(registration(bridge.port)))
        services = AppServices(files=(file,))
        async with (
            federating(postgres, tmp_path, loopback_authority, 1, appservices=services) as one,
            federating(postgres, tmp_path, loopback_authority, 2) as two,
        ):
            yield Scene(bridge, one, await two.user("eve"))


async def test_ghosts_in_rooms_of_other_servers(scene: Scene) -> None:
    room = await make_room(scene.eve)
    ann = await ghost(scene.irc, "_irc_ann")
    path = f"{V3}/join/{quote(room)}?via={quote(scene.eve.hearth.name)}&user_id={quote(ann)}"
    (await scene.irc.post(path)).ok()
    await scene.bridge.until_event(await scene.speaker.say(scene.eve, room, "hello"))
    said = await scene.speaker.say(scene.irc, room, "from afar", user_id=ann)

    async def arrived() -> bool:
        page = (await scene.eve.get(f"{V3}/rooms/{room}/messages", dir="b")).ok()["chunk"]
        return any(event["event_id"] == said and event["sender"] == ann for event in page)

    await eventually(arrived)


async def test_names_that_people_elsewhere_use(scene: Scene) -> None:
    """A ghost that is invited from elsewhere, and a room that is joined: both are made for it."""
    name = f"@_irc_new:{scene.one.name}"
    room = await make_room(scene.eve, name)
    await scene.bridge.until(lambda: scene.bridge.count("users"))
    invited = await scene.bridge.until(
        lambda: next((e for e in scene.bridge.events if e["room_id"] == room), None)
    )
    assert (invited["state_key"], invited["content"]["membership"]) == (name, "invite")
    (await scene.irc.post(f"{V3}/join/{quote(room)}", user_id=name)).ok()
    alias = quote(f"#_irc_tea:{scene.one.name}")
    theirs = (await scene.eve.post(f"{V3}/join/{alias}")).ok()["room_id"]
    await scene.bridge.until_event(await scene.speaker.say(scene.eve, theirs, "tea?"))
    unknown = quote(f"#_irc_nobody:{scene.one.name}")
    assert (await scene.eve.post(f"{V3}/join/{unknown}")).errcode == "M_NOT_FOUND"


async def test_nobody_asks_a_bridge_for_a_password(scene: Scene) -> None:
    """Keys and devices change at its word alone, and others elsewhere see them."""
    ann = await ghost(scene.irc, "_irc_ann")
    device = Device(ann, "PHONE", key_of(ann, "PHONE"))
    await scene.irc.put(f"{V3}/devices/PHONE", {}, user_id=ann)
    as_phone = {"user_id": ann, "device_id": "PHONE"}
    (await scene.irc.post(f"{V3}/keys/upload", {"device_keys": device.keys()}, **as_phone)).ok()
    for number in range(2):
        keys = CrossSigning(ann, *(key_of(ann, f"{kind}{number}") for kind in "msu"))
        path = f"{V3}/keys/device_signing/upload"
        (await scene.irc.post(path, keys.upload(), user_id=ann)).ok()
    found = (await scene.eve.post(f"{V3}/keys/query", {"device_keys": {ann: []}})).ok()
    assert found["master_keys"][ann]["keys"] == keys.upload()["master_key"]["keys"]
    assert set(found["device_keys"][ann]) == {"PHONE"}
    (await scene.irc.post(f"{V3}/delete_devices", {"devices": ["PHONE"]}, user_id=ann)).ok()
    assert (await scene.irc.get(f"{V3}/devices", user_id=ann)).ok()["devices"] == []
