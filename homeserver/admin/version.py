"""What this server is, for the tools of administrators; not in the specification."""

from importlib.metadata import version as version_of

from homeserver.admin.house import House
from homeserver.http import Auth, Json, Request, Routes

routes = Routes("client")


@routes.get("/_synapse/admin/v1/server_version", auth=Auth.ADMINISTRATOR)
async def get_server_version(request: Request, house: House) -> Json:
    """Tell the version."""
    return {"server_version": f"Hearth {version_of('hearth')}"}
