"""What other servers are told of devices of people here.

https://spec.matrix.org/v1.19/server-server-api/#device-management
"""

from typing import Any
from urllib.parse import quote

from aiohttp import web

from federation.canonical_json import JsonObject
from federation.identifiers import RoomID
from homeserver.storage import destinations, outgoing
from homeserver.storage.destinations import Transaction
from homeserver.storage.outgoing import Edu
from tests.client_server.keyring import Device, cross_signing_keys, public, signed
from tests.server_server.conftest import V3, Scene
from tests.server_server.peer import V1, Peer
from tests.servers import Client, Hearth, eventually

UPDATE = "m.device_list_update"


async def publish(client: Client) -> JsonObject:
    keys = Device.of(client).keys()
    (await client.post(f"{V3}/keys/upload", {"device_keys": keys})).ok()
    return keys


async def told(peer: Peer, count: int, kind: str = UPDATE) -> list[JsonObject]:
    """The updates, once there are that many."""

    async def enough() -> bool:
        return len(peer.heard(kind)) >= count

    await eventually(enough)
    found = peer.heard(kind)
    assert len(found) == count
    return found


async def listed(peer: Peer, user_id: str) -> JsonObject:
    """What the server says when it is asked for the whole list."""
    status, answer = await peer.ask("GET", f"{V1}/user/devices/{quote(user_id)}")
    assert status == 200
    found: JsonObject = answer
    return found


async def test_each_update_names_the_one_before(scene: Scene) -> None:
    """Made, made, logged out: whoever heard the last knows whether they heard all."""
    ann, peer = scene.ann, scene.peer
    phone = await publish(ann)
    await told(peer, 1)
    laptop = await ann.log_in_again("LAPTOP")
    await publish(laptop)
    await told(peer, 2)
    (await laptop.post(f"{V3}/logout")).ok()
    first, second, third = await told(peer, 3)
    assert first == {
        "user_id": ann.user_id,
        "device_id": ann.device_id,
        "stream_id": first["stream_id"],
        "prev_id": [],
        "keys": phone,
    }
    assert second["prev_id"] == [first["stream_id"]]
    said = {"user_id": ann.user_id, "device_id": "LAPTOP", "deleted": True}
    assert third == {**said, "stream_id": third["stream_id"], "prev_id": [second["stream_id"]]}
    whole = await listed(peer, ann.user_id)
    assert whole["stream_id"] == third["stream_id"]
    assert [device["device_id"] for device in whole["devices"]] == [ann.device_id]


async def test_signatures_are_told(scene: Scene) -> None:
    """Of the device with its keys, and of the master key by itself; of others' keys nothing."""
    ann, peer = scene.ann, scene.peer
    keys, own = await publish(ann), cross_signing_keys(ann.user_id)
    (await ann.post(f"{V3}/keys/device_signing/upload", own.upload())).ok()
    await told(peer, 1)
    (new,) = await told(peer, 1, "m.signing_key_update")
    assert new["master_key"] == own.upload()["master_key"]
    assert "user_signing_key" not in new
    master = public(own.master)
    vouched = signed(new["master_key"], ann.user_id, ann.device_id, Device.of(ann).key)
    body = {ann.user_id: {ann.device_id: own.sign(keys), master: vouched}}
    assert (await ann.post(f"{V3}/keys/signatures/upload", body)).ok() == {"failures": {}}
    _, of_device = await told(peer, 2)
    assert own.self_signing_name in of_device["keys"]["signatures"][ann.user_id]
    _, of_master = await told(peer, 2, "m.signing_key_update")
    name = f"ed25519:{ann.device_id}"
    assert name in of_master["master_key"]["signatures"][ann.user_id]
    assert (await listed(peer, ann.user_id))["master_key"] == of_master["master_key"]


async def test_who_is_met_in_a_room_is_told_once(federated: tuple[Hearth, Peer]) -> None:
    """A join adds a server to those that follow somebody's devices; the next room does not."""
    hearth, peer = federated
    ann = await hearth.user("ann")
    await publish(ann)
    await publish(await ann.log_in_again("LAPTOP"))
    rooms = [peer.found(peer.user("eve")) for _ in range(2)]
    (await ann.post(f"{V3}/join/{rooms[0].room_id}", server_name=peer.name)).ok()
    (update,) = await told(peer, 1)
    assert update["device_id"] == "LAPTOP"
    assert update["stream_id"] == (await listed(peer, ann.user_id))["stream_id"]
    (await ann.post(f"{V3}/join/{rooms[1].room_id}", server_name=peer.name)).ok()
    await ann.put(f"{V3}/profile/{ann.user_id}/displayname", {"displayname": "Ann"})
    # What comes after both shows that they said nothing.
    await publish(await ann.log_in_again("TABLET"))
    _, last = await told(peer, 2)
    assert last["device_id"] == "TABLET"
    assert last["prev_id"] == [update["stream_id"]]


async def test_nobody_met_is_told_of_somebody_without_keys(federated: tuple[Hearth, Peer]) -> None:
    hearth, peer = federated
    ann, ben = await hearth.user("ann"), await hearth.user("ben")
    room = peer.found(peer.user("eve"))
    (await ann.post(f"{V3}/join/{room.room_id}", server_name=peer.name)).ok()
    (await ben.post(f"{V3}/join/{room.room_id}", server_name=peer.name)).ok()
    await publish(ben)
    assert [update["user_id"] for update in await told(peer, 1)] == [ben.user_id]


async def test_after_an_outage_the_latest_of_each_device_is_told(scene: Scene) -> None:
    """Many changes of a device are one update, which does not follow on what was heard last."""
    ann, peer = scene.ann, scene.peer
    await publish(ann)
    (heard,) = await told(peer, 1)
    peer.lies["send"] = lambda _: web.Response(status=503)
    laptop, sent = await ann.log_in_again("LAPTOP"), len(peer.told)
    keys = await publish(laptop)

    async def is_refused() -> bool:
        return len(peer.told) > sent

    await eventually(is_refused)
    own = cross_signing_keys(ann.user_id)
    (await ann.post(f"{V3}/keys/device_signing/upload", own.upload())).ok()
    for salt in ("", "a", "b"):
        vouched = signed(keys, ann.user_id, "LAPTOP", Device.of(laptop).key)
        signer = cross_signing_keys(ann.user_id, salt)
        (
            await ann.post(
                f"{V3}/keys/signatures/upload", {ann.user_id: {"LAPTOP": signer.sign(vouched)}}
            )
        ).ok()

    async def is_told_apart() -> Any:
        """Changes of a moment are told together; these are not to be."""
        async with scene.hearth.parts.base.process.database.reader() as conn:
            query = "SELECT true FROM device_updates WHERE prev_id <> $1"
            return await conn.fetchval(query, heard["stream_id"])

    await eventually(is_told_apart)
    (await laptop.post(f"{V3}/logout")).ok()
    await publish(await ann.log_in_again("TABLET"))

    async def waits() -> Any:
        async with scene.hearth.parts.base.process.database.reader() as conn:
            count = "SELECT count(*) FROM outgoing_edus WHERE type = $1 AND key LIKE '%TABLET'"
            return await conn.fetchval(count, UPDATE)

    await eventually(waits)
    peer.told.clear()
    del peer.lies["send"]
    repeated, gone, new = await told(peer, 3)
    assert repeated["prev_id"] == [heard["stream_id"]]
    assert gone["deleted"] is True
    assert repeated["stream_id"] not in gone["prev_id"]
    assert new["device_id"] == "TABLET"
    assert new["prev_id"] == [gone["stream_id"]]


async def test_what_changes_while_it_is_sent_is_sent_again(hearth: Hearth) -> None:
    """An update that takes the place of one on its way does not go with it."""
    process = hearth.parts.base.process
    async with process.database.reader() as conn:
        server = (await process.numbers.servers.intern(conn, ["away.test"]))["away.test"]
        await outgoing.queue_edu(conn, [server], Edu(UPDATE, b'{"nr":1}', "key"))
        (first,) = (await outgoing.waiting(conn, server, 0, 10)).edus
        await outgoing.queue_edu(conn, [server], Edu(UPDATE, b'{"nr":2}', "key"))
        await destinations.finish(conn, server, Transaction("txn", b"{}", None, [first.edu]))
        assert [edu.content for edu in (await outgoing.waiting(conn, server, 0, 10)).edus] == [
            b'{"nr":2}'
        ]


async def test_rooms_of_strangers(scene: Scene) -> None:
    """Who shares no room any more is told nothing."""
    ann, peer = scene.ann, scene.peer
    (await ann.post(f"{scene.path}/leave")).ok()
    await publish(ann)
    other = await scene.hearth.user("ben")
    room = (await other.post(f"{V3}/createRoom", {"preset": "public_chat"})).ok()["room_id"]
    await peer.join(RoomID(room), peer.user("eve"))
    await publish(other)
    assert [update["user_id"] for update in await told(peer, 1)] == [other.user_id]
