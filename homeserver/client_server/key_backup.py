"""Backups of keys.

https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.errors import InvalidParam, NotFound
from homeserver.http import Json, Request, Routes
from homeserver.storage.key_backup import SessionKey, Version
from homeserver.storage.raw_json import RawJson

routes = Routes("client")

_VERSIONS = "/_matrix/client/v3/room_keys/version"
_VERSION = _VERSIONS + "/{version}"
_KEYS = "/_matrix/client/v3/room_keys/keys"
_ROOM = _KEYS + "/{roomId}"
_SESSION = _ROOM + "/{sessionId}"


class VersionBody(msgspec.Struct):
    """What a backup says of itself."""

    algorithm: str
    auth_data: dict[str, Any]


class ChangedBody(VersionBody):
    """The same of one that there is."""

    version: str | None = None


class VersionQuery(msgspec.Struct):
    """Which backup."""

    version: str


class RoomKeys(msgspec.Struct):
    """Keys of one room."""

    sessions: dict[str, dict[str, Any]]


class AllKeys(msgspec.Struct):
    """Keys of many rooms."""

    rooms: dict[str, RoomKeys]


@routes.post(_VERSIONS, auth=True, allows=["suspended"])
async def post_room_keys_version(
    request: Request, house: House, body: VersionBody, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3room_keysversion"""
    version = await house.backups.create(who.user, body.algorithm, body.auth_data)
    return {"version": version}


@routes.get(_VERSIONS, auth=True)
async def get_room_keys_version_current(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keysversion"""
    return _described(await house.backups.get(who.user))


@routes.get(_VERSION, auth=True)
async def get_room_keys_version(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keysversionversion"""
    return _described(await house.backups.get(who.user, request.match_info["version"]))


@routes.put(_VERSION, auth=True, allows=["suspended"])
async def put_room_keys_version(
    request: Request, house: House, body: ChangedBody, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keysversionversion"""
    version = request.match_info["version"]
    if body.version not in {None, version}:
        raise InvalidParam("the version is another than that in the path")
    await house.backups.update(who.user, version, body.algorithm, body.auth_data)
    return {}


@routes.delete(_VERSION, auth=True, allows=["suspended"])
async def delete_room_keys_version(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3room_keysversionversion"""
    await house.backups.delete(who.user, request.match_info["version"])
    return {}


@routes.put(_KEYS, auth=True, allows=["suspended"])
async def put_room_keys(
    request: Request, house: House, query: VersionQuery, body: AllKeys, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keyskeys"""
    keys = {room_id: room.sessions for room_id, room in body.rooms.items()}
    return _counted(await house.backups.put(who.user, query.version, keys))


@routes.get(_KEYS, auth=True)
async def get_room_keys(request: Request, house: House, query: VersionQuery, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keyskeys"""
    rooms: dict[str, Any] = {}
    for key in await house.backups.read(who.user, query.version):
        sessions = rooms.setdefault(key.room_id, {"sessions": {}})["sessions"]
        sessions[key.session_id] = _shown(key)
    return {"rooms": rooms}


@routes.delete(_KEYS, auth=True, allows=["suspended"])
async def delete_room_keys(
    request: Request, house: House, query: VersionQuery, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3room_keyskeys"""
    return _counted(await house.backups.remove(who.user, query.version))


@routes.put(_ROOM, auth=True, allows=["suspended"])
async def put_room_keys_by_room_id(
    request: Request, house: House, query: VersionQuery, body: RoomKeys, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keyskeysroomid"""
    keys = {request.match_info["roomId"]: body.sessions}
    return _counted(await house.backups.put(who.user, query.version, keys))


@routes.get(_ROOM, auth=True)
async def get_room_keys_by_room_id(
    request: Request, house: House, query: VersionQuery, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keyskeysroomid"""
    found = await house.backups.read(who.user, query.version, _name(request, "roomId"))
    return {"sessions": {key.session_id: _shown(key) for key in found}}


@routes.delete(_ROOM, auth=True, allows=["suspended"])
async def delete_room_keys_by_room_id(
    request: Request, house: House, query: VersionQuery, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3room_keyskeysroomid"""
    room_id = _name(request, "roomId")
    return _counted(await house.backups.remove(who.user, query.version, room_id))


@routes.put(_SESSION, auth=True, allows=["suspended"])
async def put_room_keys_by_session_id(
    request: Request, house: House, query: VersionQuery, body: dict[str, Any], who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keyskeysroomidsessionid"""
    keys = {request.match_info["roomId"]: {request.match_info["sessionId"]: body}}
    return _counted(await house.backups.put(who.user, query.version, keys))


@routes.get(_SESSION, auth=True)
async def get_room_keys_by_session_id(
    request: Request, house: House, query: VersionQuery, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keyskeysroomidsessionid"""
    named = _name(request, "roomId"), _name(request, "sessionId")
    found: Sequence[SessionKey] = await house.backups.read(who.user, query.version, *named)
    if not found:
        raise NotFound("there is no such key")
    return _shown(found[0])


@routes.delete(_SESSION, auth=True, allows=["suspended"])
async def delete_room_keys_by_session_id(
    request: Request, house: House, query: VersionQuery, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3room_keyskeysroomidsessionid"""
    named = _name(request, "roomId"), _name(request, "sessionId")
    return _counted(await house.backups.remove(who.user, query.version, *named))


def _name(request: Request, name: str) -> str:
    """Nothing is kept under a name with NUL in it."""
    return request.match_info[name].replace("\0", "\N{REPLACEMENT CHARACTER}")


def _described(found: Version) -> dict[str, Any]:
    return {
        "version": str(found.version),
        "algorithm": found.algorithm,
        "auth_data": RawJson(found.auth_data),
        **_counted(found),
    }


def _counted(found: Version) -> dict[str, Any]:
    return {"etag": str(found.etag), "count": found.keys}


def _shown(key: SessionKey) -> dict[str, Any]:
    return {
        "first_message_index": key.first_message_index,
        "forwarded_count": key.forwarded_count,
        "is_verified": key.is_verified,
        "session_data": RawJson(key.session_data),
    }
