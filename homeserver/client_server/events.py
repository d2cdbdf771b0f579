"""Single events of rooms, their states and their members.

https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room
"""

from typing import Literal

import msgspec

from federation.identifiers import parse_event_id
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.client_server.reading import reader, reader_of_messages, room_id, token
from homeserver.errors import Forbidden, NotFound
from homeserver.http import Json, Request, Routes

routes = Routes("client")

Membership = Literal["join", "invite", "knock", "leave", "ban"]


class StateQuery(msgspec.Struct):
    """As what an entry is wanted."""

    format: Literal["content", "event"] = "content"


class MembersQuery(msgspec.Struct):
    """Which members, of when."""

    at: str | None = None
    membership: Membership | None = None
    not_membership: Membership | None = None


class EventQuery(msgspec.Struct):
    """Whether a redacted event is wanted as it was (MSC2815)."""

    as_it_was: bool = msgspec.field(default=False, name="fi.mau.msc2815.include_unredacted_content")


@routes.get("/_matrix/client/v3/rooms/{roomId}/event/{eventId}", auth=True, allows=["guest"])
async def get_one_room_event(
    request: Request, house: House, query: EventQuery, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomideventeventid"""
    room, event = room_id(request), request.param("eventId", parse_event_id)
    messages = await reader_of_messages(house, who)
    if query.as_it_was and house.settings.redaction.keep:
        return await house.unredacting.event(messages, room, event, is_admin=who.is_admin)
    try:
        return await house.history.event(messages, room, event)
    except Forbidden as error:
        # "404: The event was not found or you do not have permission to read this event."
        raise NotFound("there is no such event here") from error


@routes.get("/_matrix/client/v3/rooms/{roomId}/state", auth=True, allows=["guest"])
async def get_room_state(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstate"""
    return list(await house.room_states.whole(reader(who), room_id(request)))


@routes.get(
    "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey?}",
    auth=True,
    allows=["guest"],
)
async def get_room_state_with_key(
    request: Request, house: House, query: StateQuery, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstateeventtypestatekey"""
    kind, key = request.match_info["eventType"], request.match_info["stateKey"]
    found = await house.room_states.entry(reader(who), room_id(request), kind, key)
    content: Json = found["content"]
    return found if query.format == "event" else content


@routes.get("/_matrix/client/v3/rooms/{roomId}/members", auth=True, allows=["guest"])
async def get_members_by_room(
    request: Request, house: House, query: MembersQuery, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmembers"""
    chunk = await house.room_states.members(
        reader(who), room_id(request), token(query.at), query.membership, query.not_membership
    )
    return {"chunk": chunk}


@routes.get("/_matrix/client/v3/rooms/{roomId}/joined_members", auth=True)
async def get_joined_members_by_room(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidjoined_members"""
    return {"joined": await house.room_states.joined_members(reader(who), room_id(request))}
