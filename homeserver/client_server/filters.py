"""Filters.

https://spec.matrix.org/v1.19/client-server-api/#filtering
"""

import orjson

from federation.identifiers import parse_user_id
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.errors import Forbidden
from homeserver.http import Json, Reply, Request, Routes

routes = Routes("client")


@routes.post("/_matrix/client/v3/user/{userId}/filter", auth=True, allows=["suspended"])
async def define_filter(request: Request, house: House, body: bytes, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridfilter"""
    _check_own(request, who)
    return {"filter_id": await house.filters.add(who.user, body)}


@routes.get("/_matrix/client/v3/user/{userId}/filter/{filterId}", auth=True)
async def get_filter(request: Request, house: House, who: Session) -> Json | Reply:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridfilterfilterid"""
    _check_own(request, who)
    raw = await house.filters.get_json(who.user, request.match_info["filterId"])
    found: Json = orjson.loads(raw)
    return found


def _check_own(request: Request, who: Session) -> None:
    if request.param("userId", parse_user_id) != who.user_id:
        raise Forbidden("these are somebody else's filters")
