"""What clients keep here for themselves, and the tags that they give to rooms.

https://spec.matrix.org/v1.19/client-server-api/#client-config
https://spec.matrix.org/v1.19/client-server-api/#room-tagging
"""

import orjson

from federation.canonical_json import JsonObject
from federation.identifiers import RoomID, parse_room_id, parse_user_id
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.errors import BadJson, Forbidden, InvalidParam, NotFound
from homeserver.http import Json, Request, Routes
from homeserver.push.default_rules import default_rules

routes = Routes("client")

_GLOBAL = "/_matrix/client/v3/user/{userId}/account_data/{type}"
_ROOM = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}"
_DELETE = "unstable/org.matrix.msc3391"
_TAGS = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags"
_LONGEST_TAG = 255
"""Bytes: "A tag [...] MUST not exceed 255 bytes"."""


@routes.get(_GLOBAL, auth=True)
async def get_account_data(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridaccount_datatype"""
    return await _get(request, house, who, None)


@routes.put(_GLOBAL, auth=True, allows=["suspended"])
async def set_account_data(request: Request, house: House, body: bytes, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridaccount_datatype"""
    _check_own(request, who)
    await house.account_data.put(who.user, None, request.match_info["type"], body)
    return {}


@routes.delete(_GLOBAL, auth=True, allows=["suspended"], also=[_DELETE])
async def delete_account_data(request: Request, house: House, who: Session) -> Json:
    """Remove account data of the account (MSC3391)."""
    _check_own(request, who)
    await house.account_data.delete(who.user, None, request.match_info["type"])
    return {}


@routes.get(_ROOM, auth=True)
async def get_account_data_per_room(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridroomsroomidaccount_datatype"""
    return await _get(request, house, who, request.param("roomId", parse_room_id))


@routes.put(_ROOM, auth=True, allows=["suspended"])
async def set_account_data_per_room(
    request: Request, house: House, body: bytes, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridroomsroomidaccount_datatype"""
    _check_own(request, who)
    room_id = request.param("roomId", parse_room_id)
    await house.account_data.put(who.user, room_id, request.match_info["type"], body)
    return {}


@routes.delete(_ROOM, auth=True, allows=["suspended"], also=[_DELETE])
async def delete_account_data_per_room(request: Request, house: House, who: Session) -> Json:
    """Remove account data of a room (MSC3391)."""
    _check_own(request, who)
    room_id = request.param("roomId", parse_room_id)
    await house.account_data.delete(who.user, room_id, request.match_info["type"])
    return {}


@routes.get(_TAGS, auth=True)
async def get_room_tags(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridroomsroomidtags"""
    _check_own(request, who)
    return {"tags": await _tags(house, who, request.param("roomId", parse_room_id))}


@routes.put(_TAGS + "/{tag}", auth=True, allows=["suspended"])
async def set_room_tag(request: Request, house: House, body: JsonObject, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridroomsroomidtagstag"""
    _check_own(request, who)
    order = body.get("order")
    if order is not None and (isinstance(order, bool) or not isinstance(order, int | float)):
        raise BadJson("order must be a number")
    tag, room_id = request.match_info["tag"], request.param("roomId", parse_room_id)
    if not 0 < len(tag.encode(errors="replace")) <= _LONGEST_TAG:
        raise InvalidParam("a tag has at most 255 bytes")
    await _put_tags(house, who, room_id, {**await _tags(house, who, room_id), tag: body})
    return {}


@routes.delete(_TAGS + "/{tag}", auth=True, allows=["suspended"])
async def delete_room_tag(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3useruseridroomsroomidtagstag"""
    _check_own(request, who)
    tag, room_id = request.match_info["tag"], request.param("roomId", parse_room_id)
    tags = await _tags(house, who, room_id)
    if tags.pop(tag, None) is not None:
        await _put_tags(house, who, room_id, tags)
    return {}


async def _get(request: Request, house: House, who: Session, room_id: RoomID | None) -> Json:
    _check_own(request, who)
    kind = request.match_info["type"]
    if room_id is None and kind == "m.push_rules":
        return {"global": default_rules(who.user_id)}
    found: Json = orjson.loads(await house.account_data.get(who.user, room_id, kind))
    return found


async def _tags(house: House, who: Session, room_id: RoomID) -> JsonObject:
    try:
        content = orjson.loads(await house.account_data.get(who.user, room_id, "m.tag"))
    except NotFound:
        return {}
    tags = content.get("tags")
    return tags if isinstance(tags, dict) else {}


async def _put_tags(house: House, who: Session, room_id: RoomID, tags: JsonObject) -> None:
    try:
        content = orjson.dumps({"tags": tags})
    except TypeError as error:
        raise BadJson("a tag's content cannot be kept") from error
    await house.account_data.put(who.user, room_id, "m.tag", content)


def _check_own(request: Request, who: Session) -> None:
    if request.param("userId", parse_user_id) != who.user_id:
        raise Forbidden("this is somebody else's account data")
