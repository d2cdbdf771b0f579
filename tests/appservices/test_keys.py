"""Bridges that keep the keys of their users themselves: MSC3983 and MSC3984."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from homeserver.config.settings import AppServices
from tests.bridge import Bridge, answering, bot, ghost, registration
from tests.client_server.keyring import Device, key_of
from tests.database import Server
from tests.federation.net.loopback import Authority
from tests.servers import Client, Hearth, federating

V3 = "/_matrix/client/v3"
CLAIM = "/_matrix/app/unstable/org.matrix.msc3983/keys/claim"
QUERY = "/_matrix/app/unstable/org.matrix.msc3984/keys/query"
ALGORITHM = "signed_curve25519"


class Keeper:
    """A bridge that keeps keys, two servers, and somebody on each."""

    def __init__(self, bridge: Bridge, one: Hearth, ann: Client, eve: Client, user: str) -> None:
        self.bridge, self.irc = bridge, bot(one)
        self.ann, self.eve, self.user = ann, eve, user
        self.answers: dict[str, Any] = {}
        bridge.respond = self._respond

    def _respond(self, request: web.BaseRequest) -> web.Response | None:
        if request.path not in {CLAIM, QUERY}:
            return None
        answer = self.answers.get(request.path)
        if answer is None:
            return web.json_response({"errcode": "M_UNRECOGNIZED"}, status=404)
        return web.json_response(answer)

    def asked(self, path: str) -> list[Any]:
        return [asked.body for asked in self.bridge.asked if asked.path == path]

    async def query(self, who: Client, *devices: str) -> Any:
        body = {"device_keys": {self.user: list(devices)}}
        return (await who.post(f"{V3}/keys/query", body)).ok()

    async def claim(self, who: Client, device: str = "GHOST") -> Any:
        body = {"one_time_keys": {self.user: {device: ALGORITHM}}}
        found = (await who.post(f"{V3}/keys/claim", body)).ok()["one_time_keys"]
        return found.get(self.user, {}).get(device)

    def device(self, name: str) -> Device:
        return Device(self.user, name, key_of(self.user, name))

    async def add(self, device: Device, **more: Any) -> None:
        """The bridge makes a device here, and uploads keys of it."""
        await self.irc.put(f"{V3}/devices/{device.device_id}", user_id=self.user)
        query = {"user_id": self.user, "device_id": device.device_id}
        body = {"device_keys": device.keys(), **more}
        (await self.irc.post(f"{V3}/keys/upload", body, **query)).ok()


@pytest.fixture
async def keeper(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> AsyncIterator[Keeper]:
    async with answering(Bridge()) as bridge:
        file = tmp_path / "registration.yaml"
        file.write_text(json.dumps(registration(bridge.port)))
        services = AppServices(files=(file,))
        async with (
            federating(postgres, tmp_path, loopback_authority, 1, appservices=services) as one,
            federating(postgres, tmp_path, loopback_authority, 2) as two,
        ):
            user = await ghost(bot(one), "_irc_ghost")
            yield Keeper(bridge, one, await one.user("ann"), await two.user("eve"), user)


async def test_devices_that_only_the_bridge_knows(keeper: Keeper) -> None:
    kept, other = keeper.device("KEPT").keys(), keeper.device("OTHER").keys()
    await keeper.add(keeper.device("KNOWN"))
    master = {"user_id": keeper.user, "usage": ["master"], "keys": {"ed25519:m": "m"}}
    keeper.answers[QUERY] = {
        "device_keys": {keeper.user: {"KEPT": kept, "OTHER": other}, keeper.ann.user_id: {"X": {}}},
        "master_keys": {keeper.user: master},
        "user_signing_keys": {keeper.user: {"usage": ["user_signing"]}},
    }
    for who in (keeper.ann, keeper.eve):
        found = await keeper.query(who)
        assert set(found["device_keys"][keeper.user]) == {"KEPT", "OTHER", "KNOWN"}
        assert found["device_keys"][keeper.user]["KEPT"] == kept
        assert found["master_keys"] == {keeper.user: master}
        # What only the user may see, and what it says of others, is nobody's.
        assert keeper.user not in found.get("user_signing_keys", {})
        assert keeper.ann.user_id not in found["device_keys"]
        assert set((await keeper.query(who, "KEPT"))["device_keys"][keeper.user]) == {"KEPT"}
    # The other server may ask for its own part, too: it follows the list.
    asked = [list(body[keeper.user]) for body in keeper.asked(QUERY)]
    assert asked[0] == []
    assert ["KEPT"] in asked
    assert all(devices in ([], ["KEPT"]) for devices in asked)


@pytest.mark.parametrize("answer", [[], {"device_keys": []}, {"device_keys": {"x": 1}}, "no"])
async def test_nonsense_is_nothing(keeper: Keeper, answer: Any) -> None:
    keeper.answers = {QUERY: answer, CLAIM: answer}
    assert (await keeper.query(keeper.ann))["device_keys"] == {keeper.user: {}}
    assert await keeper.claim(keeper.ann) is None


async def test_one_time_keys_of_the_bridge(keeper: Keeper) -> None:
    """Once ours are used up; its own before the fallback key."""
    device = keeper.device("GHOST")
    ours, last = device.one_time_key("ours"), device.one_time_key("last", is_fallback=True)
    one_time, fallback = {ours.name: ours.value}, {last.name: last.value}
    await keeper.add(device, one_time_keys=one_time, fallback_keys=fallback)
    theirs = {f"{ALGORITHM}:theirs": {"key": "theirs"}}
    keeper.answers[CLAIM] = {keeper.user: {"GHOST": {"other:1": {"key": "no"}, **theirs}}}
    assert await keeper.claim(keeper.ann) == one_time
    assert keeper.asked(CLAIM) == []
    assert await keeper.claim(keeper.ann) == theirs
    assert await keeper.claim(keeper.eve) == theirs
    assert keeper.asked(CLAIM) == [{keeper.user: {"GHOST": [ALGORITHM]}}] * 2
    keeper.answers[CLAIM] = {}
    assert await keeper.claim(keeper.eve) == fallback


async def test_who_knows_nothing_of_it_is_left_alone(keeper: Keeper) -> None:
    for _ in range(3):
        await keeper.query(keeper.ann)
        await keeper.claim(keeper.ann)
    assert (len(keeper.asked(QUERY)), len(keeper.asked(CLAIM))) == (1, 1)
    # And of people that are not its own it is never asked.
    body: dict[str, Any] = {"device_keys": {keeper.ann.user_id: []}}
    (await keeper.eve.post(f"{V3}/keys/query", body)).ok()
    assert len(keeper.asked(QUERY)) == 1
