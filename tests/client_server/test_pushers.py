"""Setting pushers, and what becomes of them.

https://spec.matrix.org/v1.19/client-server-api/#push-notifications
"""

import asyncio
from typing import Any

import pytest

from homeserver.push.notifications import NO_BADGE
from tests.servers import Client, Hearth

V3 = "/_matrix/client/v3"
URL = "https://push.example.org/_matrix/push/v1/notify"
ENABLED, DEVICE_ID = "org.matrix.msc3881.enabled", "org.matrix.msc3881.device_id"
LONG_PASSWORD = "long enough it is"


def pusher(key: str = "key", **more: Any) -> dict[str, Any]:
    return {
        "app_id": "org.example.app",
        "pushkey": key,
        "kind": "http",
        "app_display_name": "App",
        "device_display_name": "Phone",
        "profile_tag": "xyz",
        "lang": "en",
        "data": {"url": URL, "format": "event_id_only", "more": {"a": [1]}},
        **more,
    }


async def set_pusher(client: Client, key: str = "key", **more: Any) -> None:
    assert (await client.post(f"{V3}/pushers/set", pusher(key, **more))).ok() == {}


async def keys(client: Client) -> list[str]:
    return [one["pushkey"] for one in (await client.get(f"{V3}/pushers")).ok()["pushers"]]


async def test_setting_changing_and_removing(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    assert (await ann.get(f"{V3}/pushers")).ok() == {"pushers": []}
    await set_pusher(ann)
    said = {ENABLED: True, DEVICE_ID: ann.device_id}
    assert (await ann.get(f"{V3}/pushers")).ok() == {"pushers": [pusher() | said]}
    changed = pusher(lang="de")
    del changed["profile_tag"]
    assert (await ann.post(f"{V3}/pushers/set", changed)).ok() == {}
    assert (await ann.get(f"{V3}/pushers")).ok() == {"pushers": [changed | said]}
    await set_pusher(ann, "other")
    assert await keys(ann) == ["key", "other"]
    for _ in range(2):
        gone = {"app_id": "org.example.app", "pushkey": "key", "kind": None}
        assert (await ann.post(f"{V3}/pushers/set", gone)).ok() == {}
        assert await keys(ann) == ["other"]


async def test_switching_off_and_on_from_another_device(hearth: Hearth) -> None:
    """MSC3881: a pusher that is switched stays with its device; one that is set anew does not."""
    ann = await hearth.user("ann", "PHONE")
    tablet = await ann.log_in_again("TABLET")
    await set_pusher(ann)

    async def said() -> tuple[bool, str]:
        (found,) = (await ann.get(f"{V3}/pushers")).ok()["pushers"]
        return found[ENABLED], found[DEVICE_ID]

    for enabled in (False, True, False):
        (listed,) = (await tablet.get(f"{V3}/pushers")).ok()["pushers"]
        (await tablet.post(f"{V3}/pushers/set", {**listed, ENABLED: enabled})).ok()
        assert await said() == (enabled, "PHONE")
    await set_pusher(tablet)
    assert await said() == (True, "TABLET")
    off: dict[str, Any] = {ENABLED: False}
    await set_pusher(tablet, **off)
    assert await said() == (False, "TABLET")


async def test_apps_that_count_themselves_say_so_either_way(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    data = {"url": URL, NO_BADGE: True}
    for more in ({NO_BADGE: True, "data": {"url": URL}}, {"data": data}):
        await set_pusher(ann, **more)
        (found,) = (await ann.get(f"{V3}/pushers")).ok()["pushers"]
        assert found["data"] == data


async def test_one_key_for_several_people(hearth: Hearth) -> None:
    ann, ben = await hearth.user("ann"), await hearth.user("ben")
    await set_pusher(ann)
    await set_pusher(ben, append=True)
    await set_pusher(ben, app_id="org.example.other")
    assert await keys(ann) == ["key"]
    await set_pusher(ben)
    assert await keys(ann) == []
    assert await keys(ben) == ["key", "key"]


async def test_of_two_at_the_same_time_one_keeps_the_key(hearth: Hearth) -> None:
    people = [await hearth.user(name) for name in ("ann", "ben", "cat", "dan")]
    for _ in range(5):
        await asyncio.gather(*(set_pusher(one) for one in people))
        found = [await keys(one) for one in people]
        assert sorted(map(len, found)) == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("more", "errcode"),
    [
        ({"kind": "email"}, "M_INVALID_PARAM"),
        ({"kind": 5}, "M_BAD_JSON"),
        ({"lang": None}, "M_MISSING_PARAM"),
        ({"data": None}, "M_MISSING_PARAM"),
        ({"data": {}}, "M_INVALID_PARAM"),
        ({"data": {"url": 5}}, "M_INVALID_PARAM"),
        ({"data": {"url": URL.replace("https", "http")}}, "M_INVALID_PARAM"),
        ({"data": {"url": "https://push.example.org/notify"}}, "M_INVALID_PARAM"),
        ({"data": {"url": URL.replace("push.", "a:b@push.")}}, "M_INVALID_PARAM"),
        ({"data": {"url": "https://[::1/_matrix/push/v1/notify"}}, "M_INVALID_PARAM"),
        ({"data": {"url": "https:///_matrix/push/v1/notify"}}, "M_INVALID_PARAM"),
        ({"data": {"url": "https://a:99999/_matrix/push/v1/notify"}}, "M_INVALID_PARAM"),
        ({"data": {"url": URL, "a": "x" * 9000}}, "M_INVALID_PARAM"),
        ({"app_id": "x" * 65}, "M_INVALID_PARAM"),
        ({"app_id": ""}, "M_INVALID_PARAM"),
        ({"pushkey": "ä" * 257}, "M_INVALID_PARAM"),
        ({"pushkey": "a\0b"}, "M_INVALID_PARAM"),
        ({"lang": "x\0"}, "M_INVALID_PARAM"),
        ({"append": "yes"}, "M_BAD_JSON"),
        ({ENABLED: "yes"}, "M_BAD_JSON"),
    ],
)
async def test_what_cannot_be(hearth: Hearth, more: dict[str, Any], errcode: str) -> None:
    ann = await hearth.user("ann")
    answer = await ann.post(f"{V3}/pushers/set", pusher(**more))
    assert (answer.status, answer.errcode) == (400, errcode)
    incomplete = pusher()
    del incomplete["kind"]
    answer = await ann.post(f"{V3}/pushers/set", incomplete)
    assert (answer.status, answer.errcode) == (400, "M_MISSING_PARAM")


async def test_nobody_has_too_many(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    for number in range(100):
        await set_pusher(ann, str(number))
    answer = await ann.post(f"{V3}/pushers/set", pusher("one more"))
    assert (answer.status, answer.errcode) == (400, "M_UNKNOWN")
    await set_pusher(ann, "5")


async def test_pushers_go_with_their_device(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    phone, tablet = await ann.log_in_again("PHONE"), await ann.log_in_again("TABLET")
    for client, key in ((ann, "own"), (phone, "phone"), (tablet, "tablet")):
        await set_pusher(client, key)
    (await phone.post(f"{V3}/logout")).ok()
    assert await keys(ann) == ["own", "tablet"]
    # Whose tokens are new sets its pusher anew.
    tablet = await ann.log_in_again("TABLET")
    assert await keys(ann) == ["own"]
    await set_pusher(tablet, "tablet")
    (await ann.post(f"{V3}/logout/all")).ok()
    assert await keys(await hearth.log_in(ann.user_id)) == []


@pytest.mark.parametrize("log_out", [True, False])
async def test_a_new_password_ends_the_pushers_of_other_devices(
    hearth: Hearth, log_out: bool
) -> None:
    body = {"username": "ann", "password": LONG_PASSWORD, "auth": {"type": "m.login.dummy"}}
    made = (await hearth.anybody.post(f"{V3}/register", body)).ok()
    ann = Client(hearth, made["access_token"], made["user_id"], made["device_id"])
    await set_pusher(await ann.log_in_again(), "other")
    await set_pusher(ann, "own")
    identifier = {"type": "m.id.user", "user": "ann"}
    auth = {"type": "m.login.password", "identifier": identifier, "password": LONG_PASSWORD}
    wanted = {"new_password": "another long one", "logout_devices": log_out, "auth": auth}
    (await ann.post(f"{V3}/account/password", wanted)).ok()
    assert await keys(ann) == (["own"] if log_out else ["other", "own"])
