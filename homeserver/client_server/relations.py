"""What is related to events, and threads.

https://spec.matrix.org/v1.19/client-server-api/#relationships-api
"""

from typing import Annotated, Literal

import msgspec

from federation.canonical_json import JsonObject
from federation.identifiers import parse_event_id
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.client_server.reading import reader_of_messages, room_id, token
from homeserver.http import Json, Request, Routes
from homeserver.rooms.relations import Asked, Page
from homeserver.storage.relations import HOPS

routes = Routes("client")

_PATH = "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}"
Limit = Annotated[int, msgspec.Meta(ge=0)]


class RelationsQuery(msgspec.Struct):
    """Which page."""

    start: str | None = msgspec.field(name="from", default=None)
    to: str | None = None
    limit: Limit = 5
    direction: Literal["b", "f"] = msgspec.field(name="dir", default="b")
    recurse: bool = False


class ThreadsQuery(msgspec.Struct):
    """Which threads."""

    start: str | None = msgspec.field(name="from", default=None)
    limit: Limit = 10
    include: Literal["all", "participated"] = "all"


@routes.get(_PATH, auth=True, also=[_PATH.replace("v1", "unstable")])
async def get_relating_events(
    request: Request, house: House, query: RelationsQuery, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventid"""
    return await _related(request, house, query, who, None, None)


@routes.get(_PATH + "/{relType}", auth=True)
async def get_relating_events_with_rel_type(
    request: Request, house: House, query: RelationsQuery, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventidreltype"""
    return await _related(request, house, query, who, request.match_info["relType"], None)


@routes.get(_PATH + "/{relType}/{eventType}", auth=True)
async def get_relating_events_with_rel_type_and_event_type(
    request: Request, house: House, query: RelationsQuery, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventidreltypeeventtype"""
    wanted = (request.match_info["relType"], request.match_info["eventType"])
    return await _related(request, house, query, who, *wanted)


@routes.get("/_matrix/client/v1/rooms/{roomId}/threads", auth=True)
async def get_thread_roots(
    request: Request, house: House, query: ThreadsQuery, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidthreads"""
    room, start = room_id(request), token(query.start)
    reader = await reader_of_messages(house, who)
    participated = query.include == "participated"
    return _answer(
        await house.relations.threads(reader, room, start, query.limit, participated=participated)
    )


async def _related(
    request: Request,
    house: House,
    query: RelationsQuery,
    who: Session,
    rel_type: str | None,
    kind: str | None,
) -> Json:
    room, event = room_id(request), request.param("eventId", parse_event_id)
    backwards = query.direction == "b"
    asked = Asked(
        rel_type, kind, backwards, query.limit, query.recurse, token(query.start), token(query.to)
    )
    reader = await reader_of_messages(house, who)
    answer = _answer(await house.relations.of(reader, room, event, asked))
    if query.start is not None:
        answer["prev_batch"] = query.start
    if query.recurse:
        answer["recursion_depth"] = HOPS
    return answer


def _answer(page: Page) -> JsonObject:
    answer: JsonObject = {"chunk": page.chunk}
    if page.next_batch is not None:
        answer["next_batch"] = str(page.next_batch)
    return answer
