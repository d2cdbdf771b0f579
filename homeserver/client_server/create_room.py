"""Making rooms.

https://spec.matrix.org/v1.19/client-server-api/#creation
"""

from collections.abc import Hashable, Iterable
from contextlib import suppress
from typing import Any, Literal, NamedTuple

import msgspec

from federation.identifiers import RoomAlias, UserID
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.client_server.inviting import count_invitations
from homeserver.client_server.membership import AddressTarget, read_wanted
from homeserver.errors import BadJson, MatrixError, TooLarge
from homeserver.http import Json, Request, Routes
from homeserver.http.decoding import check_canonical
from homeserver.rooms.create import InitialState, Preset
from homeserver.rooms.creation import MOST_INVITES, RoomWish
from homeserver.rooms.third_party_invites import Wanted

routes = Routes("client")

_MOST_BY_ADDRESS = 20


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
    invite_3pid: list[AddressTarget] = []
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
    by_address = _by_address(house, body)
    count_invitations(request, house, _targets(body, by_address))
    invited = await _find_invited(house, by_address)
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
        invites=[*body.invite, *invited.known],
        is_direct=body.is_direct,
        creation_content=body.creation_content,
        initial_state=[InitialState(s.type, s.content, s.state_key) for s in body.initial_state],
        levels=body.power_level_content_override,
    )
    room_id = await house.creation.create(wish)
    for wanted in invited.unknown:
        # The room is there; that the identity server fails now is no reason to fail.
        with suppress(MatrixError):
            await house.third_party_invites.issue(who.user_id, room_id, wanted)
    return {"room_id": room_id}


class _Invited(NamedTuple):
    """Who is invited by address."""

    known: list[UserID]
    unknown: list[Wanted]


def _targets(body: CreateRoomBody, by_address: Iterable[Wanted]) -> list[Hashable]:
    """Everybody who is invited with the room, each once."""
    as_state = [
        entry.state_key
        for entry in body.initial_state
        if entry.type == "m.room.member" and entry.content.get("membership") == "invite"
    ]
    named: dict[Hashable, None] = dict.fromkeys([*body.invite, *as_state])
    named |= dict.fromkeys(wanted.address for wanted in by_address)
    return list(named)[:MOST_INVITES]


def _by_address(house: House, body: CreateRoomBody) -> list[Wanted]:
    if len(body.invite_3pid) > _MOST_BY_ADDRESS:
        raise TooLarge(f"a new room has at most {_MOST_BY_ADDRESS} invitations by address")
    return [read_wanted(house, target) for target in body.invite_3pid]


async def _find_invited(house: House, by_address: Iterable[Wanted]) -> _Invited:
    """Ask the identity servers, before there is a room, whom they know."""
    invited = _Invited([], [])
    for wanted in by_address:
        user = await house.third_party_invites.find(wanted)
        if user is None:
            invited.unknown.append(wanted)
        else:
            invited.known.append(user)
    return invited


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
