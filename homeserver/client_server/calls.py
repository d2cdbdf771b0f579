"""What clients need for calls.

https://github.com/matrix-org/matrix-spec-proposals/pull/4143
"""

from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.http import Json, Request, Routes

routes = Routes("client")


@routes.get("/_matrix/client/unstable/org.matrix.msc4143/rtc/transports", auth=True)
async def get_rtc_transports(request: Request, house: House, who: Session) -> Json:
    """https://github.com/matrix-org/matrix-spec-proposals/pull/4143"""
    return {"rtc_transports": [dict(focus) for focus in house.settings.well_known.rtc_foci]}
