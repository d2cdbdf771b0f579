"""Rooms read back.

https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

from typing import Annotated, Literal

import msgspec

from federation.canonical_json import JsonObject
from federation.identifiers import parse_event_id
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.client_server.reading import reader_of_messages, room_event_filter, room_id, token
from homeserver.http import Json, Request, Routes
from homeserver.rooms.history import Wanted

routes = Routes("client")

Limit = Annotated[int, msgspec.Meta(ge=0)]


class MessagesQuery(msgspec.Struct):
    """Which page."""

    direction: Literal["b", "f"] = msgspec.field(name="dir")
    start: str | None = msgspec.field(name="from", default=None)
    to: str | None = None
    limit: Limit = 10
    filter: str | None = None


class TimestampQuery(msgspec.Struct):
    """From which moment, and whether forwards or backwards."""

    ts: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    direction: Literal["f", "b"] = msgspec.field(name="dir")


class ContextQuery(msgspec.Struct):
    """How much around an event."""

    limit: Limit = 10
    filter: str | None = None


@routes.get("/_matrix/client/v3/rooms/{roomId}/messages", auth=True, allows=["guest"])
async def get_room_events(
    request: Request, house: House, query: MessagesQuery, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages"""
    # A page of nothing would have no end to go on from.
    limit = max(1, query.limit)
    wanted = Wanted(query.direction == "b", limit, room_event_filter(query.filter))
    room, start, to = room_id(request), token(query.start), token(query.to)
    reader = await reader_of_messages(house, who)
    page = await house.history.messages(reader, room, start, to, wanted)
    answer: JsonObject = {"start": query.start or str(page.start), "chunk": page.chunk}
    if page.end is not None:
        answer["end"] = str(page.end)
    if page.state:
        answer["state"] = page.state
    return answer


@routes.get(
    "/_matrix/client/v3/rooms/{roomId}/context/{eventId}",
    auth=True,
    allows=["guest"],
)
async def get_event_context(
    request: Request, house: House, query: ContextQuery, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidcontexteventid"""
    room, event = room_id(request), request.param("eventId", parse_event_id)
    wanted = room_event_filter(query.filter)
    reader = await reader_of_messages(house, who)
    found = await house.contexts.get(reader, room, event, query.limit, wanted)
    return {
        "event": found.event,
        "events_before": found.before,
        "events_after": found.after,
        "start": str(found.start),
        "end": str(found.end),
        "state": found.state,
    }


@routes.get("/_matrix/client/v1/rooms/{roomId}/timestamp_to_event", auth=True, limit="searches")
async def get_event_by_timestamp(
    request: Request, house: House, query: TimestampQuery, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event"""
    reader = await reader_of_messages(house, who)
    found = await house.timestamps.closest(
        reader, room_id(request), query.ts, forwards=query.direction == "f"
    )
    return {"event_id": found.event_id, "origin_server_ts": found.origin_server_ts}
