"""Telling others that one types.

https://spec.matrix.org/v1.19/client-server-api/#typing-notifications
"""

from typing import Annotated

import msgspec

from federation.identifiers import parse_user_id
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.client_server.reading import reader, room_id
from homeserver.errors import Forbidden
from homeserver.http import Json, Request, Routes

routes = Routes("client")


class TypingBody(msgspec.Struct):
    """Whether somebody types, and for how many milliseconds."""

    typing: bool
    timeout: Annotated[int, msgspec.Meta(ge=0)] = 30_000


@routes.put("/_matrix/client/v3/rooms/{roomId}/typing/{userId}", auth=True, allows=["suspended"])
async def set_typing(request: Request, house: House, body: TypingBody, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidtypinguserid"""
    room = room_id(request)
    if request.param("userId", parse_user_id) != who.user_id:
        raise Forbidden("nobody can type for somebody else")
    await house.typing.set(reader(who), room, body.timeout if body.typing else None)
    return {}
