"""Nobody who has a connection of the database waits for another: with one to lend, all goes on.

Else as many as there are connections, at the same time, would wait for each other for ever.
"""

import asyncio
from pathlib import Path

from federation.identifiers import RoomID
from homeserver.config.sections.serving import Storage
from tests.client_server.keyring import Device
from tests.database import Server
from tests.federation.net.loopback import Authority
from tests.server_server.answering import peering
from tests.server_server.conftest import V3
from tests.servers import eventually, federating


async def test_one_is_enough(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> None:
    """For who joins a room with conditions, devices that change, and messages to devices."""
    storage = Storage(pool_size=2)
    async with (
        asyncio.timeout(60),
        federating(postgres, tmp_path, loopback_authority, storage=storage) as hearth,
        peering(hearth, loopback_authority) as peer,
    ):
        ann, eve = await hearth.user("ann"), peer.user("eve")
        room = RoomID(
            (await ann.post(f"{V3}/createRoom", {"preset": "public_chat"})).ok()["room_id"]
        )
        await peer.join(room, eve)
        allow = [{"type": "m.room_membership", "room_id": room}]
        rule = {"join_rule": "restricted", "allow": allow}
        rules = [{"type": "m.room.join_rules", "content": rule}]
        inner = (await ann.post(f"{V3}/createRoom", {"initial_state": rules})).ok()["room_id"]
        await peer.join(RoomID(inner), eve)
        keys = {"device_keys": Device.of(ann).keys()}
        (await ann.post(f"{V3}/keys/upload", keys)).ok()
        (await ann.put(f"{V3}/sendToDevice/m.test/1", {"messages": {eve: {"*": {"n": 1}}}})).ok()

        async def told() -> bool:
            return all(map(peer.heard, ("m.direct_to_device", "m.device_list_update")))

        await eventually(told, within=20)
