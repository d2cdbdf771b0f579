"""What administrators do about accounts.

https://spec.matrix.org/v1.19/client-server-api/#server-administration
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from federation.identifiers import parse_user_id
from homeserver.accounts.devices import ShownDevice
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.errors import Forbidden
from homeserver.http import Auth, Json, Request, Routes
from homeserver.storage.device_addresses import Seen

routes = Routes("client")

_V1 = "/_matrix/client/v1/admin"
# COMPAT(clients from before v1.18) MSC4323
_UNSTABLE = "unstable/uk.timedout.msc4323"


class SuspendBody(msgspec.Struct):
    """Whether somebody may do nothing but read and leave."""

    suspended: bool


class LockBody(msgspec.Struct):
    """Whether somebody may do nothing but log out."""

    locked: bool


@routes.get(_V1 + "/suspend/{userId}", auth=Auth.ADMINISTRATOR, also=[_UNSTABLE])
async def get_admin_suspend_user(request: Request, house: House) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1adminsuspenduserid"""
    account = await house.moderation.account(request.param("userId", parse_user_id))
    return {"suspended": account.suspended}


@routes.put(_V1 + "/suspend/{userId}", auth=Auth.ADMINISTRATOR, also=[_UNSTABLE])
async def set_admin_suspend_user(request: Request, house: House, body: SuspendBody) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv1adminsuspenduserid"""
    user_id = request.param("userId", parse_user_id)
    await house.moderation.change(user_id, suspended=body.suspended)
    return {"suspended": body.suspended}


@routes.get(_V1 + "/lock/{userId}", auth=Auth.ADMINISTRATOR, also=[_UNSTABLE])
async def get_admin_lock_user(request: Request, house: House) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1adminlockuserid"""
    account = await house.moderation.account(request.param("userId", parse_user_id))
    return {"locked": account.locked}


@routes.put(_V1 + "/lock/{userId}", auth=Auth.ADMINISTRATOR, also=[_UNSTABLE])
async def set_admin_lock_user(request: Request, house: House, body: LockBody) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv1adminlockuserid"""
    user_id = request.param("userId", parse_user_id)
    await house.moderation.change(user_id, locked=body.locked)
    return {"locked": body.locked}


@routes.get("/_matrix/client/v3/admin/whois/{userId}", auth=True)
async def get_who_is(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3adminwhoisuserid"""
    user_id = request.param("userId", parse_user_id)
    if user_id != who.user_id and not who.is_admin:
        raise Forbidden("only administrators look at others")
    devices = await house.moderation.devices(user_id)
    addresses = await house.client_addresses.of([device.device for device in devices])
    return {
        "user_id": user_id,
        "devices": {
            device.device_id: {
                "sessions": [
                    {"connections": _connections(device, addresses.get(device.device, ()))}
                ]
            }
            for device in devices
        },
    }


def _connections(device: ShownDevice, addresses: Sequence[Seen]) -> list[dict[str, Any]]:
    """From where a device is used, as far as that is known; user agents never are."""
    known: list[dict[str, Any]] = [{"ip": one.address, "last_seen": one.ts} for one in addresses]
    return known or [{"last_seen": device.last_seen_ts}]
