"""What clients asked before there was `/sync`, and ask of rooms that they only look into.

https://spec.matrix.org/v1.19/client-server-api/#room-previews
"""

from typing import Annotated

import msgspec

from federation.identifiers import parse_event_id, parse_room_id
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.client_server.reading import reader, reader_of_messages, room_id, token
from homeserver.errors import GuestAccessForbidden
from homeserver.http import Json, Request, Routes, parsed
from homeserver.sync.wishes import DEFAULT_LIMIT, Wish

routes = Routes("client")


class EventsQuery(msgspec.Struct):
    """Since when something is new, and how long to wait for it, in milliseconds."""

    start: str | None = msgspec.field(name="from", default=None)
    timeout: Annotated[int, msgspec.Meta(ge=0)] = 30_000
    room_id: str | None = None


class InitialSyncQuery(msgspec.Struct):
    """How many messages of each room, and of which rooms."""

    limit: Annotated[int, msgspec.Meta(ge=0)] = DEFAULT_LIMIT
    archived: bool = False


@routes.get("/_matrix/client/v3/events", auth=True, allows=["guest"])
async def get_events(request: Request, house: House, query: EventsQuery, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3events"""
    room = parsed("room_id", query.room_id, parse_room_id) if query.room_id else None
    if room is None and who.is_guest:
        # "GET /events as used for room previews": of all rooms guests learn by `/sync`.
        raise GuestAccessForbidden
    if room is None and house.presence.enabled:
        await house.presence.seen(reader(who), "online")
    wish = Wish(who, house.syncing.readable(token(query.start)))
    seconds = query.timeout / 1000
    found = await house.event_stream.read(wish, room, seconds, request.stopping)
    return {"start": query.start or str(found.start), "end": str(found.end), "chunk": found.events}


@routes.get("/_matrix/client/v3/events/{eventId}", auth=True)
async def get_one_event(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3eventseventid"""
    event_id = request.param("eventId", parse_event_id)
    return await house.history.anywhere(await reader_of_messages(house, who), event_id)


@routes.get("/_matrix/client/v3/initialSync", auth=True)
async def initial_sync(
    request: Request, house: House, query: InitialSyncQuery, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3initialsync"""
    wish = Wish(who, None)
    return await house.snapshots.whole(wish, query.limit, archived=query.archived)


@routes.get("/_matrix/client/v3/rooms/{roomId}/initialSync", auth=True, allows=["guest"])
async def room_initial_sync(
    request: Request, house: House, query: InitialSyncQuery, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidinitialsync"""
    return await house.snapshots.one(Wish(who, None), room_id(request), query.limit)
