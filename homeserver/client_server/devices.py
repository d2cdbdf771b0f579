"""A person's devices.

https://spec.matrix.org/v1.19/client-server-api/#device-management
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from federation.canonical_json import JsonObject
from homeserver.accounts.devices import ShownDevice
from homeserver.accounts.interactive import auth_data_in
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.errors import InvalidParam, MissingParam
from homeserver.http import Json, Reply, Request, Routes

routes = Routes("client")


class DeviceBody(msgspec.Struct):
    """What a device is called."""

    display_name: str | None = None


@routes.get("/_matrix/client/v3/devices", auth=True, allows=["guest"])
async def get_devices(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3devices"""
    return {"devices": await _all_shown(house, await house.devices.read(who.user))}


@routes.get("/_matrix/client/v3/devices/{deviceId}", auth=True, allows=["guest"])
async def get_device(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3devicesdeviceid"""
    device = await house.devices.get(who.user, request.match_info["deviceId"])
    (shown,) = await _all_shown(house, [device])
    return shown


@routes.put("/_matrix/client/v3/devices/{deviceId}", auth=True, allows=["guest", "suspended"])
async def update_device(
    request: Request, house: House, body: DeviceBody, who: Session
) -> Json | Reply:
    """https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3devicesdeviceid"""
    device_id = request.match_info["deviceId"]
    # https://spec.matrix.org/v1.19/application-service-api/#creating-devices
    if who.service and await house.devices.add(who.user, device_id, body.display_name):
        return Reply(201, {})
    if body.display_name is None:
        await house.devices.get(who.user, device_id)
    else:
        await house.devices.rename(who.user, device_id, body.display_name)
    return {}


@routes.delete("/_matrix/client/v3/devices/{deviceId}", auth=True, allows=["suspended"])
async def delete_device(
    request: Request, house: House, body: JsonObject | None, who: Session
) -> Json | Reply:
    """https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3devicesdeviceid"""
    device_id = request.match_info["deviceId"]
    return await _delete(house, who, [device_id], body or {})


@routes.post("/_matrix/client/v3/delete_devices", auth=True, allows=["suspended"])
async def delete_devices(
    request: Request, house: House, body: JsonObject, who: Session
) -> Json | Reply:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3delete_devices"""
    devices = body.get("devices")
    if devices is None:
        raise MissingParam("devices is missing")
    if not isinstance(devices, list) or not all(isinstance(name, str) for name in devices):
        raise InvalidParam("devices must be a list of strings")
    return await _delete(house, who, devices, body)


async def _delete(house: House, who: Session, devices: list[str], body: JsonObject) -> Json | Reply:
    challenge = await house.confirmations.confirm(
        who, "delete_devices", {"devices": devices}, auth_data_in(body)
    )
    if challenge is not None:
        return Reply(401, challenge.body())
    await house.devices.delete(who.user, devices)
    return {}


async def _all_shown(house: House, devices: Sequence[ShownDevice]) -> list[dict[str, Any]]:
    addresses = await house.client_addresses.latest([device.device for device in devices])
    return [_shown(device, addresses.get(device.device)) for device in devices]


def _shown(device: ShownDevice, address: str | None) -> dict[str, Any]:
    shown: dict[str, Any] = {"device_id": device.device_id, "last_seen_ts": device.last_seen_ts}
    if device.display_name is not None:
        shown["display_name"] = device.display_name
    if address is not None:
        shown["last_seen_ip"] = address
    return shown
