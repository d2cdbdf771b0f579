"""Devices of people here, and their keys.

https://spec.matrix.org/v1.19/server-server-api/#end-to-end-encryption
"""

from typing import Any

import msgspec

from federation.identifiers import ServerName, domain_of, is_user_id, parse_user_id
from homeserver.errors import InvalidParam, NotFound
from homeserver.http import Auth, Json, Request, Routes
from homeserver.server_server.house import House

routes = Routes("federation", limit="federation_requests")

_MOST_USERS = 1000


class QueryBody(msgspec.Struct):
    """Whose keys are wanted."""

    device_keys: dict[str, list[str]]


class ClaimBody(msgspec.Struct):
    """Of which devices one-time keys are wanted."""

    one_time_keys: dict[str, dict[str, str]]


@routes.get("/_matrix/federation/v1/user/devices/{userId}", auth=Auth.FEDERATION)
async def get_user_devices(request: Request, house: House, origin: ServerName) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1userdevicesuserid"""
    user_id = request.param("userId", parse_user_id)
    if domain_of(user_id) != house.process.server:
        raise NotFound("the user is of another server")
    stream_id = await house.device_lists.stream_id(user_id)
    found = await house.key_queries.local({user_id: []})
    devices = [
        {"device_id": device_id, "keys": keys}
        for device_id, keys in found["device_keys"].get(user_id, {}).items()
    ]
    answer: dict[str, Any] = {"user_id": user_id, "stream_id": stream_id, "devices": devices}
    for usage in ("master", "self_signing"):
        if user_id in found[f"{usage}_keys"]:
            answer[f"{usage}_key"] = found[f"{usage}_keys"][user_id]
    return answer


@routes.post("/_matrix/federation/v1/user/keys/query", auth=Auth.FEDERATION)
async def query_user_keys(
    request: Request, house: House, body: QueryBody, origin: ServerName
) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysquery"""
    _check(house, body.device_keys)
    return await house.key_queries.local(body.device_keys)


@routes.post("/_matrix/federation/v1/user/keys/claim", auth=Auth.FEDERATION)
async def claim_user_encryption_keys(
    request: Request, house: House, body: ClaimBody, origin: ServerName
) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysclaim"""
    _check(house, body.one_time_keys)
    return {"one_time_keys": await house.key_queries.claim_local(body.one_time_keys)}


def _check(house: House, named: dict[str, Any]) -> None:
    if len(named) > _MOST_USERS:
        raise InvalidParam(f"at most {_MOST_USERS} users are asked for at a time")
    if not all(is_user_id(u) and domain_of(u) == house.process.server for u in named):
        raise InvalidParam("only users of this server are asked for here")
