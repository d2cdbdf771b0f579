"""A server, and a peer of it that does what a test tells it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from federation.identifiers import RoomID
from tests.database import Server
from tests.federation.net.loopback import Authority
from tests.server_server.answering import peering
from tests.server_server.peer import Peer, Room
from tests.servers import Client, Hearth, federating

V3 = "/_matrix/client/v3"


class Scene(NamedTuple):
    """Ann, of the server, owns a public room that Eve, of the peer, is in."""

    hearth: Hearth
    peer: Peer
    ann: Client
    room: Room

    @property
    def path(self) -> str:
        return f"{V3}/rooms/{self.room.room_id}"

    async def say(self, text: str) -> str:
        path = f"{self.path}/send/m.room.message/{text}"
        answer = await self.ann.put(path, {"msgtype": "m.text", "body": text})
        return str(answer.ok()["event_id"])

    async def texts(self) -> list[str]:
        """What the room's history says, the latest first."""
        page = (await self.ann.get(f"{self.path}/messages", dir="b", limit=100)).ok()
        return [e["content"].get("body") for e in page["chunk"] if e["type"] == "m.room.message"]


@pytest.fixture
async def federated(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> AsyncIterator[tuple[Hearth, Peer]]:
    """A server and a peer."""
    async with (
        federating(postgres, tmp_path, loopback_authority) as hearth,
        peering(hearth, loopback_authority) as peer,
    ):
        yield hearth, peer


@pytest.fixture
async def scene(federated: tuple[Hearth, Peer]) -> Scene:
    """A room of both."""
    hearth, peer = federated
    ann = await hearth.user("ann")
    made = (
        await ann.post(f"{V3}/createRoom", {"preset": "public_chat", "room_version": "11"})
    ).ok()
    room = await peer.join(RoomID(made["room_id"]), peer.user("eve"))
    return Scene(hearth, peer, ann, room)
