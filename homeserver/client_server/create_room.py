"""Making rooms.

https://spec.matrix.org/v1.19/client-server-api/#creation
"""

from typing import Any, Literal

import msgspec

from federation.identifiers import RoomAlias
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.errors import BadJson
from homeserver.http import Json, Request, Routes
from homeserver.http.decoding import check_canonical
from homeserver.rooms.create import InitialState, Preset
from homeserver.rooms.creation import RoomWish

routes = Routes("client")


class StateEvent(msgspec.Struct):
    """One of `initial_state`."""

    type: str
    content: dict[str, Any]
    state_key: str = ""


class CreateRoomBody(msgspec.Struct):
    """What a new room is to be."""

    visibility: Literal["public", "private"] = "private"
    room_alias_name: str | None = None
    name: str | None = None
    topic: str | None = None
    invite: list[str] = []
    room_version: str | None = None
    creation_content: dict[str, Any] = {}
    initial_state: list[StateEvent] = []
    preset: Literal["private_chat", "public_chat", "trusted_private_chat"] | None = None
    is_direct: bool = False
    power_level_content_override: dict[str, Any] = {}


@routes.post("/_matrix/client/v3/createRoom", auth=True, limit="room_creation")
async def create_room(request: Request, house: House, body: CreateRoomBody, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom"""
    _check(body)
    if body.room_alias_name is not None:
        alias = RoomAlias(f"#{body.room_alias_name}:{house.process.server}")
        house.app_services.check_alias(alias, who.service)
    wish = RoomWish(
        user=who.user,
        creator=who.user_id,
        can_encrypt=who.appservice is None and await house.uploads.has_keys(who.device),
        version=body.room_version,
        preset=Preset(body.preset) if body.preset else None,
        is_public=body.visibility == "public",
        alias_name=body.room_alias_name,
        name=body.name,
        topic=body.topic,
        invites=body.invite,
        is_direct=body.is_direct,
        creation_content=body.creation_content,
        initial_state=[InitialState(s.type, s.content, s.state_key) for s in body.initial_state],
        levels=body.power_level_content_override,
    )
    return {"room_id": await house.creation.create(wish)}


def _check(body: CreateRoomBody) -> None:
    """Refuse what no event can hold; the name and topic of a room included."""
    check_canonical(
        [
            body.creation_content,
            [state.content for state in body.initial_state],
            body.power_level_content_override,
            body.name,
            body.topic,
        ]
    )
    if any(state.type == "m.room.create" for state in body.initial_state):
        raise BadJson("a room has one create event, which is not part of initial_state")
