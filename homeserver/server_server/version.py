"""What this server is.

https://spec.matrix.org/v1.19/server-server-api/#server-implementation
"""

from importlib.metadata import version as version_of

from homeserver.http import Json, Request, Routes
from homeserver.server_server.house import House

routes = Routes("federation")


@routes.get("/_matrix/federation/v1/version", auth=False)
async def get_version(request: Request, house: House) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1version"""
    return {"server": {"name": "Hearth", "version": version_of("hearth")}}
