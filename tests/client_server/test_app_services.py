"""The client-server API as application services use it.

https://spec.matrix.org/v1.19/application-service-api/#client-server-api-extensions
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from homeserver.config.settings import RateLimits
from homeserver.config.values import Rate
from tests.bridge import AS_TOKEN, bot, bridged, ghost, registration
from tests.database import Server
from tests.servers import Client, Hearth

V3 = "/_matrix/client/v3"
SERVICE = "m.login.application_service"


@pytest.fixture
async def one(postgres: Server, tmp_path: Path) -> AsyncIterator[Hearth]:
    """A server with a bridge that is told nothing."""
    async with bridged(postgres, tmp_path, registration(None)) as hearth:
        yield hearth


def refusal(answer: Any) -> tuple[int, str | None]:
    return answer.status, answer.errcode


async def test_who_it_acts_as(one: Hearth) -> None:
    irc = bot(one)
    assert (await irc.get(f"{V3}/account/whoami")).ok() == {
        "user_id": "@_irc_bot:one.test",
        "is_guest": False,
    }
    ann = await ghost(irc, "_irc_ann")
    assert ann == "@_irc_ann:one.test"
    assert (await irc.get(f"{V3}/account/whoami", user_id=ann)).ok()["user_id"] == ann
    await one.user("ben")
    for wrong in ("@_irc_nobody:one.test", "@ben:one.test", "@_irc_ann:two.test", "\0", "x"):
        answer = await irc.get(f"{V3}/account/whoami", user_id=wrong)
        assert refusal(answer) == (403, "M_FORBIDDEN"), wrong
    assert refusal(await Client(one, AS_TOKEN + "x").get(f"{V3}/account/whoami")) == (
        401,
        "M_UNKNOWN_TOKEN",
    )


async def test_a_user_that_ended_is_nobody(one: Hearth) -> None:
    irc = bot(one)
    ann = await ghost(irc, "_irc_ann")
    (await irc.get(f"{V3}/account/whoami", user_id=ann)).ok()
    # Nobody asks a bridge for a password.
    (await irc.post(f"{V3}/account/deactivate", {}, user_id=ann)).ok()
    answer = await irc.get(f"{V3}/account/whoami", user_id=ann)
    assert refusal(answer) == (403, "M_USER_DEACTIVATED")


async def test_registering(one: Hearth) -> None:
    irc, body = bot(one), {"type": SERVICE, "username": "_irc_ann", "inhibit_login": True}
    assert "access_token" not in (await irc.post(f"{V3}/register", body)).ok()
    assert refusal(await irc.post(f"{V3}/register", body)) == (400, "M_USER_IN_USE")
    told = (await irc.post(f"{V3}/register", {"type": SERVICE, "username": "_irc_ben"})).ok()
    ben = Client(one, told["access_token"], told["user_id"])
    assert (await ben.get(f"{V3}/account/whoami")).ok()["device_id"] == told["device_id"]
    outside = {"type": SERVICE, "username": "ann"}
    assert refusal(await irc.post(f"{V3}/register", outside)) == (400, "M_EXCLUSIVE")
    assert refusal(await irc.post(f"{V3}/register", {"type": SERVICE})) == (400, "M_MISSING_PARAM")
    assert refusal(await one.anybody.post(f"{V3}/register", body)) == (401, "M_MISSING_TOKEN")
    stranger = Client(one, "nobody's")
    assert refusal(await stranger.post(f"{V3}/register", body)) == (401, "M_UNKNOWN_TOKEN")


async def test_names_that_are_the_bridges(one: Hearth) -> None:
    for name in ("_irc_ann", "_irc_bot"):
        body = {
            "username": name,
            "password": "long enough it is",
            "auth": {"type": "m.login.dummy"},
        }
        answer = await one.anybody.post(f"{V3}/register", body)
        assert refusal(answer) == (400, "M_EXCLUSIVE")
        answer = await one.anybody.get(f"{V3}/register/available", username=name)
        assert refusal(answer) == (400, "M_EXCLUSIVE")


async def test_logging_in(one: Hearth) -> None:
    irc = bot(one)
    assert {"type": SERVICE} in (await one.anybody.get(f"{V3}/login")).ok()["flows"]
    await ghost(irc, "_irc_ann")
    await one.user("ben")

    async def log_in(user: str, asking: Client) -> Any:
        body = {"type": SERVICE, "identifier": {"type": "m.id.user", "user": user}}
        return await asking.post(f"{V3}/login", body)

    told = (await log_in("_irc_ann", irc)).ok()
    ann = Client(one, told["access_token"], told["user_id"])
    assert (await ann.get(f"{V3}/account/whoami")).ok()["user_id"] == "@_irc_ann:one.test"
    assert refusal(await log_in("ben", irc)) == (400, "M_EXCLUSIVE")
    assert refusal(await log_in("_irc_nobody", irc)) == (403, "M_FORBIDDEN")
    assert refusal(await log_in("_irc_ann", one.anybody)) == (401, "M_MISSING_TOKEN")
    assert refusal(await log_in("_irc_ann", ann)) == (401, "M_UNKNOWN_TOKEN")


async def test_devices_without_login(one: Hearth) -> None:
    irc = bot(one)
    ann = await ghost(irc, "_irc_ann")
    whoami, path = f"{V3}/account/whoami", f"{V3}/devices/PHONE"
    answer = await irc.get(whoami, user_id=ann, device_id="PHONE")
    assert refusal(answer) == (400, "M_UNKNOWN_DEVICE")
    assert (await irc.put(path, {"display_name": "Phone"}, user_id=ann)).status == 201
    for name in ("device_id", "org.matrix.msc3202.device_id"):
        told = (await irc.get(whoami, user_id=ann, **{name: "PHONE"})).ok()
        assert told["device_id"] == "PHONE"
    # Of the sender, where nobody is named.
    assert refusal(await irc.get(whoami, device_id="PHONE")) == (400, "M_UNKNOWN_DEVICE")
    assert (await irc.put(path, {"display_name": "New"}, user_id=ann)).status == 200
    assert (await irc.get(path, user_id=ann)).ok()["display_name"] == "New"
    (await irc.delete(path, {}, user_id=ann)).ok()
    answer = await irc.get(whoami, user_id=ann, device_id="PHONE")
    assert refusal(answer) == (400, "M_UNKNOWN_DEVICE")
    assert refusal(await irc.post(f"{V3}/keys/upload", user_id=ann)) == (400, "M_MISSING_PARAM")


async def test_speaking(one: Hearth) -> None:
    irc = bot(one)
    ann = await ghost(irc, "_irc_ann")
    room = (await irc.post(f"{V3}/createRoom", {"preset": "public_chat"})).ok()["room_id"]
    (await irc.post(f"{V3}/join/{room}", user_id=ann)).ok()
    path = f"{V3}/rooms/{room}/send/m.room.message/1"
    body = {"msgtype": "m.text", "body": "hello"}
    said = (await irc.put(path, body, user_id=ann, ts=12345)).ok()["event_id"]
    event = (await irc.get(f"{V3}/rooms/{room}/event/{said}")).ok()
    assert (event["sender"], event["origin_server_ts"]) == (ann, 12345)
    # The same again is the same, and another's is another.
    assert (await irc.put(path, body, user_id=ann)).ok()["event_id"] == said
    other = (await irc.put(path, body)).ok()["event_id"]
    assert other != said
    topic = f"{V3}/rooms/{room}/state/m.room.topic/"
    said = (await irc.put(topic, {"topic": "tea"}, ts=7)).ok()["event_id"]
    assert (await irc.get(f"{V3}/rooms/{room}/event/{said}")).ok()["origin_server_ts"] == 7
    for wrong in ("-1", "x", str(2**60)):
        answer = await irc.put(topic, {"topic": "milk"}, ts=wrong)
        assert refusal(answer) == (400, "M_INVALID_PARAM"), wrong


async def test_people_cannot_choose_the_time(one: Hearth) -> None:
    ben = await one.user("ben")
    room = (await ben.post(f"{V3}/createRoom", {})).ok()["room_id"]
    body = {"msgtype": "m.text", "body": "hello"}
    path = f"{V3}/rooms/{room}/send/m.room.message/1"
    said = (await ben.put(path, body, ts=12345)).ok()["event_id"]
    event = (await ben.get(f"{V3}/rooms/{room}/event/{said}")).ok()
    assert event["origin_server_ts"] > 10**12


async def test_aliases(one: Hearth) -> None:
    irc, ben = bot(one), await one.user("ben")
    room = (await ben.post(f"{V3}/createRoom", {})).ok()["room_id"]
    theirs, free = "%23_irc_tea:one.test", "%23tea:one.test"
    path, body = f"{V3}/directory/room", {"room_id": room}
    assert refusal(await ben.put(f"{path}/{theirs}", body)) == (400, "M_EXCLUSIVE")
    answer = await ben.post(f"{V3}/createRoom", {"room_alias_name": "_irc_tea"})
    assert refusal(answer) == (400, "M_EXCLUSIVE")
    assert refusal(await irc.put(f"{path}/{free}", body)) == (400, "M_EXCLUSIVE")
    (await irc.put(f"{path}/{theirs}", body)).ok()
    assert refusal(await ben.delete(f"{path}/{theirs}")) == (400, "M_EXCLUSIVE")
    (await irc.delete(f"{path}/{theirs}")).ok()
    (await ben.put(f"{path}/{free}", body)).ok()


@pytest.mark.parametrize("limited", [True, False])
async def test_rate_limits(postgres: Server, tmp_path: Path, limited: bool) -> None:
    limits = RateLimits(messages=Rate.parse("2/1h"), registration=Rate.parse("1/1h"))
    given = registration(None, rate_limited=limited)
    async with bridged(postgres, tmp_path, given, rate_limits=limits) as hearth:
        irc = bot(hearth)
        ann, _ = await ghost(irc, "_irc_ann"), await ghost(irc, "_irc_ben")
        room = (await irc.post(f"{V3}/createRoom", {"preset": "public_chat"})).ok()["room_id"]
        (await irc.post(f"{V3}/join/{room}", user_id=ann)).ok()

        async def say(number: int, **who: str) -> int:
            path = f"{V3}/rooms/{room}/send/m.room.message/{number}"
            return (await irc.put(path, {"msgtype": "m.text", "body": "x"}, **who)).status

        assert [await say(number, user_id=ann) for number in range(3)] == [
            200,
            200,
            429 if limited else 200,
        ]
        # "The sender is excluded."
        assert [await say(number) for number in range(3)] == [200, 200, 200]
