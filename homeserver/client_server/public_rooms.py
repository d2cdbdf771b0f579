"""The list of public rooms.

https://spec.matrix.org/v1.19/client-server-api/#published-room-directory
"""

from typing import Annotated

import msgspec

from federation.identifiers import parse_server_name
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.errors import InvalidParam, MissingToken
from homeserver.http import Auth, Json, Request, Routes, parsed
from homeserver.rooms.directory import Asked

routes = Routes("client")

_PATH = "/_matrix/client/v3/publicRooms"
Limit = Annotated[int, msgspec.Meta(ge=0)]


class ListQuery(msgspec.Struct):
    """Which page, of which server's list."""

    server: str | None = None
    limit: Limit = 100
    since: str | None = None


class ServerQuery(msgspec.Struct):
    """Whose list."""

    server: str | None = None


class ListFilter(msgspec.Struct):
    """Which rooms."""

    generic_search_term: str | None = None
    room_types: list[str | None] | None = None


class ListBody(msgspec.Struct):
    """Which page of which rooms."""

    limit: Limit = 100
    since: str | None = None
    filter: ListFilter = msgspec.field(default_factory=ListFilter)
    include_all_networks: bool = False
    third_party_instance_id: str | None = None


@routes.get(_PATH, auth=Auth.OPTIONAL, allows=["guest"])
async def get_public_rooms(
    request: Request, house: House, query: ListQuery, who: Session | None
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3publicrooms"""
    if who is None and not house.settings.rooms.public_list_without_login:
        raise MissingToken
    return await _listed(house, query.server, Asked(query.limit, query.since))


@routes.post(_PATH, auth=True, allows=["suspended"], limit="searches")
async def query_public_rooms(
    request: Request, house: House, query: ServerQuery, body: ListBody, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3publicrooms"""
    if body.include_all_networks and body.third_party_instance_id is not None:
        raise InvalidParam("one network, or all of them?")
    asked = Asked(
        body.limit,
        body.since,
        body.filter.generic_search_term,
        body.filter.room_types,
        body.third_party_instance_id,
        body.include_all_networks,
    )
    return await _listed(house, query.server, asked)


async def _listed(house: House, server: str | None, asked: Asked) -> Json:
    name = parsed("server", server, parse_server_name) if server else None
    if name is None or name == house.process.server:
        return await house.directory.local(asked)
    return await house.directory.remote(name, asked)
