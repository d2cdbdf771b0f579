"""Events that are sent later: MSC4140, cancellable delayed events.

"All delayed event related endpoints are available to guest accounts", who take part in calls.
"""

from typing import Annotated, Literal

import msgspec

from federation.canonical_json import JsonObject
from federation.sticky import MAX_DURATION
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.client_server.reading import room_id
from homeserver.errors import InvalidParam, MatrixError
from homeserver.http import Json, Request, Routes
from homeserver.http.decoding import check_canonical
from homeserver.http.routes import Auth, Limit
from homeserver.rooms.delayed_events import MaxDelayExceeded, Wish
from homeserver.rooms.sending import Transaction
from homeserver.storage.delayed_events import Delayed
from homeserver.storage.raw_json import RawJson

routes = Routes("client", limit="delayed_events")

_PREFIX = "/_matrix/client/unstable/org.matrix.msc4140"
_ONE = f"{_PREFIX}/delayed_events/{{delayId}}"
_BY_EVENT = Limit("delayed_events", by="delayId")
"""Without a token the address says little: a media server looks after many calls."""

Delay = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
Action = Literal["cancel", "restart", "send"]


class DelayQuery(msgspec.Struct):
    """Whether an event is to be sent later, by how many milliseconds."""

    delay: Delay | None = msgspec.field(name="org.matrix.msc4140.delay", default=None)


class Scheduling(msgspec.Struct):
    """What is to be sent later."""

    delay_ms: Delay
    content: JsonObject
    state_key: str | None = None
    sticky: Annotated[int, msgspec.Meta(ge=0, le=MAX_DURATION)] | None = msgspec.field(
        name="org.matrix.msc4354.sticky_duration_ms", default=None
    )


class ActionBody(msgspec.Struct):
    """What is to become of an event."""

    action: Action


async def delayed(house: House, who: Session, wish: Wish, txn_id: str | None) -> Json:
    """Schedule an event for an endpoint that sends others at once.

    COMPAT(matrix-js-sdk, matrix-rust-sdk): they ask with a parameter of `/send` and `/state`, and
    know another error.
    """
    if not who.is_admin:
        house.limits.check("delayed_events", who.user)
    try:
        return await _schedule(house, who, wish, txn_id)
    except MaxDelayExceeded as error:
        raise MatrixError(error.message, **error.extra) from error


@routes.put(
    f"{_PREFIX}/rooms/{{roomId}}/delayed_event/{{eventType}}/{{txnId}}",
    auth=True,
    allows=["guest"],
)
async def schedule_delayed_event(
    request: Request, house: House, body: Scheduling, who: Session
) -> Json:
    """Let an event be sent later."""
    check_canonical(body.content)
    kind = request.match_info["eventType"]
    wish = Wish(room_id(request), kind, body.state_key, body.content, body.delay_ms, body.sticky)
    return await _schedule(house, who, wish, request.match_info["txnId"])


@routes.get(f"{_PREFIX}/delayed_events", auth=True, allows=["guest"])
async def get_delayed_events(request: Request, house: House, who: Session) -> Json:
    """All that one has scheduled."""
    found = await house.delayed_events.scheduled(who.user)
    return {"delayed_events": [_shown(one) for one in found]}


@routes.get(_ONE, auth=True, allows=["guest"])
async def get_delayed_event(request: Request, house: House, who: Session) -> Json:
    """What one scheduled, or what became of it."""
    return _shown(await house.delayed_events.get(request.match_info["delayId"], who.user))


@routes.post(f"{_ONE}/{{action}}", auth=Auth.OPTIONAL, allows=["guest"], limit=_BY_EVENT)
async def manage_delayed_event(request: Request, house: House, who: Session | None) -> Json:
    """Restart, cancel or send it."""
    try:
        action = msgspec.convert(request.match_info["action"], Action)
    except msgspec.ValidationError as error:
        raise InvalidParam("no such action") from error
    return await _act(request, house, who, action)


@routes.post(_ONE, auth=Auth.OPTIONAL, allows=["guest"], limit=_BY_EVENT)
async def update_delayed_event(
    request: Request, house: House, body: ActionBody, who: Session | None
) -> Json:
    """The same as `manage_delayed_event`, as clients asked before."""
    return await _act(request, house, who, body.action)


async def _schedule(house: House, who: Session, wish: Wish, txn_id: str | None) -> Json:
    path = f"delayed_event/{wish.room_id}/{wish.type}"
    transaction = None if txn_id is None else Transaction(who.device, path, txn_id)
    delay_id = await house.delayed_events.schedule(who.user, who.device, wish, transaction)
    return {"delay_id": delay_id}


async def _act(request: Request, house: House, who: Session | None, action: Action) -> Json:
    delay_id, user = request.match_info["delayId"], who.user if who else None
    match action:
        case "cancel":
            await house.delayed_events.cancel(delay_id, user)
        case "restart":
            await house.delayed_events.restart(delay_id, user)
        case "send":
            await house.delayed_events.send(delay_id, user)
    return {}


def _shown(event: Delayed) -> Json:
    wish: dict[str, msgspec.Raw] = msgspec.json.decode(event.json, type=dict[str, msgspec.Raw])
    since = event.due_ts - event.delay_ms
    found: dict[str, object] = {
        "delay_id": event.delay_id,
        **{name: RawJson(bytes(value)) for name, value in wish.items()},
        "delay_ms": event.delay_ms,
        "scheduled_at": since,
        # COMPAT(matrix-js-sdk, matrix-rust-sdk): what the two before were called.
        "delay": event.delay_ms,
        "running_since": since,
    }
    if event.error is not None:
        found["error"] = RawJson(event.error)
    if event.event_id is not None:
        found["event_id"] = event.event_id
    if event.finalised_ts is not None:
        found["finalised_ts"] = event.finalised_ts
    return found
