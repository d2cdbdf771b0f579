"""One's own account: who one is, its password, its end.

https://spec.matrix.org/v1.19/client-server-api/#legacy-account-management
"""

from typing import Any

import msgspec

from federation.canonical_json import JsonObject
from homeserver.accounts.interactive import auth_data_in
from homeserver.accounts.sessions import Session
from homeserver.accounts.stages import Challenge
from homeserver.client_server.house import House
from homeserver.errors import Forbidden, InvalidParam
from homeserver.http import Auth, Json, Reply, Request, Routes

routes = Routes("client")


class PasswordBody(msgspec.Struct):
    """A new password; `auth` is read apart."""

    new_password: str
    logout_devices: bool = True


class DeactivateBody(msgspec.Struct):
    """How an account ends."""

    erase: bool = False


@routes.get("/_matrix/client/v3/account/whoami", auth=True, allows=["guest"])
async def get_token_owner(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3accountwhoami"""
    device = {"device_id": who.device_id} if who.device_id else {}
    return {"user_id": who.user_id, **device, "is_guest": who.is_guest}


@routes.post("/_matrix/client/v3/account/password", auth=Auth.OPTIONAL, limit="login_account")
async def change_password(
    request: Request, house: House, body: JsonObject, who: Session | None
) -> Json | Reply:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpassword"""
    settings = house.settings
    if not (settings.auth.passwords and settings.accounts.change_password):
        raise Forbidden("passwords cannot be changed here")
    wanted = _read(body, PasswordBody)
    house.management.check_password(wanted.new_password)
    if who is None:
        return await _reset_password(house, body, wanted)
    challenge = await _confirm(house, who, "change_password", body)
    if challenge is not None:
        return challenge
    await house.management.change_password(
        who.user, wanted.new_password, who.device, log_out=wanted.logout_devices
    )
    return {}


async def _reset_password(house: House, body: JsonObject, wanted: PasswordBody) -> Json | Reply:
    """Set another password for somebody who shows by mail who they are."""
    asked = {key: value for key, value in body.items() if key != "auth"}
    found = await house.resetting.identify(asked, auth_data_in(body))
    if isinstance(found, Challenge):
        return Reply(401, found.body())
    await house.management.change_password(
        found, wanted.new_password, log_out=wanted.logout_devices
    )
    return {}


@routes.post(
    "/_matrix/client/v3/account/deactivate", auth=True, allows=["suspended"], limit="login_account"
)
async def deactivate_account(
    request: Request, house: House, body: JsonObject | None, who: Session
) -> Json | Reply:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate"""
    if not house.settings.accounts.deactivate:
        raise Forbidden("accounts are put out by administrators here")
    asked = body or {}
    wanted = _read(asked, DeactivateBody)
    challenge = await _confirm(house, who, "deactivate_account", asked)
    if challenge is not None:
        return challenge
    await house.memberships.leave_all(who.user, who.user_id)
    is_untold = await house.threepids.unbind_all(who.user, who.user_id)
    await house.management.deactivate(who.user, erase=wanted.erase)
    return {"id_server_unbind_result": "success" if is_untold else "no-support"}


async def _confirm(house: House, who: Session, name: str, body: JsonObject) -> Reply | None:
    asked = {key: value for key, value in body.items() if key != "auth"}
    challenge = await house.confirmations.confirm(who, name, asked, auth_data_in(body))
    return None if challenge is None else Reply(401, challenge.body())


def _read(body: JsonObject, kind: Any) -> Any:
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        raise InvalidParam(str(error)) from error
