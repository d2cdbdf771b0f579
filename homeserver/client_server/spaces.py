"""Trees of spaces, and rooms seen from outside.

https://spec.matrix.org/v1.19/client-server-api/#spaces
"""

from typing import Annotated

import msgspec

from federation.canonical_json import JsonObject
from federation.identifiers import parse_room_alias, parse_room_id, parse_server_name
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.client_server.reading import room_id
from homeserver.http import Auth, Json, Request, Routes, parsed
from homeserver.rooms.outside import Viewer
from homeserver.rooms.spaces import MOST, Wish

routes = Routes("client")

_MOST_SERVERS = 20
Positive = Annotated[int, msgspec.Meta(ge=1)]


class HierarchyQuery(msgspec.Struct):
    """Which part of the tree."""

    suggested_only: bool = False
    limit: Positive = MOST
    max_depth: Annotated[int, msgspec.Meta(ge=0)] | None = None
    start: str | None = msgspec.field(name="from", default=None)
    via: list[str] = msgspec.field(name="org.matrix.msc4235.via", default_factory=list)


class ViaQuery(msgspec.Struct):
    """Servers to ask."""

    via: list[str] = []


@routes.get("/_matrix/client/v1/rooms/{roomId}/hierarchy", auth=True)
async def get_space_hierarchy(
    request: Request, house: House, query: HierarchyQuery, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy"""
    via = [parsed("via", name, parse_server_name) for name in query.via[:_MOST_SERVERS]]
    wish = Wish(query.suggested_only, query.max_depth, query.limit, query.start, via)
    return await house.spaces.hierarchy(Viewer(who.user), room_id(request), wish)


@routes.get(
    "/_matrix/client/v1/room_summary/{roomIdOrAlias}",
    auth=Auth.OPTIONAL,
    allows=["guest"],
    # COMPAT(clients from before v1.15) the two names that it had as a proposal
    also=[
        "/_matrix/client/unstable/im.nheko.summary/summary/{roomIdOrAlias}",
        "/_matrix/client/unstable/im.nheko.summary/rooms/{roomIdOrAlias}/summary",
    ],
)
async def get_room_summary(
    request: Request, house: House, query: ViaQuery, who: Session | None
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias"""
    via = [parsed("via", name, parse_server_name) for name in query.via[:_MOST_SERVERS]]
    if request.match_info["roomIdOrAlias"].startswith("#"):
        alias = request.param("roomIdOrAlias", parse_room_alias)
        place = await house.aliases.resolve(alias)
        room, via = place.room_id, [*via, *place.servers]
    else:
        room = request.param("roomIdOrAlias", parse_room_id)
    # Strangers make us ask nobody.
    summary = await house.spaces.summary(
        Viewer(who.user if who else None), room, via if who else []
    )
    if who is not None:
        membership = await house.memberships.standing(who.user_id, room)
        summary = {**summary, "membership": membership or "leave"}
    return summary if "/unstable/" not in request.target else _as_proposed(summary)


def _as_proposed(summary: JsonObject) -> JsonObject:
    """COMPAT(clients from before v1.15): with what two fields were called in the proposal."""
    before = {
        "im.nheko.summary.encryption": summary.get("encryption"),
        "im.nheko.summary.room_version": summary.get("room_version"),
        "im.nheko.summary.version": summary.get("room_version"),
    }
    return {**summary, **{name: value for name, value in before.items() if value is not None}}
