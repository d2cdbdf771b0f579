"""Dehydrated devices (MSC3814): messages for who has no other device wait for their next login."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from homeserver.e2ee import dehydrated_devices
from tests.client_server.keyring import Device, cross_signing_keys, key_of, public
from tests.client_server.test_to_device import received, send
from tests.database import Server
from tests.servers import Client, Hearth, eventually, own_database, serving, test_settings

V3 = "/_matrix/client/v3"
PATH = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"
DATA = {"algorithm": "org.matrix.msc3814.v2", "device_pickle": "sealed", "nonce": "n"}


def dry(owner: Client, name: str = "dry") -> Device:
    """A device whose ID is its identity key, as clients make them: with `/` and `+` perhaps."""
    device_id = public(key_of(owner.user_id, name))
    return Device(owner.user_id, device_id, key_of(owner.user_id, device_id))


def offered(device: Device, keys: int = 1) -> dict[str, Any]:
    """As a client leaves it here."""
    one_time = [device.one_time_key(f"k{n}") for n in range(keys)]
    spare = device.one_time_key("spare", is_fallback=True)
    return {
        "device_id": device.device_id,
        "device_data": DATA,
        "initial_device_display_name": "Dehydrated device",
        "device_keys": device.keys(),
        "one_time_keys": dict(one_time),
        "fallback_keys": {spare.name: spare.value},
    }


def events_of(device: Device) -> str:
    return f"{PATH}/{quote(device.device_id, safe='')}/events"


async def devices_of(owner: Client, reader: Client) -> dict[str, Any]:
    """The keys of somebody's devices, as others see them."""
    asked: dict[str, Any] = {"device_keys": {owner.user_id: []}}
    found: dict[str, Any] = (await reader.post(f"{V3}/keys/query", asked)).ok()["device_keys"]
    shown: dict[str, Any] = found.get(owner.user_id, {})
    return shown


async def device_ids(owner: Client) -> list[str]:
    return [one["device_id"] for one in (await owner.get(f"{V3}/devices")).ok()["devices"]]


@pytest.fixture
async def ann(hearth: Hearth) -> Client:
    return await hearth.user("ann", "PHONE")


@pytest.fixture
async def ben(hearth: Hearth) -> Client:
    return await hearth.user("ben", "DESK")


async def test_it_has_keys_and_gets_messages(ann: Client, ben: Client) -> None:
    missing = await ann.get(PATH)
    assert (missing.status, missing.errcode) == (404, "M_NOT_FOUND")
    device = dry(ann)
    assert (await ann.put(PATH, offered(device))).ok() == {"device_id": device.device_id}
    assert (await ann.get(PATH)).ok() == {"device_id": device.device_id, "device_data": DATA}
    shown = await devices_of(ann, ben)
    assert shown[device.device_id]["keys"] == device.keys()["keys"]
    wanted = {"one_time_keys": {ann.user_id: {device.device_id: "signed_curve25519"}}}
    for name in ("k0", "spare", "spare"):
        keys = (await ben.post(f"{V3}/keys/claim", wanted)).ok()["one_time_keys"]
        assert list(keys[ann.user_id][device.device_id]) == [f"signed_curve25519:{name}"]
    await send(ben, {ann.user_id: {device.device_id: {"n": 1}}}, "1")
    await send(ben, {ann.user_id: {"*": {"n": 2}}}, "2")
    found = (await ann.get(events_of(device))).ok()
    assert [event["content"]["n"] for event in found["events"]] == [1, 2]
    assert found["events"][0]["sender"] == ben.user_id
    # Another device reads them, and they stay until the device is gone.
    tablet = await ann.log_in_again("TABLET")
    assert (await tablet.get(events_of(device))).ok() == found
    assert (await tablet.delete(PATH)).ok() == {"device_id": device.device_id}
    assert (await tablet.get(PATH)).status == (await tablet.delete(PATH)).status == 404
    assert (await tablet.get(events_of(device))).errcode == "M_FORBIDDEN"
    assert sorted(await device_ids(ann)) == ["PHONE", "TABLET"]


@pytest.mark.parametrize("how", ["get", "post"])
async def test_pages(ann: Client, ben: Client, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last page `GET` has no token; clients that `POST` go on until a page is empty."""
    monkeypatch.setattr(dehydrated_devices, "PAGE", 2)
    device = dry(ann)
    (await ann.put(PATH, offered(device))).ok()
    for number in range(4):
        await send(ben, {ann.user_id: {device.device_id: {"n": number}}}, str(number))
    pages, start = [], None
    for _ in range(9):
        if how == "get":
            page = (await ann.get(events_of(device), **({"from": start} if start else {}))).ok()
        else:
            page = (await ann.post(events_of(device), {"next_batch": start})).ok()
        pages.append([event["content"]["n"] for event in page["events"]])
        start = page.get("next_batch")
        if not (start and page["events"]):
            break
    assert pages == [[0, 1], [2, 3]] + ([[]] if how == "post" else [])


async def test_each_user_has_one_at_most(ann: Client, ben: Client) -> None:
    first, second = dry(ann, "one"), dry(ann, "two")
    (await ann.put(PATH, offered(first))).ok()
    room = (await ann.post(f"{V3}/createRoom", {"preset": "public_chat"})).ok()["room_id"]
    (await ben.post(f"{V3}/join/{room}")).ok()
    since = (await ben.get(f"{V3}/sync")).ok()["next_batch"]
    await send(ben, {ann.user_id: {first.device_id: {}}}, "1")
    (await ann.put(PATH, offered(second))).ok()
    changed = (await ben.get(f"{V3}/sync", since=since)).ok()["device_lists"]["changed"]
    assert changed == [ann.user_id]
    assert sorted(await device_ids(ann)) == sorted(["PHONE", second.device_id])
    # The same device again is a new one: what was sent to it before is gone.
    await send(ben, {ann.user_id: {second.device_id: {}}}, "2")
    assert len((await ann.get(events_of(second))).ok()["events"]) == 1
    (await ann.put(PATH, offered(second))).ok()
    assert (await ann.get(events_of(second))).ok()["events"] == []
    # Of many at a time one stays.
    many = [dry(ann, f"many{n}") for n in range(5)]
    for answer in await asyncio.gather(*(ann.put(PATH, offered(one)) for one in many)):
        answer.ok()
    kept = (await ann.get(PATH)).ok()["device_id"]
    assert kept in {one.device_id for one in many}
    assert sorted(await device_ids(ann)) == sorted(["PHONE", kept])


async def test_other_ways_to_delete_it(ann: Client) -> None:
    tablet = await ann.log_in_again("TABLET")
    device = dry(ann)
    (await ann.put(PATH, offered(device))).ok()
    (await tablet.post(f"{V3}/logout")).ok()
    (await ann.get(PATH)).ok()
    (await ann.post(f"{V3}/logout/all")).ok()
    phone = await ann.log_in_again("PHONE")
    assert (await phone.get(PATH)).status == 404


async def test_only_ones_own(ann: Client, ben: Client) -> None:
    device = dry(ann)
    (await ann.put(PATH, offered(device))).ok()
    for answer in (await ben.get(events_of(device)), await ben.post(events_of(device))):
        assert (answer.status, answer.errcode) == (403, "M_FORBIDDEN")
    assert (await ben.get(PATH)).status == (await ben.delete(PATH)).status == 404
    assert (await ann.get(f"{PATH}/PHONE/events")).errcode == "M_FORBIDDEN"
    answer = await ann.get(events_of(device), **{"from": "h1.2"})
    assert (answer.status, answer.errcode) == (400, "M_INVALID_PARAM")


async def test_what_is_refused_changes_nothing(ann: Client, ben: Client) -> None:
    before = dry(ann)
    (await ann.put(PATH, offered(before))).ok()
    good, other = offered(dry(ann, "new")), offered(dry(ben))
    phone = Device.of(ann)
    for change, errcode in (
        ({"device_id": "PHONE"}, "M_INVALID_PARAM"),
        ({**offered(phone)}, "M_INVALID_PARAM"),
        ({"device_id": ""}, "M_INVALID_PARAM"),
        ({"device_keys": other["device_keys"]}, "M_INVALID_PARAM"),
        ({"device_keys": {}}, "M_INVALID_PARAM"),
        ({"device_keys": None}, "M_BAD_JSON"),
        ({"device_data": {}}, "M_BAD_JSON"),
        ({"device_data": {**DATA, "device_pickle": "x" * 70_000}}, "M_TOO_LARGE"),
        ({"one_time_keys": {"nonsense": "x"}}, "M_INVALID_PARAM"),
        ({"fallback_keys": {"a:b": 5}}, "M_INVALID_PARAM"),
    ):
        answer = await ann.put(PATH, {**good, **change})
        assert answer.errcode == errcode, change
        assert (await ann.get(PATH)).ok()["device_id"] == before.device_id
    for missing in ("device_id", "device_data", "device_keys"):
        answer = await ann.put(PATH, {k: v for k, v in good.items() if k != missing})
        assert (answer.status, answer.errcode) == (400, "M_MISSING_PARAM")
    assert sorted(await device_ids(ann)) == sorted(["PHONE", before.device_id])


async def test_it_is_signed_as_its_owners(ann: Client, ben: Client) -> None:
    keys = cross_signing_keys(ann.user_id)
    (await ann.post(f"{V3}/keys/device_signing/upload", keys.upload())).ok()
    device = dry(ann)
    offer = offered(device)
    offer["device_keys"] = keys.sign({**offer["device_keys"], "dehydrated": True})
    wrong = await ann.put(PATH, offer)
    assert wrong.errcode == "M_INVALID_PARAM", "the device did not sign that it is dehydrated"
    offer["device_keys"] = keys.sign(device.keys())
    (await ann.put(PATH, offer)).ok()
    shown = await devices_of(ann, ben)
    assert keys.self_signing_name in shown[device.device_id]["signatures"][ann.user_id]


async def test_it_waits_over_a_restart(postgres: Server, tmp_path: Path) -> None:
    settings = test_settings("one.test", tmp_path)
    async with own_database(postgres, f"hearth_{id(tmp_path)}") as where:
        async with serving(settings, where) as hearth:
            ann, ben = await hearth.user("ann", "PHONE"), await hearth.user("ben")
            device = dry(ann)
            (await ann.put(PATH, offered(device))).ok()
            await send(ben, {ann.user_id: {device.device_id: {"n": 1}}}, "1")
            (await ann.post(f"{V3}/logout")).ok()
        async with serving(settings, where) as hearth:
            ann = await hearth.log_in("@ann:one.test", "LAPTOP")
            assert (await ann.get(PATH)).ok()["device_data"] == DATA
            (event,) = (await ann.get(events_of(device))).ok()["events"]
            assert event["content"] == {"n": 1}


async def test_other_servers_know_it(pair: tuple[Hearth, Hearth]) -> None:
    here, there = pair
    ann, ben = await here.user("ann"), await there.user("ben")
    room = (await ann.post(f"{V3}/createRoom", {"preset": "public_chat"})).ok()["room_id"]
    (await ben.post(f"{V3}/join/{room}", server_name=here.name)).ok()
    device = dry(ann)
    (await ann.put(PATH, offered(device))).ok()

    async def known() -> bool:
        return device.device_id in await devices_of(ann, ben)

    await eventually(known)
    await send(ben, {ann.user_id: {device.device_id: {"n": 1}}}, "1")

    async def arrived() -> bool:
        return bool((await ann.get(events_of(device))).ok()["events"])

    await eventually(arrived)
    assert (await received(ann))[0] == []
    (await ann.delete(PATH)).ok()

    async def gone() -> bool:
        return not await known()

    await eventually(gone)
