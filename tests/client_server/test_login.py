"""Making accounts, logging in and out.

https://spec.matrix.org/v1.19/client-server-api/#legacy-login
"""

import hashlib
import hmac
from typing import Any

import pytest

from tests.servers import Client, Hearth

V3 = "/_matrix/client/v3"
PASSWORD = "pässword of ann"


async def register(hearth: Hearth, username: str, **more: Any) -> Any:
    body = {"username": username, "password": PASSWORD, **more}
    first = await hearth.anybody.post(f"{V3}/register", body)
    assert first.status == 401
    auth = {"type": "m.login.dummy", "session": first.json["session"]}
    return (await hearth.anybody.post(f"{V3}/register", {**body, "auth": auth})).ok()


async def test_registering_logging_in_and_out(hearth: Hearth) -> None:
    made = await register(hearth, "Ann", device_id="PHONE")
    assert (made["user_id"], made["device_id"]) == ("@ann:one.test", "PHONE")
    phone = Client(hearth, made["access_token"])
    who = (await phone.get(f"{V3}/account/whoami")).ok()
    assert who == {"user_id": "@ann:one.test", "device_id": "PHONE", "is_guest": False}
    (await phone.post(f"{V3}/logout")).ok()
    assert (await phone.get(f"{V3}/account/whoami")).errcode == "M_UNKNOWN_TOKEN"


@pytest.mark.parametrize(
    "named",
    [
        {"identifier": {"type": "m.id.user", "user": "ann"}},
        {"identifier": {"type": "m.id.user", "user": "@ann:one.test"}},
        {"identifier": {"type": "m.id.user", "user": "ANN"}},
        {"user": "ann"},
    ],
)
async def test_ways_to_name_oneself(hearth: Hearth, named: dict[str, Any]) -> None:
    await register(hearth, "ann")
    # The same characters, written otherwise.
    body = {"type": "m.login.password", "password": "pa\u0308ssword of ann", **named}
    assert (await hearth.anybody.post(f"{V3}/login", body)).ok()["user_id"] == "@ann:one.test"


@pytest.mark.parametrize(
    ("body", "status", "errcode"),
    [
        ({}, 400, "M_MISSING_PARAM"),
        ({"type": "m.login.password"}, 400, "M_MISSING_PARAM"),
        ({"type": "m.login.password", "user": "ann"}, 400, "M_MISSING_PARAM"),
        ({"type": "m.login.other"}, 400, "M_UNKNOWN"),
        ({"type": "m.login.token", "token": "x"}, 400, "M_UNKNOWN"),
        ({"type": "m.login.password", "user": "ann", "password": "x"}, 403, "M_FORBIDDEN"),
        ({"type": "m.login.password", "user": "bob", "password": PASSWORD}, 403, "M_FORBIDDEN"),
        ({"type": "m.login.password", "user": 5, "password": PASSWORD}, 400, "M_BAD_JSON"),
    ],
)
async def test_refused_logins(
    hearth: Hearth, body: dict[str, Any], status: int, errcode: str
) -> None:
    await register(hearth, "ann")
    answer = await hearth.anybody.post(f"{V3}/login", body)
    assert (answer.status, answer.errcode) == (status, errcode)


async def test_tokens_that_are_renewed(hearth: Hearth) -> None:
    made = await register(hearth, "ann", refresh_token=True)
    assert made["expires_in_ms"] > 0
    body = {"refresh_token": made["refresh_token"]}
    new = (await hearth.anybody.post(f"{V3}/refresh", body)).ok()
    (await Client(hearth, new["access_token"]).get(f"{V3}/account/whoami")).ok()
    again = await hearth.anybody.post(f"{V3}/refresh", body)
    assert (again.status, again.errcode) == (401, "M_UNKNOWN_TOKEN")


@pytest.mark.parametrize(
    ("name", "errcode"),
    [("ann", "M_USER_IN_USE"), ("Ann", "M_USER_IN_USE"), ("a b", "M_INVALID_USERNAME")],
)
async def test_names_that_cannot_be_had(hearth: Hearth, name: str, errcode: str) -> None:
    await register(hearth, "ann")
    answer = await hearth.anybody.get(f"{V3}/register/available", username=name)
    assert (answer.status, answer.errcode) == (400, errcode)


async def test_devices(hearth: Hearth) -> None:
    made = await register(hearth, "ann", device_id="PHONE")
    phone = Client(hearth, made["access_token"])
    laptop = await hearth.log_in("@ann:one.test", "LAPTOP")
    (await phone.put(f"{V3}/devices/LAPTOP", {"display_name": "my laptop"})).ok()
    assert (await phone.get(f"{V3}/devices/LAPTOP")).ok()["display_name"] == "my laptop"
    asked = await phone.delete(f"{V3}/devices/LAPTOP")
    assert asked.status == 401
    auth = {
        "type": "m.login.password",
        "session": asked.json["session"],
        "identifier": {"type": "m.id.user", "user": "ann"},
        "password": PASSWORD,
    }
    (await phone.delete(f"{V3}/devices/LAPTOP", {"auth": auth})).ok()
    assert (await laptop.get(f"{V3}/account/whoami")).errcode == "M_UNKNOWN_TOKEN"


async def test_the_shared_secret_makes_administrators(hearth: Hearth) -> None:
    path = "/_synapse/admin/v1/register"
    nonce = (await hearth.anybody.get(path)).ok()["nonce"]
    said = f"{nonce}\0root\0{PASSWORD}\0admin".encode()
    body = {
        "nonce": nonce,
        "username": "root",
        "password": PASSWORD,
        "admin": True,
        "mac": hmac.new(b"shh", said, hashlib.sha1).hexdigest(),
    }
    wrong = {**body, "mac": "0" * 40}
    assert (await hearth.anybody.post(path, wrong)).status == 403
    nonce = body["nonce"] = (await hearth.anybody.get(path)).ok()["nonce"]
    said = f"{nonce}\0root\0{PASSWORD}\0admin".encode()
    body["mac"] = hmac.new(b"shh", said, hashlib.sha1).hexdigest()
    made = (await hearth.anybody.post(path, body)).ok()
    assert made["user_id"] == "@root:one.test"
    assert (await hearth.anybody.post(path, body)).status == 400


async def test_leaving_for_good(hearth: Hearth) -> None:
    made = await register(hearth, "ann")
    ann, bob = Client(hearth, made["access_token"]), await hearth.user("bob")
    room = (await ann.post(f"{V3}/createRoom", {"preset": "public_chat"})).ok()["room_id"]
    (await bob.post(f"{V3}/join/{room}")).ok()
    asked = await ann.post(f"{V3}/account/deactivate", {"erase": True})
    auth = {
        "type": "m.login.password",
        "session": asked.json["session"],
        "identifier": {"type": "m.id.user", "user": "ann"},
        "password": PASSWORD,
    }
    (await ann.post(f"{V3}/account/deactivate", {"erase": True, "auth": auth})).ok()
    members = (await bob.get(f"{V3}/rooms/{room}/joined_members")).ok()["joined"]
    assert list(members) == [bob.user_id]
    login = {"type": "m.login.password", "user": "ann", "password": PASSWORD}
    assert (await hearth.anybody.post(f"{V3}/login", login)).errcode == "M_FORBIDDEN"
