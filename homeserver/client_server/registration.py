"""Making accounts.

https://spec.matrix.org/v1.19/client-server-api/#legacy-account-registration
"""

from typing import Any, Literal

import msgspec

from federation.canonical_json import JsonObject
from homeserver.accounts.interactive import auth_data_in
from homeserver.accounts.logins import DeviceWish
from homeserver.accounts.registrations import Registered, Wish
from homeserver.accounts.service_logins import APPLICATION_SERVICE
from homeserver.accounts.stages import Challenge
from homeserver.client_server.house import House
from homeserver.client_server.login import logged_in
from homeserver.errors import InvalidParam, Unrecognized
from homeserver.http import Json, Limit, Reply, Request, Routes

routes = Routes("client", limit=Limit("registration", "address"))


class RegisterQuery(msgspec.Struct):
    """What kind of account."""

    kind: Literal["user", "guest"] = "user"


class RegisterBody(msgspec.Struct):
    """What somebody who registers asks for; `auth` is read apart."""

    type: str | None = None
    """Given by application services."""
    username: str | None = None
    password: str | None = None
    device_id: str | None = None
    initial_device_display_name: str | None = None
    inhibit_login: bool = False
    refresh_token: bool = False
    guest_access_token: str | None = None
    """Of a guest who wants to stay: https://spec.matrix.org/v1.19/client-server-api/#guest-access"""


class NameQuery(msgspec.Struct):
    """The name that somebody would like."""

    username: str


class TokenQuery(msgspec.Struct):
    """The token that somebody was given."""

    token: str


@routes.post("/_matrix/client/v3/register", auth=False, limit=None)
async def register(
    request: Request, house: House, query: RegisterQuery, body: JsonObject | None
) -> Json | Reply:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register"""
    asked = body or {}
    wanted = _read(asked)
    device = DeviceWish(wanted.device_id, wanted.initial_device_display_name, wanted.refresh_token)
    guest = wanted.guest_access_token
    wish = Wish(wanted.username, wanted.password, device, wanted.inhibit_login, guest)
    if wanted.type == APPLICATION_SERVICE:
        service = house.service_logins.service(request.access_token)
        return _answer(house, await house.service_logins.register(service, wish))
    house.limits.check("registration", request.limit_key)
    if query.kind == "guest":
        name = wanted.initial_device_display_name
        return _answer(house, await house.registrations.register_guest(name))
    without_auth = {key: value for key, value in asked.items() if key != "auth"}
    found = await house.registrations.register(wish, without_auth, auth_data_in(asked))
    if isinstance(found, Challenge):
        return Reply(401, found.body())
    house.welcoming.welcome(found.user_id)
    return _answer(house, found)


@routes.get("/_matrix/client/v3/register/available", auth=False)
async def check_username_availability(request: Request, house: House, query: NameQuery) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3registeravailable"""
    await house.new_accounts.check_username(query.username)
    return {"available": True}


@routes.get("/_matrix/client/v1/register/m.login.registration_token/validity", auth=False)
async def registration_token_validity(request: Request, house: House, query: TokenQuery) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1registermloginregistration_tokenvalidity"""
    if house.settings.registration.mode != "token":
        raise Unrecognized("registration takes no tokens here")
    return {"valid": await house.registration_tokens.is_valid(query.token)}


def _read(asked: JsonObject) -> RegisterBody:
    try:
        return msgspec.convert(asked, RegisterBody)
    except msgspec.ValidationError as error:
        raise InvalidParam(str(error)) from error


def _answer(house: House, made: Registered) -> dict[str, Any]:
    if made.login is None:
        return {"user_id": made.user_id, "home_server": house.process.server}
    return logged_in(house, made.login)
