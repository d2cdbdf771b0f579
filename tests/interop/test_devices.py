"""Devices of Hearth and a stock Synapse: each server knows of the other's, after outages too.

https://spec.matrix.org/v1.19/server-server-api/#device-management
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.client_server.keyring import Device, key_of
from tests.interop.world import HOSTS, Person, World, agree, until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("interop devices")]


async def _together(world: World, host: str) -> tuple[Person, Person]:
    owner, guest = await world.both(host)
    room_id = await owner.create(preset="public_chat")
    await guest.join(room_id, owner)
    await agree(room_id, owner, guest)
    return owner, guest


async def _another(world: World, who: Person) -> tuple[Person, str]:
    """The same person on a new device, which has keys; and its ID."""
    if who.server is world.hearth:
        client = await world.hearth.log_in(who.user_id)
        found = Person(who.server, who.user_id, str(client.token))
    else:
        login = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": who.user_id},
            "password": "password",
        }
        answer = await who.post("/login", login)
        found = Person(who.server, who.user_id, answer["access_token"])
    return found, await _publish(found)


async def _publish(who: Person) -> str:
    device: str = (await who.get("/account/whoami"))["device_id"]
    made = Device(who.user_id, device, key_of(who.user_id, device))
    await who.post("/keys/upload", {"device_keys": made.keys()})
    return device


async def _devices(reader: Person, of: Person) -> set[str]:
    answer = await reader.post("/keys/query", {"device_keys": {of.user_id: []}})
    return set(answer["device_keys"].get(of.user_id, {}))


def _shows(reader: Person, of: Person, expected: set[str]) -> Callable[[], Awaitable[bool]]:
    async def shown() -> bool:
        return await _devices(reader, of) == expected

    return shown


async def _told(reader: Person, of: Person) -> None:
    async def changed() -> bool:
        lists = (await reader.sync()).get("device_lists", {})
        return of.user_id in lists.get("changed", [])

    await until(changed)


async def _looked(reader: Person, of: Person) -> None:
    """Look at whoever changed, as clients do, until nobody did."""

    async def nothing_is_new() -> bool:
        changed = (await reader.sync()).get("device_lists", {}).get("changed", [])
        await _devices(reader, of)
        return of.user_id not in changed

    await until(nothing_is_new)


@HOSTS
async def test_new_and_deleted_devices(between: World, host: str) -> None:
    """Each is told of to who reads, and found; the first by a query, the others by updates."""
    owner, guest = await _together(between, host)
    for one, other in ((owner, guest), (guest, owner)):
        first = await _publish(one)
        await until(_shows(other, one, {first}))
        await _looked(other, one)
        more, second = await _another(between, one)
        await _told(other, one)
        await until(_shows(other, one, {first, second}))
        third, name = await _another(between, one)
        await until(_shows(other, one, {first, second, name}))
        await _looked(other, one)
        await more.post("/logout")
        await _told(other, one)
        await until(_shows(other, one, {first, name}))
        await third.post("/logout")
        await until(_shows(other, one, {first}))


@HOSTS
async def test_devices_made_while_apart(between: World, host: str) -> None:
    owner, guest = await _together(between, host)
    first = {owner.user_id: await _publish(owner), guest.user_id: await _publish(guest)}
    for one, other in ((owner, guest), (guest, owner)):
        await until(_shows(other, one, {first[one.user_id]}))
        await _looked(other, one)
    async with between.apart():
        made = {}
        for one in (owner, guest):
            lost, _ = await _another(between, one)
            _, made[one.user_id] = await _another(between, one)
            await lost.post("/logout")
    # Both are heard of once they speak.
    for one, other in ((owner, guest), (guest, owner)):
        room_id = await one.create(preset="public_chat")
        await other.join(room_id, one)
        await one.say(room_id, "here I am")
    for one, other in ((owner, guest), (guest, owner)):
        expected = {first[one.user_id], made[one.user_id]}
        await until(_shows(other, one, expected))


@HOSTS
async def test_a_verification(between: World, host: str) -> None:
    """The messages with which two people compare emoji, there and back."""
    owner, guest = await _together(between, host)
    devices = {who.user_id: await _publish(who) for who in (owner, guest)}
    steps = ("request", "ready", "start", "accept", "key", "key", "mac", "mac", "done")
    for number, step in enumerate(steps):
        one, other = (owner, guest) if number % 2 == 0 else (guest, owner)
        kind, txn = f"m.key.verification.{step}", f"{owner.user_id} {number}"
        content = {"transaction_id": "sas", "from_device": devices[one.user_id], "nr": number}
        messages = {other.user_id: {devices[other.user_id]: content}}
        await one.put(f"/sendToDevice/{kind}/{txn}", {"messages": messages})
        events: Any = await other.sees(("to_device", "events"))
        assert events == [{"type": kind, "sender": one.user_id, "content": content}]
