"""What is queued for other servers while something later is on its way to them.

https://spec.matrix.org/v1.19/server-server-api/#transactions
"""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from federation.canonical_json import JsonObject
from federation.identifiers import RoomID
from homeserver.storage import federation_reads
from homeserver.storage.log import Kind
from homeserver.storage.pool import Connection
from tests.federation.net.loopback import Authority
from tests.server_server.answering import peering
from tests.server_server.conftest import V3, Scene
from tests.server_server.peer import Peer
from tests.servers import Client, eventually

_EDU = "m.direct_to_device"


class _Slow:
    """A peer that answers only when it may, and perhaps fails once; what it is told is noted."""

    def __init__(self, peer: Peer, *, fails: bool = False) -> None:
        self._answering, self._peer, self._fails = asyncio.Event(), peer, fails
        peer.told.clear()
        peer.lies["send"] = self._answer

    async def _answer(self, found: Any) -> Any:
        await self._answering.wait()
        self._fails, fails = False, self._fails
        return web.json_response({}, status=502) if fails else found

    async def is_asked(self) -> bool:
        return bool(self._peer.told)

    def answer(self) -> None:
        self._answering.set()

    @property
    def events(self) -> list[JsonObject]:
        return [event for transaction in self._peer.told for event in transaction["pdus"]]


async def _room(ann: Client, peer: Peer) -> RoomID:
    body = {"preset": "public_chat", "room_version": "11"}
    room = RoomID((await ann.post(f"{V3}/createRoom", body)).ok()["room_id"])
    await peer.join(room, peer.user("eve"))
    return room


async def test_a_join_that_is_passed_on_late(
    scene: Scene, loopback_authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others in the room learn of who came in through us, whatever was said elsewhere meanwhile."""
    room = await _room(scene.ann, scene.peer)
    slow, forward = _Slow(scene.peer), federation_reads.forward

    async def late(conn: Connection, *args: Any) -> int | None:
        await scene.say("meanwhile")
        await eventually(slow.is_asked)
        return await forward(conn, *args)

    monkeypatch.setattr(federation_reads, "forward", late)
    async with peering(scene.hearth, loopback_authority) as third:
        joe = third.user("joe")
        await third.join(room, joe)
        slow.answer()

        async def is_told() -> bool:
            return any((e["room_id"], e.get("state_key")) == (room, joe) for e in slow.events)

        await eventually(is_told)


@pytest.mark.parametrize("fails", [False, True])
async def test_an_edu_that_is_written_late(scene: Scene, fails: bool) -> None:
    """As by somebody who tells many servers at once: it had its number before others had theirs."""
    process, peer = scene.hearth.parts.base.process, scene.peer
    async with process.database.reader() as conn:
        server = (await process.numbers.servers.intern(conn, [peer.name]))[peer.name]
        early = await conn.fetchval("SELECT nextval('outgoing_edus_edu_nid_seq')")
    slow = _Slow(peer, fails=fails)
    body = {"messages": {peer.user("eve"): {"*": {"nr": 2}}}}
    (await scene.ann.put(f"{V3}/sendToDevice/test.kind/2", body)).ok()
    await eventually(slow.is_asked)
    async with process.database.reader() as conn:
        await conn.execute(
            """
            INSERT INTO outgoing_edus (edu_nid, server_nid, type, content)
            OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, '{"messages": {"nr": 1}}')
            """,
            early,
            server,
            _EDU,
        )
        pos = await conn.fetchval(
            "SELECT append_log(ARRAY[$1::smallint], ARRAY[NULL::bigint], ARRAY[NULL::bigint], "
            "ARRAY[$2::bigint])",
            Kind.OUTGOING,
            server,
        )
    process.committed(pos)
    slow.answer()

    async def is_told() -> bool:
        await peer.send()  # who shows life is tried again
        return any(told["messages"] == {"nr": 1} for told in peer.heard(_EDU))

    await eventually(is_told)
