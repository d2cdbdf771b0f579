"""Networks that are bridged here.

https://spec.matrix.org/v1.19/client-server-api/#third-party-networks
"""

import msgspec

from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.http import Json, Request, Routes

routes = Routes("client", limit="searches")

_BASE = "/_matrix/client/v3/thirdparty"


class AliasQuery(msgspec.Struct):
    """Of which alias."""

    alias: str


class UserQuery(msgspec.Struct):
    """Of which user."""

    userid: str


@routes.get(_BASE + "/protocols", auth=True)
async def get_protocols(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartyprotocols"""
    return await house.third_parties.protocols()


@routes.get(_BASE + "/protocol/{protocol}", auth=True)
async def get_protocol_metadata(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartyprotocolprotocol"""
    return await house.third_parties.protocol(request.match_info["protocol"])


@routes.get(_BASE + "/location/{protocol}", auth=True)
async def query_location_by_protocol(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartylocationprotocol"""
    protocol = request.match_info["protocol"]
    return await house.third_parties.look_up("location", protocol, _fields(request))


@routes.get(_BASE + "/user/{protocol}", auth=True)
async def query_user_by_protocol(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartyuserprotocol"""
    protocol = request.match_info["protocol"]
    return await house.third_parties.look_up("user", protocol, _fields(request))


@routes.get(_BASE + "/location", auth=True)
async def query_location_by_alias(
    request: Request, house: House, query: AliasQuery, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartylocation"""
    return await house.third_parties.look_back("location", {"alias": query.alias})


@routes.get(_BASE + "/user", auth=True)
async def query_user_by_id(request: Request, house: House, query: UserQuery, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartyuser"""
    return await house.third_parties.look_back("user", {"userid": query.userid})


def _fields(request: Request) -> dict[str, str]:
    """The fields that the protocol names; our own parameters are not passed on."""
    ours = {"access_token", "user_id", "device_id", "org.matrix.msc3202.device_id"}
    return {key: value for key, value in request.query if key not in ours}
