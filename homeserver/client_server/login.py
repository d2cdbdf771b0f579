"""Logging in and out, and renewing tokens.

https://spec.matrix.org/v1.19/client-server-api/#legacy-login
"""

from typing import Any

import msgspec

from federation.canonical_json import JsonObject
from homeserver.accounts.credentials import Named, user_in
from homeserver.accounts.interactive import auth_data_in
from homeserver.accounts.issuing import Tokens
from homeserver.accounts.logins import LOGIN_TOKEN_VALIDITY, DeviceWish, LoggedIn
from homeserver.accounts.refreshing import refresh as renew
from homeserver.accounts.service_logins import APPLICATION_SERVICE
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.errors import Forbidden, MissingParam, UnknownLogin, Unrecognized
from homeserver.http import Json, Limit, Reply, Request, Routes

routes = Routes("client")

PASSWORD = "m.login.password"  # noqa: S105
TOKEN = "m.login.token"  # noqa: S105


class LoginBody(msgspec.Struct):
    """How somebody logs in; what else is in it depends on `type`."""

    type: str
    identifier: dict[str, Any] | None = None
    user: str | None = None
    medium: str | None = None
    address: str | None = None
    password: str | None = None
    token: str | None = None
    device_id: str | None = None
    initial_device_display_name: str | None = None
    refresh_token: bool = False


class RefreshBody(msgspec.Struct):
    """The token that renews."""

    refresh_token: str


@routes.get("/_matrix/client/v3/login", auth=False)
async def get_login_flows(request: Request, house: House) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3login"""
    auth = house.settings.auth
    flows: list[JsonObject] = []
    if auth.passwords:
        flows.append({"type": PASSWORD})
    if auth.login_tokens:
        flows.append({"type": TOKEN, "get_login_token": True})
    if len(house.app_services):
        flows.append({"type": APPLICATION_SERVICE})
    return {"flows": flows}


@routes.post("/_matrix/client/v3/login", auth=False)
async def login(request: Request, house: House, body: LoginBody) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3login"""
    wish = DeviceWish(body.device_id, body.initial_device_display_name, body.refresh_token)
    if body.type == APPLICATION_SERVICE:
        return logged_in(house, await _by_service(request, house, body, wish))
    house.limits.check("login_address", request.limit_key)
    auth = house.settings.auth
    if body.type == PASSWORD and auth.passwords:
        return logged_in(house, await _with_password(house, body, wish))
    if body.type == TOKEN and auth.login_tokens:
        if body.token is None:
            raise MissingParam("token is missing")
        return logged_in(house, await house.logins.with_token(body.token, wish))
    raise UnknownLogin("there is no such way to log in here")


async def _with_password(house: House, body: LoginBody, wish: DeviceWish) -> LoggedIn:
    if body.password is None:
        raise MissingParam("password is missing")
    user = _user_in(body)
    house.limits.check("login_account", user)
    try:
        return await house.logins.with_password(user, body.password, wish)
    except Forbidden:
        house.limits.check("login_failures", user)
        raise


async def _by_service(
    request: Request, house: House, body: LoginBody, wish: DeviceWish
) -> LoggedIn:
    """https://spec.matrix.org/v1.19/client-server-api/#appservice-login"""
    service = house.service_logins.service(request.access_token)
    return await house.service_logins.log_in(service, _user_in(body), wish)


def _user_in(body: LoginBody) -> Named:
    by_address = {"medium": body.medium, "address": body.address}
    address = by_address if body.address is not None else {}
    return user_in({"identifier": body.identifier, "user": body.user, **address})


@routes.post("/_matrix/client/v3/refresh", auth=False, limit=Limit("login_address", "address"))
async def refresh(request: Request, house: House, body: RefreshBody) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3refresh"""
    return tokens(await renew(house.process, house.logins.validity, body.refresh_token))


@routes.post("/_matrix/client/v3/logout", auth=True, allows=["locked", "suspended"])
async def logout(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logout"""
    await house.devices.delete(who.user, [who.device_id])
    return {}


@routes.post("/_matrix/client/v3/logout/all", auth=True, allows=["locked", "suspended"])
async def logout_all(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logoutall"""
    await house.devices.delete_all(who.user)
    return {}


@routes.post(
    "/_matrix/client/v1/login/get_token", auth=True, allows=["suspended"], limit="login_account"
)
async def generate_login_token(
    request: Request, house: House, body: JsonObject | None, who: Session
) -> Json | Reply:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv1loginget_token"""
    if not house.settings.auth.login_tokens:
        raise Unrecognized
    asked = body or {}
    open_stages = await house.confirmations.confirm(
        who, "generate_login_token", _without_auth(asked), auth_data_in(asked), always=True
    )
    if open_stages is not None:
        return Reply(401, open_stages.body())
    token = await house.logins.new_login_token(who.user)
    return {"login_token": token, "expires_in_ms": LOGIN_TOKEN_VALIDITY}


def _without_auth(body: JsonObject) -> JsonObject:
    return {key: value for key, value in body.items() if key != "auth"}


def logged_in(house: House, login: LoggedIn) -> dict[str, Any]:
    """What a client is told of its new session."""
    return {
        "user_id": login.user_id,
        "device_id": login.device_id,
        # COMPAT(older clients) "Deprecated. Clients should extract the server_name from user_id".
        "home_server": house.process.server,
        **tokens(login.tokens),
    }


def tokens(new: Tokens) -> dict[str, Any]:
    """Tokens as they are answered."""
    found: dict[str, Any] = {"access_token": new.access_token}
    if new.refresh_token is not None:
        found["refresh_token"] = new.refresh_token
    if new.expires_in_ms is not None:
        found["expires_in_ms"] = new.expires_in_ms
    return found
