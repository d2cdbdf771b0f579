"""The addresses of one's account, and what identity servers tell of them.

https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information
"""

import msgspec

from federation.canonical_json import JsonObject
from homeserver.accounts.addresses import parse_address
from homeserver.accounts.interactive import auth_data_in
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.errors import BadJson, Forbidden
from homeserver.http import Json, Reply, Request, Routes
from homeserver.http.decoding import as_matrix_error

routes = Routes("client")

_V3 = "/_matrix/client/v3/account/3pid"
_RESULTS = {True: "success", False: "no-support"}


class Shown(msgspec.Struct):
    """A session in which an address was shown to be theirs; `auth` is read apart."""

    client_secret: str
    sid: str


class BindBody(msgspec.Struct):
    """A session with an identity server."""

    client_secret: str
    sid: str
    id_server: str
    id_access_token: str


class OldBody(msgspec.Struct):
    """The same, as it was."""

    three_pid_creds: BindBody


class AddressBody(msgspec.Struct):
    """An address, and which identity server is to forget it."""

    medium: str
    address: str
    id_server: str | None = None


@routes.get(_V3, auth=True)
async def get_account_3pids(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3account3pid"""
    return {
        "threepids": [
            {
                "medium": one.medium,
                "address": one.address,
                "validated_at": one.validated_ts,
                "added_at": one.added_ts,
            }
            for one in await house.threepids.of(who.user)
        ]
    }


@routes.post(_V3 + "/add", auth=True, allows=["suspended"], limit="login_account")
async def add_3pid(request: Request, house: House, body: JsonObject, who: Session) -> Json | Reply:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidadd"""
    _check_changeable(house)
    shown = _read(body)
    await house.threepids.check_confirmed(shown.sid, shown.client_secret)
    asked = {key: value for key, value in body.items() if key != "auth"}
    challenge = await house.confirmations.confirm(who, "add_3pid", asked, auth_data_in(body))
    if challenge is not None:
        return Reply(401, challenge.body())
    await house.threepids.add(who.user, shown.sid, shown.client_secret)
    return {}


@routes.post(_V3 + "/bind", auth=True, limit="email_validation")
async def bind_3pid(request: Request, house: House, body: BindBody, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidbind"""
    return await _bind(house, body, who)


@routes.post(_V3, auth=True, limit="email_validation")
async def post_3pids(request: Request, house: House, body: OldBody, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pid"""
    return await _bind(house, body.three_pid_creds, who)


@routes.post(_V3 + "/unbind", auth=True)
async def unbind_3pid_from_account(
    request: Request, house: House, body: AddressBody, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidunbind"""
    address = parse_address(body.medium, body.address)
    done = await house.threepids.unbind(who.user, who.user_id, address, body.id_server)
    return {"id_server_unbind_result": _RESULTS[done]}


@routes.post(_V3 + "/delete", auth=True)
async def delete_3pid_from_account(
    request: Request, house: House, body: AddressBody, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3piddelete"""
    _check_changeable(house)
    address = parse_address(body.medium, body.address)
    done = await house.threepids.remove(who.user, who.user_id, address, body.id_server)
    return {"id_server_unbind_result": _RESULTS[done]}


async def _bind(house: House, body: BindBody, who: Session) -> Json:
    access = house.third_party_invites.access(body.id_server, body.id_access_token)
    await house.threepids.bind(who.user, who.user_id, access, body.sid, body.client_secret)
    return {}


def _check_changeable(house: House) -> None:
    if not house.settings.accounts.change_3pid:
        raise Forbidden("the addresses of accounts cannot be changed here")


def _read(body: JsonObject) -> Shown:
    try:
        return msgspec.convert(body, Shown)
    except msgspec.ValidationError as error:
        raise as_matrix_error(error, BadJson) from error
