"""Telling services whose token they were given.

https://spec.matrix.org/v1.19/server-server-api/#openid
"""

import msgspec

from homeserver.http import Json, Request, Routes
from homeserver.server_server.house import House

routes = Routes("federation", limit="federation_requests")


class TokenQuery(msgspec.Struct):
    """What a service was given."""

    access_token: str


@routes.get("/_matrix/federation/v1/openid/userinfo", auth=False)
async def exchange_open_id_token(request: Request, house: House, query: TokenQuery) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1openiduserinfo"""
    return {"sub": await house.openid.owner(query.access_token)}
