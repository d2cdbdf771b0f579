"""Questions about people and names.

https://spec.matrix.org/v1.19/server-server-api/#querying-for-information
"""

import msgspec

from federation.identifiers import ServerName, domain_of, parse_room_alias, parse_user_id
from homeserver.errors import Forbidden, NotFound, Unrecognized
from homeserver.http import Auth, Json, Request, Routes
from homeserver.http.requests import parsed
from homeserver.server_server.house import House

routes = Routes("federation", limit="federation_requests")


class DirectoryQuery(msgspec.Struct):
    """Which alias."""

    room_alias: str


class ProfileQuery(msgspec.Struct):
    """Whose profile, and what of it."""

    user_id: str
    field: str | None = None


@routes.get("/_matrix/federation/v1/query/{queryType}", auth=Auth.FEDERATION)
async def query_info(request: Request, house: House, origin: ServerName) -> Json:
    """No other kind of query is known.

    https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryquerytype
    """
    raise Unrecognized("no such query")


@routes.get("/_matrix/federation/v1/query/directory", auth=Auth.FEDERATION)
async def query_room_directory(
    request: Request, house: House, query: DirectoryQuery, origin: ServerName
) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1querydirectory"""
    alias = parsed("room_alias", query.room_alias, parse_room_alias)
    if domain_of(alias) != house.process.server:
        raise NotFound("the alias is another server's")
    place = await house.aliases.resolve(alias)
    return {"room_id": place.room_id, "servers": list(place.servers)}


@routes.get("/_matrix/federation/v1/query/profile", auth=Auth.FEDERATION)
async def query_profile(
    request: Request, house: House, query: ProfileQuery, origin: ServerName
) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryprofile"""
    if not house.settings.federation.profile_lookup:
        raise Forbidden("profiles are not shown to other servers")
    user_id = parsed("user_id", query.user_id, parse_user_id)
    if domain_of(user_id) != house.process.server:
        raise NotFound("the user is of another server")
    profile = dict(await house.profiles.get(user_id))
    if query.field is None:
        return profile
    return {query.field: profile[query.field]} if query.field in profile else {}
