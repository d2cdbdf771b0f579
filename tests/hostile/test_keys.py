"""Servers whose keys of devices people here ask for in vain, or get too much of.

https://spec.matrix.org/v1.19/server-server-api/#end-to-end-encryption
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from federation.identifiers import RoomID
from homeserver.e2ee.queries import _MOST_ASKED
from homeserver.storage import destinations
from tests.client_server.keyring import Device
from tests.database import Server
from tests.federation.net.loopback import Authority
from tests.hostile.test_answers import Endless
from tests.hostile.test_gaps import Never, released
from tests.server_server.answering import peering
from tests.server_server.conftest import V3
from tests.server_server.peer import Peer
from tests.servers import Client, Hearth, eventually, federating

__all__ = ["released"]


class Keys(NamedTuple):
    """Two servers of whose people Ann wants keys: one means no good."""

    hearth: Hearth
    peer: Peer
    honest: Peer
    ann: Client

    def ask(self, what: str) -> Any:
        """Of Eve and of Sam, in half a second."""
        eve, sam = self.peer.user("eve"), self.honest.user("sam")
        if what == "query":
            return self.ann.post(f"{V3}/keys/query", body(device_keys={eve: [], sam: []}))
        one = {"D": "signed_curve25519"}
        return self.ann.post(f"{V3}/keys/claim", body(one_time_keys={eve: one, sam: one}))


def body(**wanted: Any) -> dict[str, Any]:
    return {"timeout": 500, **wanted}


@pytest.fixture
async def keys(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> AsyncIterator[Keys]:
    async with (
        federating(postgres, tmp_path, loopback_authority) as hearth,
        peering(hearth, loopback_authority) as peer,
        peering(hearth, loopback_authority) as honest,
    ):
        sam = honest.user("sam")
        said = {"device_keys": {sam: {"D": {"user_id": sam, "device_id": "D"}}},
                "one_time_keys": {sam: {"D": {"signed_curve25519:A": {"key": "x"}}}}}  # fmt: skip
        honest.lies["user"] = lambda _: said
        yield Keys(hearth, peer, honest, await hearth.user("ann"))


@pytest.mark.parametrize("what", ["query", "claim"])
async def test_keys_that_do_not_come(keys: Keys, released: asyncio.Event, what: str) -> None:
    """The other server's come in time, and it is told whose did not."""
    section = "device_keys" if what == "query" else "one_time_keys"
    lies: list[Any] = [lambda _: Never(released), lambda _: Endless(b'{"a":' * 10_000)]
    for lie in lies:
        keys.peer.lies["user"] = lie
        async with asyncio.timeout(10):
            answer = (await keys.ask(what)).ok()
        assert list(answer["failures"]) == [keys.peer.name]
        assert list(answer[section]) == [keys.honest.user("sam")]


async def test_keys_that_others_never_had(keys: Keys) -> None:
    """A server speaks for its own people only, and for those that it was asked of."""
    ann, sam, eve = keys.ann, keys.honest.user("sam"), keys.peer.user("eve")
    (await ann.post(f"{V3}/keys/upload", {"device_keys": Device.of(ann).keys()})).ok()
    names = (ann.user_id, sam, eve, keys.peer.user("other"), "nobody", "")
    forged = {"keys": {}, "algorithms": [], "forged": True}
    lie = {
        "device_keys": {name: {"D": forged} for name in names},
        "master_keys": {name: {"forged": True} for name in names},
        "self_signing_keys": {name: {"forged": True} for name in names},
        "user_signing_keys": {name: {"forged": True} for name in names},
        "one_time_keys": {name: {"D": {"signed_curve25519:A": {"forged": True}}} for name in names},
        "failures": {sam: {}, keys.honest.name: {"errcode": "M_FORGED"}},
    }
    keys.peer.lies["user"] = lambda _: lie
    found = (await ann.post(f"{V3}/keys/query", body(device_keys={
        ann.user_id: [], sam: [], eve: []}))).ok()  # fmt: skip
    claimed = (await keys.ask("claim")).ok()
    for answer in (found, claimed):
        assert answer["failures"] == {}
        for section in answer.values():
            told = {name: keys for name, keys in section.items() if "forged" in str(keys)}
            assert told.keys() <= {eve}
    assert "forged" in str(claimed["one_time_keys"])


async def test_many_servers_at_once(
    keys: Keys, released: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever names many has only some of them asked at a time, and an answer in time."""
    under_way = most = 0

    class Counting:
        async def query_keys(self, _server: str, _wanted: Any) -> Any:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            try:
                await released.wait()
            finally:
                under_way -= 1

    monkeypatch.setattr(keys.hearth.parts.encryption.queries, "_peers", Counting())
    names: dict[str, list[str]] = {f"@u:s{number}.test": [] for number in range(900)}
    async with asyncio.timeout(10):
        answer = (await keys.ann.post(f"{V3}/keys/query", body(device_keys=names))).ok()
    assert len(answer["failures"]) == len(names)
    assert most == _MOST_ASKED
    assert under_way == 0


@pytest.mark.parametrize("what", ["query", "claim"])
async def test_who_answers_is_asked_before_many_who_do_not(
    keys: Keys, released: asyncio.Event, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Not all are asked at once, and whoever is silent takes all the time there is."""
    monkeypatch.setattr("homeserver.e2ee.queries._MOST_ASKED", 1)
    wanted = {"preset": "public_chat", "room_version": "11"}
    room = RoomID((await keys.ann.post(f"{V3}/createRoom", wanted)).ok()["room_id"])
    await keys.honest.join(room, keys.honest.user("olga"))
    said = {"msgtype": "m.text", "body": "are you there?"}
    (await keys.ann.put(f"{V3}/rooms/{room}/send/m.room.message/1", said)).ok()
    process = keys.hearth.parts.base.process

    async def is_known() -> bool:
        async with process.database.reader() as conn:
            nids = await process.numbers.servers.find(conn, [keys.honest.name])
            return bool(await destinations.answering(conn, nids.values()))

    await eventually(is_known)
    keys.peer.lies["user"] = lambda _: Never(released)
    answer = (await keys.ask(what)).ok()
    assert list(answer["failures"]) == [keys.peer.name]
