"""What only application services ask for.

https://spec.matrix.org/v1.19/application-service-api/#client-server-api-extensions
"""

import msgspec

from homeserver.accounts.app_services import AppService
from homeserver.appservices.pinging import ping
from homeserver.client_server.house import House
from homeserver.errors import Forbidden
from homeserver.http import Json, Request, Routes
from homeserver.http.routes import Auth

routes = Routes("client")


class PingBody(msgspec.Struct):
    """What is passed on."""

    transaction_id: str | None = None


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
