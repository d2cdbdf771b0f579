"""How long messages are kept.

https://github.com/matrix-org/matrix-spec-proposals/pull/1763
"""

from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.http import Json, Request, Routes
from homeserver.rooms.lifetimes import Range

routes = Routes("client")


@routes.get(
    "/_matrix/client/unstable/org.matrix.msc1763/retention/configuration",
    auth=True,
)
async def get_retention_configuration(request: Request, house: House, who: Session) -> Json:
    """https://github.com/matrix-org/matrix-spec-proposals/pull/1763"""
    allowed = Range.of(house.settings.retention)
    limits = {"min": allowed.least, "max": allowed.most}
    limits = {key: limit for key, limit in limits.items() if limit is not None}
    default = allowed.default
    return {
        "policies": {} if default is None else {"*": {"max_lifetime": default}},
        "limits": {"max_lifetime": limits} if limits else {},
    }
