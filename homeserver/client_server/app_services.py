"""What only application services ask for.

https://spec.matrix.org/v1.19/application-service-api/#client-server-api-extensions
"""

from typing import Literal

import msgspec

from homeserver.accounts.app_services import AppService
from homeserver.appservices.pinging import ping
from homeserver.client_server.house import House
from homeserver.client_server.reading import room_id
from homeserver.errors import Forbidden, InvalidParam
from homeserver.http import Json, Request, Routes
from homeserver.http.routes import Auth

routes = Routes("client")

_LONGEST_NAME = 255
"""Characters."""


class PingBody(msgspec.Struct):
    """What is passed on."""

    transaction_id: str | None = None


class VisibilityBody(msgspec.Struct):
    """Whether a room is in the list of a network."""

    visibility: Literal["public", "private"]


@routes.put(
    "/_matrix/client/v3/directory/list/appservice/{networkId}/{roomId}", auth=Auth.APPSERVICE
)
async def update_appservice_room_directory_visibility(
    request: Request, house: House, body: VisibilityBody, who: AppService
) -> Json:
    """https://spec.matrix.org/v1.19/application-service-api/#put_matrixclientv3directorylistappservicenetworkidroomid"""
    network = request.match_info["networkId"]
    if len(network) > _LONGEST_NAME or "\0" in network:
        raise InvalidParam("this cannot be the name of a network")
    await house.aliases.publish_on(
        who.instance_id(network), room_id(request), is_public=body.visibility == "public"
    )
    return {}


@routes.post(
    "/_matrix/client/v1/appservice/{appserviceId}/ping",
    auth=Auth.APPSERVICE,
    also=["unstable/fi.mau.msc2659"],
)
async def ping_appservice(request: Request, house: House, body: PingBody, who: AppService) -> Json:
    """https://spec.matrix.org/v1.19/application-service-api/#post_matrixclientv1appserviceappserviceidping"""
    if who.id != request.match_info["appserviceId"]:
        raise Forbidden("this is the token of another application service")
    return {"duration_ms": await ping(house.bridges, who, body.transaction_id)}
