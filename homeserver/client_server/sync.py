"""Syncing.

https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

from typing import Annotated, Literal

import msgspec

from homeserver.accounts.filters import Filter, parse_filter
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.client_server.reading import reader, token
from homeserver.errors import InvalidParam, NotFound
from homeserver.http import Json, Request, Routes
from homeserver.sync.wishes import Wish

routes = Routes("client")

_EVERYTHING = Filter()


class SyncQuery(msgspec.Struct):
    """What a client wants to know, and since when."""

    filter: str | None = None
    since: str | None = None
    full_state: bool = False
    set_presence: Literal["offline", "online", "unavailable"] = "online"
    timeout: Annotated[int, msgspec.Meta(ge=0)] = 0
    use_state_after: bool = False
    unstable_state_after: bool = msgspec.field(
        name="org.matrix.msc4222.use_state_after", default=False
    )


@routes.get("/_matrix/client/v3/sync", auth=True, allows=["guest", "suspended"])
async def sync(request: Request, house: House, query: SyncQuery, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync"""
    wish = Wish(
        who,
        house.syncing.readable(token(query.since)),
        await _filter(house, who, query.filter),
        query.full_state,
        query.use_state_after or query.unstable_state_after,
    )
    if house.presence.enabled:
        await house.presence.seen(reader(who), query.set_presence)
    return await house.syncing.sync(wish, query.timeout / 1000, request.stopping)


async def _filter(house: House, who: Session, text: str | None) -> Filter:
    """One that was defined before, or one that is given here."""
    if not text:
        return _EVERYTHING
    if text.lstrip().startswith("{"):
        return parse_filter(text.encode(errors="surrogatepass"))
    try:
        return await house.filters.get(who.user, text)
    except NotFound as error:
        raise InvalidParam("there is no such filter") from error
