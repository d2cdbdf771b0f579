"""Rooms, for administrators and their tools, whoever is in them.

Not in the specification: the paths, parameters and answers are those of Synapse's admin API.
"""

from typing import Any, Literal

import msgspec

from federation.identifiers import (
    RoomID,
    ServerName,
    domain_of,
    parse_room_alias,
    parse_room_id,
    parse_server_name,
    parse_user_id,
)
from homeserver.accounts.sessions import Session
from homeserver.admin.house import House
from homeserver.admin.paging import Count, Direction, Start
from homeserver.errors import InvalidParam
from homeserver.http import Auth, Json, Request, Routes, parsed
from homeserver.rooms.overview import Details, Room, Search

routes = Routes("client")

_V1 = "/_synapse/admin/v1"
_MOST_SERVERS = 20


class RoomsQuery(msgspec.Struct):
    """Which rooms, and how many of them."""

    start: Start = msgspec.field(default=0, name="from")
    limit: Count = 100
    search_term: str | None = None
    public_rooms: bool | None = None
    empty_rooms: bool | None = None
    order_by: Literal[
        "name",
        "alphabetical",
        "size",
        "canonical_alias",
        "joined_members",
        "joined_local_members",
        "version",
        "creator",
        "encryption",
        "federatable",
        "public",
        "join_rules",
        "guest_access",
        "history_visibility",
        "state_events",
    ] = "name"
    dir: Direction = "f"


class BlockBody(msgspec.Struct):
    """Whether people are kept out."""

    block: bool


class PromoteBody(msgspec.Struct):
    """Who is to be in charge; whoever asks if nobody is named."""

    user_id: str | None = None


class JoinBody(msgspec.Struct):
    """Who is to be in the room."""

    user_id: str


class ViaQuery(msgspec.Struct):
    """Servers to go through."""

    via: list[str] = []
    server_name: list[str] = []


_OLD_ORDERS = {"alphabetical": "name", "size": "joined_members"}


@routes.get(_V1 + "/rooms", auth=Auth.ADMINISTRATOR)
async def list_rooms(request: Request, house: House, query: RoomsQuery) -> Json:
    """Look through the rooms."""
    if query.search_term == "":
        raise InvalidParam("search_term is empty")
    search = Search(
        query.search_term,
        query.public_rooms,
        query.empty_rooms,
        _OLD_ORDERS.get(query.order_by, query.order_by),
        query.dir == "b",
    )
    rooms, total = await house.overview.search(search, query.start, query.limit)
    found: dict[str, Any] = {
        "rooms": [_row(room) for room in rooms],
        "offset": query.start,
        "total_rooms": total,
    }
    if rooms and query.start + len(rooms) < total:
        found["next_batch"] = query.start + len(rooms)
    if query.start:
        found["prev_batch"] = max(0, query.start - query.limit)
    return found


@routes.get(_V1 + "/rooms/{roomId}", auth=Auth.ADMINISTRATOR)
async def get_room(request: Request, house: House) -> Json:
    """One room."""
    return _whole(await house.overview.details(_room(request)))


@routes.get(_V1 + "/rooms/{roomId}/members", auth=Auth.ADMINISTRATOR)
async def get_members_of_room(request: Request, house: House) -> Json:
    """Who is in a room."""
    members = await house.overview.members(_room(request))
    return {"members": members, "total": len(members)}


@routes.get(_V1 + "/rooms/{roomId}/state", auth=Auth.ADMINISTRATOR)
async def get_state_of_room(request: Request, house: House) -> Json:
    """The whole state of a room."""
    return {"state": await house.overview.state(_room(request))}


@routes.get(_V1 + "/rooms/{roomId}/block", auth=Auth.ADMINISTRATOR)
async def get_block(request: Request, house: House) -> Json:
    """Tell whether a room is blocked, and who did so."""
    by = await house.blocking.blocked_by(_room(request))
    return {"block": False} if by is None else {"block": True, "user_id": by}


@routes.put(_V1 + "/rooms/{roomId}/block", auth=Auth.ADMINISTRATOR)
async def set_block(request: Request, house: House, body: BlockBody, who: Session) -> Json:
    """Keep everybody of this server out of a room, or let them in again."""
    await house.blocking.set(_room(request), who.user, blocked=body.block)
    return {"block": body.block}


@routes.post(_V1 + "/rooms/{roomIdOrAlias}/make_room_admin", auth=Auth.ADMINISTRATOR)
async def make_room_admin(request: Request, house: House, body: PromoteBody, who: Session) -> Json:
    """Put somebody in charge of a room in which somebody of this server is."""
    room, _ = await _named(request, house)
    named = body.user_id
    user = who.user_id if named is None else parsed("user_id", named, parse_user_id)
    await house.taking_charge.promote(room, user)
    return {}


@routes.post(_V1 + "/join/{roomIdOrAlias}", auth=Auth.ADMINISTRATOR)
async def join_user_to_room(
    request: Request, house: House, query: ViaQuery, body: JoinBody, who: Session
) -> Json:
    """Let somebody of this server join a room."""
    user = parsed("user_id", body.user_id, parse_user_id)
    if domain_of(user) != house.process.server:
        raise InvalidParam("the user is not of this server")
    await house.administration.account(user)
    named = [*query.via, *query.server_name][:_MOST_SERVERS]
    via = [parsed("via", name, parse_server_name) for name in named]
    room, servers = await _named(request, house)
    await house.taking_charge.bring(who.user_id, user, room, [*via, *servers])
    return {"room_id": room}


async def _named(request: Request, house: House) -> tuple[RoomID, list[ServerName]]:
    """The room in the path, and servers that are in it as far as its alias tells."""
    if not request.match_info["roomIdOrAlias"].startswith("#"):
        return request.param("roomIdOrAlias", parse_room_id), []
    place = await house.aliases.resolve(request.param("roomIdOrAlias", parse_room_alias))
    return place.room_id, list(place.servers)


def _room(request: Request) -> RoomID:
    return request.param("roomId", parse_room_id)


def _row(room: Room) -> dict[str, Any]:
    measured = room.measured
    return {
        "room_id": measured.room_id,
        "name": room.says("name", "name"),
        "canonical_alias": room.says("canonical_alias", "alias"),
        "joined_members": measured.joined,
        "joined_local_members": measured.joined_here,
        "version": measured.version,
        "creator": room.creator,
        "encryption": room.says("encryption", "algorithm"),
        "federatable": room.federates,
        "public": measured.is_published,
        "join_rules": room.says("join_rules", "join_rule"),
        "guest_access": room.says("guest_access"),
        "history_visibility": room.says("history_visibility"),
        "state_events": measured.state_events,
        "room_type": room.says("create", "type"),
    }


def _whole(details: Details) -> dict[str, Any]:
    return {
        **_row(details.room),
        "topic": details.room.says("topic", "topic"),
        "avatar": details.room.says("avatar", "url"),
        "joined_local_devices": details.devices,
        "forgotten": details.is_forgotten,
    }
