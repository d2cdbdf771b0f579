"""Keys of devices: uploaded, found, and taken.

https://spec.matrix.org/v1.19/client-server-api/#key-management-api
"""

import asyncio
from typing import Any

import pytest

from tests.client_server.keyring import Device, OneTimeKey, cross_signing_keys, public
from tests.servers import Client, Hearth, eventually
from tests.statements import Asked

V3 = "/_matrix/client/v3"


async def claim(client: Client, of: Device, algorithm: str = "signed_curve25519") -> dict[str, Any]:
    """The one-time key that is handed out, by its ID; empty if there is none."""
    wanted = {"one_time_keys": {of.user_id: {of.device_id: algorithm}}}
    answer = (await client.post(f"{V3}/keys/claim", wanted)).ok()
    found: dict[str, Any] = answer["one_time_keys"].get(of.user_id, {}).get(of.device_id, {})
    return found


async def test_device_keys_are_found_by_others(hearth: Hearth) -> None:
    ann, ben = await hearth.user("ann", "PHONE"), await hearth.user("ben")
    phone = Device.of(ann)
    (await ann.put(f"{V3}/devices/PHONE", {"display_name": "Ann's phone"})).ok()
    answer = (await ann.post(f"{V3}/keys/upload", {"device_keys": phone.keys()})).ok()
    assert answer == {"one_time_key_counts": {"signed_curve25519": 0}}
    found = (await ben.post(f"{V3}/keys/query", {"device_keys": {ann.user_id: []}})).ok()
    shown = found["device_keys"][ann.user_id]["PHONE"]
    # What the owner calls a device is nobody else's business.
    assert "device_display_name" not in shown.get("unsigned", {})
    assert shown["keys"] == phone.keys()["keys"]
    assert shown["signatures"] == phone.keys()["signatures"]
    own = (await ann.post(f"{V3}/keys/query", {"device_keys": {ann.user_id: ["PHONE"]}})).ok()
    shown = own["device_keys"][ann.user_id]["PHONE"]
    assert shown["unsigned"]["device_display_name"] == "Ann's phone"
    nobody = {ann.user_id: ["TABLET"], "@nobody:one.test": []}
    found = (await ben.post(f"{V3}/keys/query", {"device_keys": nobody})).ok()
    assert found["device_keys"].get(ann.user_id, {}) == {}
    assert (
        "@nobody:one.test" not in found["device_keys"]
        or not found["device_keys"]["@nobody:one.test"]
    )


async def test_device_keys_must_be_the_devices_own(hearth: Hearth) -> None:
    ann = await hearth.user("ann", "PHONE")
    phone = Device.of(ann)
    wrong = [
        {**phone.keys(), "user_id": "@ben:one.test"},
        {**phone.keys(), "device_id": "TABLET"},
        {**phone.keys(), "keys": {"ed25519:PHONE": public(phone.key)[:-1]}},
        {k: v for k, v in phone.keys().items() if k != "signatures"},
        {**phone.keys(), "algorithms": "m.olm"},
        {**phone.keys(), "keys": []},
        {**phone.keys(), "extra": "unsigned"},
    ]
    for keys in wrong:
        answer = await ann.post(f"{V3}/keys/upload", {"device_keys": keys})
        assert answer.status == 400, keys
        assert answer.errcode in {
            "M_INVALID_PARAM",
            "M_BAD_JSON",
            "M_MISSING_PARAM",
            "M_INVALID_SIGNATURE",
        }
    found = (await ann.post(f"{V3}/keys/query", {"device_keys": {ann.user_id: []}})).ok()
    assert found["device_keys"].get(ann.user_id, {}) == {}


async def test_one_time_keys_go_first_in_first_out(hearth: Hearth) -> None:
    ann, ben = await hearth.user("ann", "PHONE"), await hearth.user("ben")
    phone = Device.of(ann)
    keys = [phone.one_time_key(f"K{number}") for number in range(5)]
    for key in keys:
        await ann.post(f"{V3}/keys/upload", {"one_time_keys": {key.name: key.value}})
    fallback = phone.one_time_key("LAST", is_fallback=True)
    answer = (
        await ann.post(f"{V3}/keys/upload", {"fallback_keys": {fallback.name: fallback.value}})
    ).ok()
    assert answer["one_time_key_counts"]["signed_curve25519"] == 5
    taken = [list(await claim(ben, phone)) for _ in range(7)]
    assert taken == [[key.name] for key in keys] + [[fallback.name]] * 2
    sync = (await ann.get(f"{V3}/sync", timeout=0)).ok()
    assert sync["device_one_time_keys_count"]["signed_curve25519"] == 0
    assert sync["device_unused_fallback_key_types"] == []
    assert await claim(ben, phone, "curve25519") == {}


async def test_the_same_key_again_is_fine_and_another_is_not(hearth: Hearth) -> None:
    ann = await hearth.user("ann", "PHONE")
    phone = Device.of(ann)
    key = phone.one_time_key("K1")
    other = OneTimeKey(key.name, phone.one_time_key("K2").value)
    upload = f"{V3}/keys/upload"
    (await ann.post(upload, {"one_time_keys": {key.name: key.value}})).ok()
    counts = (await ann.post(upload, {"one_time_keys": {key.name: key.value}})).ok()
    assert counts["one_time_key_counts"]["signed_curve25519"] == 1
    answer = await ann.post(upload, {"one_time_keys": {other.name: other.value}})
    assert (answer.status, answer.errcode) == (400, "M_INVALID_PARAM")


async def test_many_who_claim_at_once_get_a_key_each(hearth: Hearth) -> None:
    ann, ben = await hearth.user("ann", "PHONE"), await hearth.user("ben")
    phone = Device.of(ann)
    keys = [phone.one_time_key(f"K{number:03}") for number in range(100)]
    upload = {"one_time_keys": {key.name: key.value for key in keys}}
    (await ann.post(f"{V3}/keys/upload", upload)).ok()
    taken = await asyncio.gather(*(claim(ben, phone) for _ in range(100)))
    names = [name for found in taken for name in found]
    assert len(names) == len(set(names)) == 100


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("keys/query", {"device_keys": {"@ann:one.test": {}}}),
        ("keys/query", {"device_keys": {"@ann:one.test": "PHONE"}}),
        ("keys/query", {"device_keys": []}),
        ("keys/query", {}),
        ("keys/claim", {"one_time_keys": {"@ann:one.test": []}}),
        ("keys/claim", {"one_time_keys": {"@ann:one.test": {"PHONE": 1}}}),
        ("keys/claim", {}),
        ("keys/upload", {"one_time_keys": []}),
        ("keys/upload", {"one_time_keys": {"nocolon": "x"}}),
        ("keys/upload", {"fallback_keys": {"signed_curve25519:A": 5}}),
    ],
)
async def test_bad_bodies(hearth: Hearth, path: str, body: Any) -> None:
    ann = await hearth.user("ann", "PHONE")
    answer = await ann.post(f"{V3}/{path}", body)
    assert answer.status == 400, answer.json
    assert answer.errcode in {"M_BAD_JSON", "M_INVALID_PARAM", "M_MISSING_PARAM"}


async def test_who_shares_a_room_learns_of_new_devices(hearth: Hearth) -> None:
    ann, ben, eve = [await hearth.user(name) for name in ("ann", "ben", "eve")]
    room = (await ann.post(f"{V3}/createRoom", {"preset": "public_chat"})).ok()["room_id"]
    (await ben.post(f"{V3}/join/{room}")).ok()
    tokens = {
        who: (await who.get(f"{V3}/sync", timeout=0)).ok()["next_batch"] for who in (ben, eve)
    }
    (await ann.post(f"{V3}/keys/upload", {"device_keys": Device.of(ann).keys()})).ok()
    for who, expected in ((ben, [ann.user_id]), (eve, [])):
        news = (await who.get(f"{V3}/sync", timeout=0, since=tokens[who])).ok()
        assert news.get("device_lists", {}).get("changed", []) == expected
        changes = (
            await who.get(f"{V3}/keys/changes", **{"from": tokens[who], "to": news["next_batch"]})
        ).ok()
        assert changes["changed"] == expected
    (await ann.post(f"{V3}/rooms/{room}/leave")).ok()
    left = (await ben.get(f"{V3}/sync", timeout=0, since=tokens[ben])).ok()["device_lists"]
    assert left["left"] == [ann.user_id]


async def test_cross_signing(hearth: Hearth) -> None:
    ann, ben = await hearth.user("ann", "PHONE"), await hearth.user("ben")
    phone = Device.of(ann)
    (await ann.post(f"{V3}/keys/upload", {"device_keys": phone.keys()})).ok()
    keys = cross_signing_keys(ann.user_id)
    (await ann.post(f"{V3}/keys/device_signing/upload", keys.upload())).ok()
    found = (await ben.post(f"{V3}/keys/query", {"device_keys": {ann.user_id: []}})).ok()
    assert found["master_keys"][ann.user_id]["keys"] == keys.upload()["master_key"]["keys"]
    assert ann.user_id in found["self_signing_keys"]
    # "user_signing_keys: [...] only shown to the user that owns them".
    assert ann.user_id not in found.get("user_signing_keys", {})
    own = (await ann.post(f"{V3}/keys/query", {"device_keys": {ann.user_id: []}})).ok()
    assert ann.user_id in own["user_signing_keys"]
    signed = keys.sign(phone.keys())
    answer = (await ann.post(f"{V3}/keys/signatures/upload", {ann.user_id: {"PHONE": signed}})).ok()
    assert answer["failures"] == {}
    found = (await ben.post(f"{V3}/keys/query", {"device_keys": {ann.user_id: []}})).ok()
    signatures = found["device_keys"][ann.user_id]["PHONE"]["signatures"][ann.user_id]
    assert len(signatures) == 2
    bad = {**signed, "signatures": {ann.user_id: {keys.self_signing_name: "A" * 86}}}
    answer = (await ann.post(f"{V3}/keys/signatures/upload", {ann.user_id: {"PHONE": bad}})).ok()
    assert answer["failures"][ann.user_id]["PHONE"]["errcode"] == "M_INVALID_SIGNATURE"


async def test_many_signatures_cost_no_more_statements(hearth: Hearth, asked: Asked) -> None:
    """Whoever made them."""
    ann = await hearth.user("ann", "PHONE")
    phone, keys = Device.of(ann), cross_signing_keys(ann.user_id)
    (await ann.post(f"{V3}/keys/upload", {"device_keys": phone.keys()})).ok()
    (await ann.post(f"{V3}/keys/device_signing/upload", keys.upload())).ok()
    signed = keys.sign(phone.keys())
    counts = []
    for number in (1, 20):
        made = {**signed["signatures"][ann.user_id]}
        made |= {f"ed25519:{name}": "A" * 86 for name in range(number)}
        shown = {**signed, "signatures": {ann.user_id: made}}
        others = {f"@ben:{hearth.name}": {f"{name}": shown for name in range(number)}}

        async def upload(body: Any = {ann.user_id: {"PHONE": shown}, **others}) -> None:  # noqa: B006
            assert (await ann.post(f"{V3}/keys/signatures/upload", body)).ok()["failures"] == {}

        # What others are told of new keys goes on behind, and asks as well.
        counts.append(min([len(await asked.by(upload)) for _ in range(4)]))
    assert counts[0] == counts[1]


async def test_replacing_cross_signing_keys_asks_who_one_is(hearth: Hearth) -> None:
    ann = await hearth.user("ann", "PHONE")
    first, second = cross_signing_keys(ann.user_id), cross_signing_keys(ann.user_id, "2")
    path = f"{V3}/keys/device_signing/upload"
    (await ann.post(path, first.upload())).ok()
    # The same again changes nothing, so nothing is asked.
    (await ann.post(path, first.upload())).ok()
    answer = await ann.post(path, second.upload())
    assert answer.status == 401
    assert answer.json["flows"]
    found = (await ann.post(f"{V3}/keys/query", {"device_keys": {ann.user_id: []}})).ok()
    assert found["master_keys"][ann.user_id]["keys"] == first.upload()["master_key"]["keys"]


async def test_keys_of_another_servers_people(pair: tuple[Hearth, Hearth]) -> None:
    here, there = pair
    ann, ben = await here.user("ann", "PHONE"), await there.user("ben", "LAPTOP")
    phone = Device.of(ann)
    key = phone.one_time_key("K1")
    upload = {"device_keys": phone.keys(), "one_time_keys": {key.name: key.value}}
    (await ann.post(f"{V3}/keys/upload", upload)).ok()
    (
        await ann.post(f"{V3}/keys/device_signing/upload", cross_signing_keys(ann.user_id).upload())
    ).ok()
    found = (await ben.post(f"{V3}/keys/query", {"device_keys": {ann.user_id: []}})).ok()
    assert found["failures"] == {}
    assert found["device_keys"][ann.user_id]["PHONE"]["keys"] == phone.keys()["keys"]
    assert ann.user_id in found["master_keys"]
    assert await claim(ben, phone) == {key.name: key.value}
    assert await claim(ben, phone) == {}


async def test_another_server_tells_of_new_devices(pair: tuple[Hearth, Hearth]) -> None:
    here, there = pair
    ann, ben = await here.user("ann", "PHONE"), await there.user("ben")
    room = (await ann.post(f"{V3}/createRoom", {"preset": "public_chat"})).ok()["room_id"]
    (await ben.post(f"{V3}/join/{room}", server_name=here.name)).ok()
    since = (await ben.get(f"{V3}/sync", timeout=0)).ok()["next_batch"]
    (await ann.post(f"{V3}/keys/upload", {"device_keys": Device.of(ann).keys()})).ok()

    async def told() -> bool:
        news = (await ben.get(f"{V3}/sync", timeout=0, since=since)).ok()
        return ann.user_id in news.get("device_lists", {}).get("changed", [])

    await eventually(told)


async def test_a_server_that_is_away_is_named(pair: tuple[Hearth, Hearth]) -> None:
    here, there = pair
    ben = await there.user("ben")
    await here.workers[0].stop()
    wanted = {"device_keys": {f"@ann:{here.name}": []}, "timeout": 500}
    found = (await ben.post(f"{V3}/keys/query", wanted)).ok()
    assert here.name in found["failures"]
