"""Aliases of rooms, and whether they are in the public list.

https://spec.matrix.org/v1.19/client-server-api/#room-aliases
"""

from typing import Literal

import msgspec

from federation.identifiers import parse_room_alias, parse_room_id
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.client_server.reading import reader, room_id
from homeserver.http import Json, Request, Routes, parsed

routes = Routes("client")


class AliasBody(msgspec.Struct):
    """The room that an alias is to lead to."""

    room_id: str


class VisibilityBody(msgspec.Struct):
    """Whether a room is in the public list."""

    visibility: Literal["public", "private"] = "public"


@routes.get("/_matrix/client/v3/directory/room/{roomAlias}", auth=False)
async def get_room_id_by_alias(request: Request, house: House) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3directoryroomroomalias"""
    place = await house.aliases.resolve(request.param("roomAlias", parse_room_alias))
    return {"room_id": place.room_id, "servers": list(place.servers)}


@routes.put("/_matrix/client/v3/directory/room/{roomAlias}", auth=True)
async def set_room_alias(request: Request, house: House, body: AliasBody, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directoryroomroomalias"""
    alias = request.param("roomAlias", parse_room_alias)
    room = parsed("room_id", body.room_id, parse_room_id)
    house.app_services.check_alias(alias, who.service)
    await house.aliases.add(who.user, alias, room, in_charge=who.service is not None)
    return {}


@routes.delete("/_matrix/client/v3/directory/room/{roomAlias}", auth=True)
async def delete_room_alias(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3directoryroomroomalias"""
    alias = request.param("roomAlias", parse_room_alias)
    house.app_services.check_alias(alias, who.service)
    in_charge = who.service is not None
    room = await house.aliases.remove(who.user, who.user_id, alias, in_charge=in_charge)
    await house.sending.unname(who.user_id, room, alias)
    return {}


@routes.get("/_matrix/client/v3/rooms/{roomId}/aliases", auth=True)
async def get_local_aliases(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidaliases"""
    room = room_id(request)
    await house.room_states.check_current(reader(who), room)
    return {"aliases": list(await house.aliases.of_room(room))}


@routes.get("/_matrix/client/v3/directory/list/room/{roomId}", auth=False)
async def get_room_visibility_on_directory(request: Request, house: House) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3directorylistroomroomid"""
    is_public = await house.aliases.is_published(room_id(request))
    return {"visibility": "public" if is_public else "private"}


@routes.put("/_matrix/client/v3/directory/list/room/{roomId}", auth=True)
async def set_room_visibility_on_directory(
    request: Request, house: House, body: VisibilityBody, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directorylistroomroomid"""
    is_public = body.visibility == "public"
    await house.aliases.publish(who.user_id, room_id(request), is_public=is_public)
    return {}
