"""What clients need for calls.

https://spec.matrix.org/v1.19/client-server-api/#voice-over-ip
https://github.com/matrix-org/matrix-spec-proposals/pull/4143
"""

from homeserver.accounts.relays import credentials
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.http import Json, Request, Routes

routes = Routes("client")


@routes.get("/_matrix/client/unstable/org.matrix.msc4143/rtc/transports", auth=True)
async def get_rtc_transports(request: Request, house: House, who: Session) -> Json:
    """https://github.com/matrix-org/matrix-spec-proposals/pull/4143"""
    return {"rtc_transports": [dict(focus) for focus in house.settings.well_known.rtc_foci]}


@routes.get("/_matrix/client/v3/voip/turnServer", auth=True)
async def get_turn_server(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3voipturnserver"""
    turn = house.settings.turn
    if turn is None:
        # COMPAT(matrix-js-sdk) As Synapse has it: browsers refuse calls with a list of no servers.
        return {}
    now = house.process.now() // 1000
    made = credentials(turn.shared_secret.reveal(), who.user_id, now, turn.lifetime.milliseconds)
    return {
        "username": made.username,
        "password": made.password,
        "uris": list(turn.uris),
        "ttl": turn.lifetime.milliseconds // 1000,
    }
