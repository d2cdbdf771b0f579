"""Threads that somebody follows.

https://github.com/matrix-org/matrix-spec-proposals/pull/4306
https://github.com/matrix-org/matrix-spec-proposals/pull/4308 (which of them changed)
"""

from typing import Annotated, Literal

import msgspec

from federation.identifiers import parse_event_id
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.client_server.reading import reader, room_id, token
from homeserver.http import Json, Request, Routes, parsed

routes = Routes("client")

_PATH = "/_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{eventId}/subscription"


class SubscriptionBody(msgspec.Struct):
    """For which event a client follows the thread of itself."""

    automatic: str | None = None


class ChangesQuery(msgspec.Struct):
    """Which page."""

    direction: Literal["b"] = msgspec.field(name="dir")
    start: str | None = msgspec.field(name="from", default=None)
    to: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1)] = 100


@routes.get(_PATH, auth=True)
async def get_subscription(request: Request, house: House, who: Session) -> Json:
    """https://github.com/matrix-org/matrix-spec-proposals/pull/4306"""
    await house.rulesets.mind_threads(who.user, who.user_id)
    root = request.param("eventId", parse_event_id)
    found = await house.thread_subscriptions.get(reader(who), room_id(request), root)
    return {"automatic": found.automatic}


@routes.put(_PATH, auth=True, allows=["suspended"])
async def put_subscription(
    request: Request, house: House, body: SubscriptionBody, who: Session
) -> Json:
    """https://github.com/matrix-org/matrix-spec-proposals/pull/4306"""
    await house.rulesets.mind_threads(who.user, who.user_id)
    root = request.param("eventId", parse_event_id)
    cause = None
    if body.automatic is not None:
        cause = parsed("automatic", body.automatic, parse_event_id)
    await house.thread_subscriptions.subscribe(reader(who), room_id(request), root, cause)
    return {}


@routes.delete(_PATH, auth=True, allows=["suspended"])
async def delete_subscription(request: Request, house: House, who: Session) -> Json:
    """https://github.com/matrix-org/matrix-spec-proposals/pull/4306"""
    await house.rulesets.mind_threads(who.user, who.user_id)
    root = request.param("eventId", parse_event_id)
    await house.thread_subscriptions.unsubscribe(reader(who), room_id(request), root)
    return {}


@routes.get("/_matrix/client/unstable/io.element.msc4308/thread_subscriptions", auth=True)
async def get_changed_subscriptions(
    request: Request, house: House, query: ChangesQuery, who: Session
) -> Json:
    """https://github.com/matrix-org/matrix-spec-proposals/pull/4308"""
    page = await house.subscription_pages.before(
        who.user, token(query.start), token(query.to), query.limit
    )
    return page.sections | ({} if page.rest is None else {"end": str(page.rest)})
