"""Sending events into rooms.

https://spec.matrix.org/v1.19/client-server-api/#sending-events-to-a-room
"""

from federation.canonical_json import JsonObject
from federation.identifiers import parse_event_id
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.client_server.reading import room_id
from homeserver.http import Json, Request, Routes
from homeserver.http.decoding import check_canonical
from homeserver.rooms.sending import Transaction

routes = Routes("client", limit="messages")

_SEND = "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}"
_STATE = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey?}"
_REDACT = "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}"


@routes.put(_SEND, auth=True, allows=["guest"])
async def send_message(request: Request, house: House, body: JsonObject, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid"""
    check_canonical(body)
    room, kind = room_id(request), request.match_info["eventType"]
    transaction = _transaction(who, request, f"send/{room}/{kind}")
    return {"event_id": await house.sending.send(who.user_id, room, kind, body, transaction)}


@routes.put(_STATE, auth=True, allows=["guest"])
async def set_room_state_with_key(
    request: Request, house: House, body: JsonObject, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey"""
    check_canonical(body)
    kind, key = request.match_info["eventType"], request.match_info["stateKey"]
    sending = house.sending
    return {"event_id": await sending.set_state(who.user_id, room_id(request), kind, key, body)}


@routes.put(_REDACT, auth=True, allows=["suspended"])
async def redact_event(
    request: Request, house: House, body: JsonObject | None, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidredacteventidtxnid"""
    content = body or {}
    check_canonical(content)
    room, event = room_id(request), request.param("eventId", parse_event_id)
    transaction = _transaction(who, request, f"redact/{room}/{event}")
    sending = house.sending
    return {"event_id": await sending.redact(who.user_id, room, event, content, transaction)}


def _transaction(who: Session, request: Request, path: str) -> Transaction:
    return Transaction(who.device, path, request.match_info["txnId"])
