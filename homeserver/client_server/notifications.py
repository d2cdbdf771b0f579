"""What one was notified of.

https://spec.matrix.org/v1.19/client-server-api/#listing-notifications
"""

from typing import Annotated

import msgspec

from federation.canonical_json import JsonObject
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.client_server.reading import reader_of_messages, token
from homeserver.http import Json, Request, Routes
from homeserver.sync.notifications import MOST

routes = Routes("client")


class NotificationsQuery(msgspec.Struct):
    """Which page; `only` may be `highlight`, and means nothing else."""

    start: str | None = msgspec.field(name="from", default=None)
    limit: Annotated[int, msgspec.Meta(ge=0)] = 20
    only: str | None = None


@routes.get("/_matrix/client/v3/notifications", auth=True)
async def get_notifications(
    request: Request, house: House, query: NotificationsQuery, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3notifications"""
    page = await house.notifications.page(
        await reader_of_messages(house, who),
        token(query.start),
        min(max(query.limit, 1), MOST),
        only_highlights=query.only == "highlight",
    )
    answer: JsonObject = {"notifications": page.notifications}
    if page.next is not None:
        answer["next_token"] = str(page.next)
    return answer
