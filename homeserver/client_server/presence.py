"""Who is online.

https://spec.matrix.org/v1.19/client-server-api/#presence
"""

from typing import Annotated, Literal

import msgspec

from federation.identifiers import parse_user_id
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.client_server.reading import reader
from homeserver.errors import Forbidden
from homeserver.http import Json, Request, Routes
from homeserver.rooms.presence import LONGEST_STATUS

routes = Routes("client")


class PresenceBody(msgspec.Struct):
    """What somebody says they are."""

    presence: Literal["online", "unavailable", "offline"]
    status_msg: Annotated[str, msgspec.Meta(max_length=LONGEST_STATUS)] | None = None


@routes.put(
    "/_matrix/client/v3/presence/{userId}/status", auth=True, allows=["suspended"], limit="presence"
)
async def set_presence(request: Request, house: House, body: PresenceBody, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3presenceuseridstatus"""
    # "You cannot set the presence state of another user."
    if request.param("userId", parse_user_id) != who.user_id:
        raise Forbidden("nobody can set the presence of somebody else")
    await house.presence.set(reader(who), body.presence, body.status_msg)
    return {}


@routes.get("/_matrix/client/v3/presence/{userId}/status", auth=True)
async def get_presence(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3presenceuseridstatus"""
    return await house.presence.get(reader(who), request.param("userId", parse_user_id))
