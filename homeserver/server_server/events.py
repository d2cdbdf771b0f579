"""Events, states and history of rooms, for servers that are in them.

https://spec.matrix.org/v1.19/server-server-api/#retrieving-events
"""

from typing import Annotated, Any, Literal

import msgspec

from federation.identifiers import EventID, ServerName, parse_event_id, parse_room_id
from homeserver.http import Auth, Json, Limit, Request, Routes, Stream
from homeserver.http.requests import parsed
from homeserver.server_server.house import House
from homeserver.server_server.shown import ids_of, raw, told
from homeserver.storage.raw_json import RawJson

routes = Routes("federation", limit="federation_requests")

_V1 = "/_matrix/federation/v1"
_LARGE = (Limit("federation_requests"), Limit("federation_states"))
_MOST_NAMED = 100


class EventQuery(msgspec.Struct):
    """At which event."""

    event_id: str


class BackfillQuery(msgspec.Struct):
    """From where, and how far."""

    v: list[str]
    limit: Annotated[int, msgspec.Meta(ge=0)] = 10


class TimestampQuery(msgspec.Struct):
    """From which moment, and whether forwards or backwards."""

    ts: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    direction: Literal["f", "b"] = msgspec.field(name="dir")


class MissingBody(msgspec.Struct):
    """Between what."""

    earliest_events: list[str]
    latest_events: list[str]
    limit: Annotated[int, msgspec.Meta(ge=0)] = 10
    min_depth: Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)] = 0


@routes.get(_V1 + "/event/{eventId}", auth=Auth.FEDERATION)
async def get_event(request: Request, house: House, origin: ServerName) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1eventeventid"""
    event = await house.resident.event(origin, request.param("eventId", parse_event_id))
    return _transaction(house, [event])


@routes.get(_V1 + "/state/{roomId}", auth=Auth.FEDERATION, limit=_LARGE)
async def get_room_state(
    request: Request, house: House, query: EventQuery, origin: ServerName
) -> Stream:
    """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1stateroomid"""
    found = await house.resident.state_before(
        origin,
        request.param("roomId", parse_room_id),
        parsed("event_id", query.event_id, parse_event_id),
    )
    return told(house, {"pdus": found.state, "auth_chain": found.chain})


@routes.get(_V1 + "/state_ids/{roomId}", auth=Auth.FEDERATION, limit=_LARGE)
async def get_room_state_ids(
    request: Request, house: House, query: EventQuery, origin: ServerName
) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1state_idsroomid"""
    found = await house.resident.state_before(
        origin,
        request.param("roomId", parse_room_id),
        parsed("event_id", query.event_id, parse_event_id),
    )
    return {
        "pdu_ids": await ids_of(house, found.state),
        "auth_chain_ids": await ids_of(house, found.chain),
    }


@routes.get(_V1 + "/event_auth/{roomId}/{eventId}", auth=Auth.FEDERATION, limit=_LARGE)
async def get_event_authorization(request: Request, house: House, origin: ServerName) -> Stream:
    """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1event_authroomideventid"""
    room_id = request.param("roomId", parse_room_id)
    event_id = request.param("eventId", parse_event_id)
    return told(house, {"auth_chain": await house.resident.auth_chain(origin, room_id, event_id)})


@routes.get(_V1 + "/timestamp_to_event/{roomId}", auth=Auth.FEDERATION)
async def get_event_by_timestamp(
    request: Request, house: House, query: TimestampQuery, origin: ServerName
) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid"""
    room_id = request.param("roomId", parse_room_id)
    found = await house.resident.closest(origin, room_id, query.ts, forwards=query.direction == "f")
    return {"event_id": found.event_id, "origin_server_ts": found.origin_server_ts}


@routes.get(_V1 + "/backfill/{roomId}", auth=Auth.FEDERATION)
async def backfill_room(
    request: Request, house: House, query: BackfillQuery, origin: ServerName
) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1backfillroomid"""
    room_id = request.param("roomId", parse_room_id)
    named = _event_ids("v", query.v)
    return _transaction(house, await house.resident.backfill(origin, room_id, named, query.limit))


@routes.post(_V1 + "/get_missing_events/{roomId}", auth=Auth.FEDERATION)
async def get_missing_previous_events(
    request: Request, house: House, body: MissingBody, origin: ServerName
) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1get_missing_eventsroomid"""
    room_id = request.param("roomId", parse_room_id)
    earliest = _event_ids("earliest_events", body.earliest_events)
    latest = _event_ids("latest_events", body.latest_events)
    found = await house.resident.missing(
        origin, room_id, earliest, latest, body.limit, body.min_depth
    )
    return {"events": raw(found)}


def _event_ids(name: str, listed: list[str]) -> list[EventID]:
    return [parsed(name, one, parse_event_id) for one in listed[:_MOST_NAMED]]


def _transaction(house: House, events: list[bytes]) -> dict[str, Any]:
    pdus: list[RawJson] = raw(events)
    now = house.process.now()
    return {"origin": house.process.server, "origin_server_ts": now, "pdus": pdus}
