"""Coming into rooms, leaving them, and being sent out.

https://spec.matrix.org/v1.19/client-server-api/#room-membership
"""

from typing import TypeVar

import msgspec

from federation.canonical_json import JsonObject
from federation.identifiers import (
    RoomID,
    ServerName,
    parse_room_alias,
    parse_room_id,
    parse_server_name,
    parse_user_id,
)
from homeserver.accounts.addresses import parse_address
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.client_server.inviting import count_invitations
from homeserver.client_server.reading import room_id
from homeserver.errors import InvalidParam
from homeserver.http import Json, Limit, Request, Routes, parsed
from homeserver.http.decoding import as_matrix_error, check_canonical
from homeserver.rooms.clearing import FLAG
from homeserver.rooms.third_party_invites import Redemption, Wanted, read_signed

routes = Routes("client")

_T = TypeVar("_T")
_MOST_SERVERS = 20
_JOINS = (Limit("joins"), Limit("joins_per_room", "roomId"))


class Reason(msgspec.Struct):
    """Why."""

    reason: str | None = None


class Target(msgspec.Struct):
    """Whom, and why."""

    user_id: str
    reason: str | None = None


class AddressTarget(msgspec.Struct):
    """Whom by their address, and which identity server may know them."""

    id_server: str
    id_access_token: str
    medium: str
    address: str


class OutTarget(Target):
    """Who is to be put out, perhaps with all that they said."""

    redact_events: bool | None = msgspec.field(default=None, name=FLAG)


class ViaQuery(msgspec.Struct):
    """Servers to go through."""

    via: list[str] = []
    server_name: list[str] = []


@routes.post("/_matrix/client/v3/rooms/{roomId}/join", auth=True, limit=_JOINS, allows=["guest"])
async def join_room_by_id(
    request: Request, house: House, body: JsonObject | None, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidjoin"""
    return await _join(house, who, room_id(request), [], body or {})


@routes.post("/_matrix/client/v3/join/{roomIdOrAlias}", auth=True, limit="joins")
async def join_room(
    request: Request, house: House, query: ViaQuery, body: JsonObject | None, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3joinroomidoralias"""
    room, via = await _named(request, house, query)
    return await _join(house, who, room, via, body or {})


@routes.post("/_matrix/client/v3/knock/{roomIdOrAlias}", auth=True, limit="joins")
async def knock_room(
    request: Request, house: House, query: ViaQuery, body: Reason, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3knockroomidoralias"""
    room, via = await _named(request, house, query)
    await house.memberships.knock(who.user_id, room, via, body.reason)
    return {"room_id": room}


@routes.post("/_matrix/client/v3/rooms/{roomId}/leave", auth=True, allows=["guest", "suspended"])
async def leave_room(request: Request, house: House, body: Reason, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidleave"""
    room = room_id(request)
    await house.memberships.leave(who.user_id, room, body.reason)
    if house.settings.rooms.forget_on_leave:
        await house.memberships.forget(who.user, room)
    return {}


@routes.post("/_matrix/client/v3/rooms/{roomId}/forget", auth=True, allows=["suspended"])
async def forget_room(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidforget"""
    await house.memberships.forget(who.user, room_id(request))
    return {}


@routes.post("/_matrix/client/v3/rooms/{roomId}/invite", auth=True)
async def invite_user(request: Request, house: House, body: JsonObject, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidinvite"""
    if "user_id" not in body and "medium" in body:
        return await _invite_by_address(request, house, body, who)
    target = _converted(body, Target)
    user = parsed("user_id", target.user_id, parse_user_id)
    room = room_id(request)
    count_invitations(request, house, [user], room)
    await house.memberships.invite(who.user_id, room, user, target.reason)
    return {}


async def _invite_by_address(
    request: Request, house: House, body: JsonObject, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#thirdparty_post_matrixclientv3roomsroomidinvite"""
    wanted = read_wanted(house, _converted(body, AddressTarget))
    room = room_id(request)
    count_invitations(request, house, [wanted.address], room)
    await house.third_party_invites.invite(who.user_id, room, wanted)
    return {}


def read_wanted(house: House, target: AddressTarget) -> Wanted:
    """Whom a client wants to invite by address.

    Raises:
        ServerNotTrusted: the identity server is none that may be asked.
        InvalidParam, MediumNotSupported: the address is none.

    """
    access = house.third_party_invites.access(target.id_server, target.id_access_token)
    return Wanted(access, parse_address(target.medium, target.address))


@routes.post("/_matrix/client/v3/rooms/{roomId}/kick", auth=True)
async def kick(request: Request, house: House, body: OutTarget, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidkick"""
    user = parsed("user_id", body.user_id, parse_user_id)
    await house.memberships.kick(
        who.user_id, room_id(request), user, body.reason, redact=body.redact_events
    )
    return {}


@routes.post("/_matrix/client/v3/rooms/{roomId}/ban", auth=True)
async def ban(request: Request, house: House, body: OutTarget, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidban"""
    user = parsed("user_id", body.user_id, parse_user_id)
    await house.memberships.ban(
        who.user_id, room_id(request), user, body.reason, redact=body.redact_events
    )
    return {}


@routes.post("/_matrix/client/v3/rooms/{roomId}/unban", auth=True)
async def unban(request: Request, house: House, body: Target, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidunban"""
    user = parsed("user_id", body.user_id, parse_user_id)
    await house.memberships.unban(who.user_id, room_id(request), user, body.reason)
    return {}


@routes.get("/_matrix/client/v3/joined_rooms", auth=True)
async def get_joined_rooms(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3joined_rooms"""
    return {"joined_rooms": list(await house.memberships.joined(who.user))}


async def _join(
    house: House, who: Session, room: RoomID, via: list[ServerName], body: JsonObject
) -> Json:
    check_canonical(body)
    reason = body.get("reason")
    if not isinstance(reason, str | None):
        raise InvalidParam("reason must be a string")
    extra = dict(body)
    shown = extra.pop("third_party_signed", None)
    if reason is None:
        extra.pop("reason", None)
    if shown is not None:
        await house.third_party_invites.redeem(_redemption(room, who, shown))
    await house.memberships.join(who.user_id, room, via, extra, is_guest=who.is_guest)
    await house.carrying_over.joined(who.user, room)
    return {"room_id": room}


def _redemption(room: RoomID, who: Session, shown: object) -> Redemption:
    """What an identity server signed for a client that joins with it."""
    signed = read_signed(shown, who.user_id)
    sender = parsed("sender", str(signed.get("sender")), parse_user_id)
    return Redemption(room, sender, who.user_id, signed)


async def _named(
    request: Request, house: House, query: ViaQuery
) -> tuple[RoomID, list[ServerName]]:
    """The room in the path, and servers to go through."""
    named = [*query.via, *query.server_name][:_MOST_SERVERS]
    via = [parsed("via", name, parse_server_name) for name in named]
    if not request.match_info["roomIdOrAlias"].startswith("#"):
        return request.param("roomIdOrAlias", parse_room_id), via
    place = await house.aliases.resolve(request.param("roomIdOrAlias", parse_room_alias))
    return place.room_id, [*via, *place.servers]


def _converted(body: JsonObject, kind: type[_T]) -> _T:
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        raise as_matrix_error(error, InvalidParam) from error
