"""Rooms that one shares with somebody.

https://spec.matrix.org/v1.19/client-server-api/#mutual-rooms
"""

import msgspec

from federation.identifiers import parse_user_id
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.client_server.reading import reader
from homeserver.http import Json, Request, Routes, parsed

routes = Routes("client")

_UNSTABLE = "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms"


class MutualRoomsQuery(msgspec.Struct):
    """With whom, and from where on."""

    user_id: str
    start: str | None = msgspec.field(name="from", default=None)


@routes.get("/_matrix/client/v1/mutual_rooms", auth=True, also=[_UNSTABLE], limit="searches")
async def get_mutual_rooms(
    request: Request, house: House, query: MutualRoomsQuery, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mutual_rooms"""
    other = parsed("user_id", query.user_id, parse_user_id)
    found = await house.mutual_rooms.find(reader(who), other, query.start)
    more = {} if found.next_batch is None else {"next_batch": found.next_batch}
    return {"joined": found.rooms, "count": found.total, **more}
