"""Finding people.

https://spec.matrix.org/v1.19/client-server-api/#user-directory
"""

from typing import Annotated

import msgspec

from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.http import Json, Request, Routes

routes = Routes("client")


class SearchBody(msgspec.Struct):
    """Who is wanted."""

    search_term: str
    limit: Annotated[int, msgspec.Meta(ge=0)] = 10


@routes.post(
    "/_matrix/client/v3/user_directory/search", auth=True, allows=["suspended"], limit="searches"
)
async def search_user_directory(
    request: Request, house: House, body: SearchBody, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3user_directorysearch"""
    return await house.user_directory.search(who.user, body.search_term, body.limit)
