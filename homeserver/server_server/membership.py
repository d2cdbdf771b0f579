"""People of other servers who come, go and knock, and invitations for people here.

https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
"""

from typing import Any

import msgspec

from federation.canonical_json import JsonObject
from federation.identifiers import (
    EventID,
    RoomID,
    ServerName,
    domain_of,
    is_user_id,
    parse_event_id,
    parse_room_id,
    parse_user_id,
)
from homeserver.errors import BadJson
from homeserver.http import Auth, Json, Request, Routes, Stream
from homeserver.rooms.resident import RoomState
from homeserver.server_server.house import House
from homeserver.server_server.shown import Lists, raw, told, told_as_pair
from homeserver.storage.raw_json import RawJson

routes = Routes("federation", limit="federation_requests")

_V1 = "/_matrix/federation/v1"
_V2 = "/_matrix/federation/v2"


class MakeQuery(msgspec.Struct):
    """The room versions that the other server speaks."""

    ver: list[str] = []


class JoinQuery(msgspec.Struct):
    """Whether most of the members may be left out of the answer."""

    omit_members: bool = False


class InviteBody(msgspec.Struct):
    """An invitation, and what is shown of the room."""

    event: dict[str, Any]
    room_version: str
    invite_room_state: list[Any] = []


@routes.get(_V1 + "/make_join/{roomId}/{userId}", auth=Auth.FEDERATION)
async def make_join(request: Request, house: House, query: MakeQuery, origin: ServerName) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_joinroomiduserid"""
    return await _make("join", request, house, query.ver, origin)


@routes.get(_V1 + "/make_leave/{roomId}/{userId}", auth=Auth.FEDERATION)
async def make_leave(request: Request, house: House, origin: ServerName) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_leaveroomiduserid"""
    return await _make("leave", request, house, [], origin)


@routes.get(_V1 + "/make_knock/{roomId}/{userId}", auth=Auth.FEDERATION)
async def make_knock(request: Request, house: House, query: MakeQuery, origin: ServerName) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_knockroomiduserid"""
    return await _make("knock", request, house, query.ver, origin)


@routes.put(_V2 + "/send_join/{roomId}/{eventId}", auth=Auth.FEDERATION)
async def send_join_v2(
    request: Request, house: House, query: JoinQuery, body: JsonObject, origin: ServerName
) -> Stream:
    """https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid"""
    omit_members = query.omit_members
    return told(house, *await _send_join(request, house, body, origin, omit_members=omit_members))


@routes.put(_V1 + "/send_join/{roomId}/{eventId}", auth=Auth.FEDERATION)
async def send_join_v1(
    request: Request, house: House, body: JsonObject, origin: ServerName
) -> Stream:
    """https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid"""
    return told_as_pair(house, *await _send_join(request, house, body, origin))


@routes.put(_V2 + "/send_leave/{roomId}/{eventId}", auth=Auth.FEDERATION)
async def send_leave_v2(
    request: Request, house: House, body: JsonObject, origin: ServerName
) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_leaveroomideventid"""
    room_id, event_id = _named(request)
    await house.resident.accept("leave", origin, room_id, event_id, body)
    return {}


@routes.put(_V1 + "/send_leave/{roomId}/{eventId}", auth=Auth.FEDERATION)
async def send_leave_v1(
    request: Request, house: House, body: JsonObject, origin: ServerName
) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_leaveroomideventid"""
    room_id, event_id = _named(request)
    await house.resident.accept("leave", origin, room_id, event_id, body)
    return [200, {}]


@routes.put(_V1 + "/send_knock/{roomId}/{eventId}", auth=Auth.FEDERATION)
async def send_knock(request: Request, house: House, body: JsonObject, origin: ServerName) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1send_knockroomideventid"""
    room_id, event_id = _named(request)
    house.limits.check("joins_by_server", (origin, room_id))
    _, _, shown = await house.resident.accept("knock", origin, room_id, event_id, body)
    return {"knock_room_state": raw(shown)}


@routes.put(_V2 + "/invite/{roomId}/{eventId}", auth=Auth.FEDERATION)
async def send_invite_v2(
    request: Request, house: House, body: InviteBody, origin: ServerName
) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid"""
    room_id, event_id = _named(request)
    _check_invitation(house, origin, body.event)
    signed = await house.resident.invited(
        origin, room_id, event_id, body.room_version, body.event, body.invite_room_state
    )
    return {"event": RawJson(signed)}


@routes.put(_V1 + "/invite/{roomId}/{eventId}", auth=Auth.FEDERATION)
async def send_invite_v1(
    request: Request, house: House, body: JsonObject, origin: ServerName
) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1inviteroomideventid"""
    room_id, event_id = _named(request)
    _check_invitation(house, origin, body)
    unsigned = body.get("unsigned")
    shown = unsigned.get("invite_room_state", []) if isinstance(unsigned, dict) else []
    if not isinstance(shown, list):
        raise BadJson("invite_room_state must be a list")
    # "This API is for [...] room versions 1 and 2": they differ in nothing that matters here.
    signed = await house.resident.invited(origin, room_id, event_id, "1", body, shown)
    return [200, {"event": RawJson(signed)}]


def _check_invitation(house: House, origin: ServerName, event: JsonObject) -> None:
    """Who is invited is counted only where that server may invite at all."""
    house.limits.check("invites_by_server", origin)
    target = event.get("state_key")
    if is_user_id(target) and domain_of(str(target)) == house.process.server:
        house.limits.check("invites_to_user", target)


async def _make(
    what: str, request: Request, house: House, versions: list[str], origin: ServerName
) -> Json:
    user = request.param("userId", parse_user_id)
    room_id = request.param("roomId", parse_room_id)
    event, version = await house.resident.make(what, origin, room_id, user, versions)
    return {"event": event, "room_version": version.name}


async def _send_join(
    request: Request,
    house: House,
    body: JsonObject,
    origin: ServerName,
    *,
    omit_members: bool = False,
) -> tuple[Lists, JsonObject]:
    """Let somebody in; answers the state before that, and what is told beside it."""
    room_id, event_id = _named(request)
    house.limits.check("joins_by_server", (origin, room_id))
    event, state, _ = await house.resident.accept(
        "join", origin, room_id, event_id, body, omit_members=omit_members
    )
    state = state or RoomState([], [])
    servers = state.servers
    beside = {
        "origin": house.process.server,
        "members_omitted": servers is not None,
        "event": RawJson(event.json),
        **({} if servers is None else {"servers_in_room": list(servers)}),
    }
    return {"state": state.state, "auth_chain": state.chain}, beside


def _named(request: Request) -> tuple[RoomID, EventID]:
    return request.param("roomId", parse_room_id), request.param("eventId", parse_event_id)
