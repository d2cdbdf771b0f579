"""Spaces, for other servers.

https://spec.matrix.org/v1.19/server-server-api/#spaces
"""

import msgspec

from federation.identifiers import ServerName, parse_room_id
from homeserver.http import Auth, Json, Request, Routes
from homeserver.server_server.house import House

routes = Routes("federation", limit="federation_requests")


class HierarchyQuery(msgspec.Struct):
    """Which children."""

    suggested_only: bool = False


@routes.get("/_matrix/federation/v1/hierarchy/{roomId}", auth=Auth.FEDERATION)
async def get_space_hierarchy(
    request: Request, house: House, query: HierarchyQuery, origin: ServerName
) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid"""
    room = request.param("roomId", parse_room_id)
    return await house.spaces.for_server(origin, room, suggested_only=query.suggested_only)
