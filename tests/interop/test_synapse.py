"""A stock Synapse as peer: joining both ways, and talking both ways."""

from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from homeserver.config.settings import Outgoing
from homeserver.http.listeners import bind
from tests.database import Server
from tests.federation.net.loopback import Authority
from tests.interop.synapse import Synapse, SynapseClient, synapse
from tests.servers import (
    LOOPBACK,
    Client,
    Hearth,
    eventually,
    own_database,
    serving,
    test_settings,
)

V3 = "/_matrix/client/v3"


@pytest.fixture
async def peer(tmp_path: Path, loopback_authority: Authority) -> AsyncIterator[Synapse]:
    folder = tmp_path / "synapse"
    folder.mkdir()
    async with synapse(folder, loopback_authority) as running:
        yield running


@pytest.fixture
async def ours(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> AsyncIterator[Hearth]:
    bound = bind(LOOPBACK, 0)
    outgoing = Outgoing(
        allowed_ranges=(ip_network("127.0.0.0/8"),),
        ca_file=loopback_authority.file,
        system_trust=False,
    )
    settings = test_settings(f"127.0.0.1:{bound.getsockname()[1]}", tmp_path, outgoing=outgoing)
    tls = loopback_authority.server_context("127.0.0.1")
    async with (
        own_database(postgres, f"hearth_{id(tmp_path)}") as where,
        serving(settings, where, tls=tls, bound=bound) as hearth,
    ):
        yield hearth


def room(room_id: str, *parts: str) -> str:
    return "/".join([f"{V3}/rooms/{quote(room_id)}", *parts])


async def bodies(ask: Any, room_id: str) -> list[str]:
    """What was said in the room, oldest first."""
    answer = await ask(room(room_id, "messages"), dir="b", limit="100")
    chunk = answer.ok()["chunk"] if hasattr(answer, "ok") else answer["chunk"]
    return [e["content"]["body"] for e in reversed(chunk) if e["type"] == "m.room.message"]


async def hears(listener: Client | SynapseClient, room_id: str, text: str) -> None:
    async def has() -> bool:
        return text in await bodies(listener.get, room_id)

    await eventually(has, within=20)


async def say(who: Client | SynapseClient, room_id: str, text: str) -> None:
    path = room(room_id, "send", "m.room.message", quote(text))
    await who.put(path, {"msgtype": "m.text", "body": text})


@pytest.mark.parametrize("version", ["6", "10", "11", "12"])
async def test_we_join_synapse_and_talk(ours: Hearth, peer: Synapse, version: str) -> None:
    ann, syd = await ours.user("ann"), await peer.user("syd")
    wanted = {"preset": "public_chat", "room_version": version, "name": "theirs"}
    room_id = (await syd.post(f"{V3}/createRoom", wanted))["room_id"]
    before = [f"before {number}" for number in range(12)]
    for text in before:
        await say(syd, room_id, text)
    joined = await ann.post(f"{V3}/join/{quote(room_id)}", {}, server_name=peer.name)
    assert joined.ok() == {"room_id": room_id}
    # What was said before we came is Synapse's to tell.
    assert (await bodies(ann.get, room_id))[-12:] == before
    await say(syd, room_id, "hello Ann")
    await hears(ann, room_id, "hello Ann")
    await say(ann, room_id, "hello Syd")
    await hears(syd, room_id, "hello Syd")
    assert (await bodies(ann.get, room_id))[-2:] == ["hello Ann", "hello Syd"]
    (await ann.post(room(room_id, "leave"))).ok()

    async def gone() -> bool:
        members = (await syd.get(room(room_id, "joined_members")))["joined"]
        return ann.user_id not in members

    await eventually(gone, within=10)


@pytest.mark.parametrize("version", ["6", "10", "11", "12"])
async def test_synapse_joins_us_and_talks(ours: Hearth, peer: Synapse, version: str) -> None:
    ann, syd = await ours.user("ann"), await peer.user("syd")
    wanted = {"preset": "private_chat", "room_version": version, "invite": [syd.user_id]}
    room_id = (await ann.post(f"{V3}/createRoom", wanted)).ok()["room_id"]
    await say(ann, room_id, "before")

    async def invited() -> bool:
        return room_id in (await syd.get(f"{V3}/sync"))["rooms"].get("invite", {})

    await eventually(invited, within=10)
    await syd.post(f"{V3}/join/{quote(room_id)}", {}, server_name=ours.name)
    await hears(syd, room_id, "before")
    await say(ann, room_id, "hello Syd")
    await hears(syd, room_id, "hello Syd")
    await say(syd, room_id, "hello Ann")
    await hears(ann, room_id, "hello Ann")
    (await ann.post(room(room_id, "kick"), {"user_id": syd.user_id})).ok()

    async def kicked() -> bool:
        return room_id not in (await syd.get(f"{V3}/joined_rooms"))["joined_rooms"]

    await eventually(kicked, within=10)
