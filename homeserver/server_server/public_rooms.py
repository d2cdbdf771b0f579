"""Our list of public rooms, for other servers.

https://spec.matrix.org/v1.19/server-server-api/#published-room-directory
"""

from typing import Annotated

import msgspec

from federation.identifiers import ServerName
from homeserver.errors import Forbidden
from homeserver.http import Auth, Json, Request, Routes
from homeserver.rooms.directory import Asked
from homeserver.server_server.house import House

routes = Routes("federation", limit="federation_requests")

_PATH = "/_matrix/federation/v1/publicRooms"
Limit = Annotated[int, msgspec.Meta(ge=0)]


class ListQuery(msgspec.Struct):
    """Which page."""

    limit: Limit = 100
    since: str | None = None
    third_party_instance_id: str | None = None
    include_all_networks: bool = False


class ListFilter(msgspec.Struct):
    """Which rooms."""

    generic_search_term: str | None = None
    room_types: list[str | None] | None = None


class ListBody(msgspec.Struct):
    """Which page of which rooms."""

    limit: Limit = 100
    since: str | None = None
    filter: ListFilter = msgspec.field(default_factory=ListFilter)
    third_party_instance_id: str | None = None
    include_all_networks: bool = False


@routes.get(_PATH, auth=Auth.FEDERATION)
async def get_public_rooms(
    request: Request, house: House, query: ListQuery, origin: ServerName
) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1publicrooms"""
    network, every = query.third_party_instance_id, query.include_all_networks
    asked = Asked(query.limit, query.since, network=network, all_networks=every)
    return await _listed(house, asked)


@routes.post(_PATH, auth=Auth.FEDERATION)
async def query_public_rooms(
    request: Request, house: House, body: ListBody, origin: ServerName
) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1publicrooms"""
    term, types = body.filter.generic_search_term, body.filter.room_types
    network, every = body.third_party_instance_id, body.include_all_networks
    asked = Asked(body.limit, body.since, term, types, network, every)
    return await _listed(house, asked)


async def _listed(house: House, asked: Asked) -> Json:
    if not house.settings.federation.public_rooms:
        raise Forbidden("the list of public rooms is not shown to other servers")
    return await house.directory.local(asked, for_servers=True)
