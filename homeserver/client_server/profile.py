"""What people tell others about themselves.

https://spec.matrix.org/v1.19/client-server-api/#profiles
"""

from typing import Any

from federation.canonical_json import JsonObject
from federation.identifiers import UserID, domain_of, parse_user_id
from homeserver.accounts.profiles import Change
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.errors import Forbidden, MissingParam, MissingToken, NotFound
from homeserver.http import Auth, Json, Request, Routes

routes = Routes("client")

_UNSTABLE = "/_matrix/client/unstable/uk.tcpip.msc4133/profile/{userId}"


@routes.get(
    "/_matrix/client/v3/profile/{userId}", auth=Auth.OPTIONAL, allows=["guest"], also=[_UNSTABLE]
)
async def get_user_profile(request: Request, house: House, who: Session | None) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuserid"""
    return await _profile(house, request.param("userId", parse_user_id), who)


@routes.get(
    "/_matrix/client/v3/profile/{userId}/{keyName}",
    auth=Auth.OPTIONAL,
    allows=["guest"],
    also=[_UNSTABLE + "/{keyName}"],
)
async def get_profile_field(request: Request, house: House, who: Session | None) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuseridkeyname"""
    name = request.match_info["keyName"]
    profile = await _profile(house, request.param("userId", parse_user_id), who)
    if name not in profile:
        raise NotFound("there is no such field in the profile")
    return {name: profile[name]}


@routes.put(
    "/_matrix/client/v3/profile/{userId}/{keyName}",
    auth=True,
    limit="profile_changes",
    also=[_UNSTABLE + "/{keyName}"],
    allows=["guest"],
)
async def set_profile_field(request: Request, house: House, body: JsonObject, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3profileuseridkeyname"""
    name = _own_field(request, who)
    if name not in body:
        raise MissingParam(f"{name} is missing")
    change = await house.profiles.set_field(who.user, name, body[name], is_guest=who.is_guest)
    await _tell(house, who, change)
    return {}


@routes.delete(
    "/_matrix/client/v3/profile/{userId}/{keyName}",
    auth=True,
    limit="profile_changes",
    also=[_UNSTABLE + "/{keyName}"],
    allows=["guest"],
)
async def delete_profile_field(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3profileuseridkeyname"""
    name = _own_field(request, who)
    change = await house.profiles.delete_field(who.user, name, is_guest=who.is_guest)
    await _tell(house, who, change)
    return {}


async def _profile(house: House, user_id: UserID, who: Session | None) -> dict[str, Any]:
    if not house.settings.privacy.profiles_of_strangers:
        if who is None:
            raise MissingToken
        if not await house.standings.are_acquainted(house.process, who.user, user_id):
            raise Forbidden("you share no room with them")
    if domain_of(user_id) != house.process.server:
        return await house.remote_profile(user_id)
    return dict(await house.profiles.get(user_id))


def _own_field(request: Request, who: Session) -> str:
    if request.param("userId", parse_user_id) != who.user_id:
        raise Forbidden("this is somebody else's profile")
    return request.match_info["keyName"]


async def _tell(house: House, who: Session, change: Change) -> None:
    """Memberships carry the name and the avatar: they change in all rooms."""
    shown = ("displayname", "avatar_url")
    if any(change.before.get(name) != change.after.get(name) for name in shown):
        await house.memberships.show_profile(who.user, who.user_id, change.after)
