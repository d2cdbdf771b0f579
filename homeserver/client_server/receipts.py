"""Receipts and read markers.

https://spec.matrix.org/v1.19/client-server-api/#receipts
https://spec.matrix.org/v1.19/client-server-api/#fully-read-markers
"""

from typing import Any

import msgspec

from federation.identifiers import parse_event_id
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.client_server.reading import reader, room_id
from homeserver.errors import InvalidParam
from homeserver.http import Json, Request, Routes, parsed
from homeserver.rooms.read_markers import FULLY_READ
from homeserver.rooms.receipt_edus import is_thread
from homeserver.rooms.receipts import TYPES, Marker
from homeserver.storage.receipts import UNTHREADED

routes = Routes("client")


class ReceiptBody(msgspec.Struct):
    """What a receipt may say beside its path."""

    thread_id: Any = None


class MarkersBody(msgspec.Struct):
    """Event IDs."""

    fully_read: str | None = msgspec.field(name="m.fully_read", default=None)
    read: str | None = msgspec.field(name="m.read", default=None)
    read_private: str | None = msgspec.field(name="m.read.private", default=None)


@routes.post(
    "/_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}",
    auth=True,
    allows=["suspended"],
)
async def post_receipt(request: Request, house: House, body: ReceiptBody, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreceiptreceipttypeeventid"""
    kind = request.match_info["receiptType"]
    room, event = room_id(request), request.param("eventId", parse_event_id)
    if kind == FULLY_READ and body.thread_id is None:
        await house.read_markers.move(reader(who), room, event)
    elif kind in TYPES:
        marker = Marker(TYPES[kind], event, _thread(body.thread_id))
        await house.receipts.mark(reader(who), room, marker)
    else:
        raise InvalidParam("no receipt can be of this type, or none with a thread_id")
    return {}


@routes.post("/_matrix/client/v3/rooms/{roomId}/read_markers", auth=True, allows=["suspended"])
async def set_read_marker(request: Request, house: House, body: MarkersBody, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidread_markers"""
    room = room_id(request)
    given = {FULLY_READ: body.fully_read, "m.read": body.read, "m.read.private": body.read_private}
    events = {
        name: parsed(name, text, parse_event_id) for name, text in given.items() if text is not None
    }
    for name, event in events.items():
        if name == FULLY_READ:
            await house.read_markers.move(reader(who), room, event)
        else:
            await house.receipts.mark(reader(who), room, Marker(TYPES[name], event))
    return {}


def _thread(value: object) -> str:
    """The thread that a receipt is for.

    "The thread_id is invalid in some way. For example: It is not a string. It is empty."
    """
    if value is None:
        return UNTHREADED
    if value == UNTHREADED or not isinstance(value, str) or not is_thread(value):
        raise InvalidParam("thread_id must be a non-empty string")
    return value
