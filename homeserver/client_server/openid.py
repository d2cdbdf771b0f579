"""Proving to other services who one is.

https://spec.matrix.org/v1.19/client-server-api/#openid
"""

from federation.canonical_json import JsonObject
from federation.identifiers import parse_user_id
from homeserver.accounts.openid import LASTS
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.errors import Forbidden
from homeserver.http import Json, Request, Routes

routes = Routes("client")


@routes.post(
    "/_matrix/client/v3/user/{userId}/openid/request_token",
    auth=True,
    limit="login_account",
)
async def request_openid_token(
    request: Request, house: House, body: JsonObject | None, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridopenidrequest_token"""
    if request.param("userId", parse_user_id) != who.user_id:
        raise Forbidden("tokens are for oneself only")
    return {
        "access_token": await house.openid.issue(who.user),
        "token_type": "Bearer",
        "matrix_server_name": house.process.server,
        "expires_in": LASTS,
    }
