"""Sending events into rooms.

https://spec.matrix.org/v1.19/client-server-api/#sending-events-to-a-room
"""

from typing import Annotated

import msgspec

from federation.canonical_json import JsonObject
from federation.identifiers import parse_event_id
from federation.sticky import MAX_DURATION
from homeserver.accounts.sessions import Session
from homeserver.client_server.delayed_events import DelayQuery, delayed
from homeserver.client_server.house import House
from homeserver.client_server.inviting import count_invitations
from homeserver.client_server.reading import room_id
from homeserver.http import Json, Request, Routes
from homeserver.http.decoding import check_canonical
from homeserver.rooms.delayed_events import Wish
from homeserver.rooms.sending import Transaction

routes = Routes("client", limit="messages")

_SEND = "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}"
_STATE = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey?}"
_REDACT = "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}"


class SendQuery(DelayQuery):
    """Whether it is sent later, when it happened, as an application service says, and whether it
    sticks: https://github.com/matrix-org/matrix-spec-proposals/pull/4354
    """

    ts: Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)] | None = None
    sticky: Annotated[int, msgspec.Meta(ge=0, le=MAX_DURATION)] | None = msgspec.field(
        name="org.matrix.msc4354.sticky_duration_ms", default=None
    )


@routes.put(_SEND, auth=True, allows=["guest", "suspended"])
async def send_message(
    request: Request, house: House, query: SendQuery, body: JsonObject, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid"""
    check_canonical(body)
    room, kind = room_id(request), request.match_info["eventType"]
    if who.suspended:
        redacts = body.get("redacts") if kind == "m.room.redaction" else None
        await house.sending.check_suspended(who.user_id, redacts)
    if query.delay is not None:
        wish = Wish(room, kind, None, body, query.delay, query.sticky)
        return await delayed(house, who, wish, request.match_info["txnId"])
    transaction = _transaction(who, request, f"send/{room}/{kind}")
    event = await house.sending.send(
        who.user_id, room, kind, body, transaction, _time(query, who), query.sticky
    )
    return {"event_id": event}


@routes.put(_STATE, auth=True, allows=["guest"])
async def set_room_state_with_key(
    request: Request, house: House, query: SendQuery, body: JsonObject, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey"""
    check_canonical(body)
    room = room_id(request)
    kind, key = request.match_info["eventType"], request.match_info["stateKey"]
    if kind == "m.room.member" and body.get("membership") == "invite":
        count_invitations(request, house, [key], room)
    if query.delay is not None:
        return await delayed(
            house, who, Wish(room, kind, key, body, query.delay, query.sticky), None
        )
    event = await house.sending.set_state(
        who.user_id, room, kind, key, body, ts=_time(query, who), sticky=query.sticky
    )
    if (kind, key) == ("m.room.tombstone", ""):
        await house.carrying_over.replaced(body.get("replacement_room"))
    return {"event_id": event}


@routes.put(_REDACT, auth=True, allows=["suspended"])
async def redact_event(
    request: Request, house: House, body: JsonObject | None, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidredacteventidtxnid"""
    content = body or {}
    check_canonical(content)
    room, event = room_id(request), request.param("eventId", parse_event_id)
    if who.suspended:
        await house.sending.check_suspended(who.user_id, event)
    transaction = _transaction(who, request, f"redact/{room}/{event}")
    sending = house.sending
    return {"event_id": await sending.redact(who.user_id, room, event, content, transaction)}


def _time(query: SendQuery, who: Session) -> int | None:
    """https://spec.matrix.org/v1.19/application-service-api/#timestamp-massaging"""
    return query.ts if who.service else None


def _transaction(who: Session, request: Request, path: str) -> Transaction:
    return Transaction(who.device, path, request.match_info["txnId"])
