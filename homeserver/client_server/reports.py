"""Reports of rooms, events and users.

https://spec.matrix.org/v1.19/client-server-api/#reporting-content
"""

import msgspec

from federation.identifiers import parse_event_id, parse_user_id
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.client_server.reading import reader, room_id
from homeserver.http import Json, Request, Routes

routes = Routes("client")


class ReportBody(msgspec.Struct):
    """Why; "may be blank"."""

    reason: str


class EventReportBody(msgspec.Struct):
    """Why, for those who say."""

    reason: str = ""


@routes.post("/_matrix/client/v3/rooms/{roomId}/report", auth=True)
async def report_room(request: Request, house: House, body: ReportBody, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreport"""
    await house.reporting.report_room(reader(who), room_id(request), body.reason)
    return {}


@routes.post("/_matrix/client/v3/rooms/{roomId}/report/{eventId}", auth=True)
async def report_event(request: Request, house: House, body: EventReportBody, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreporteventid"""
    room, event = room_id(request), request.param("eventId", parse_event_id)
    await house.reporting.report_event(reader(who), room, event, body.reason)
    return {}


@routes.post("/_matrix/client/v3/users/{userId}/report", auth=True)
async def report_user(request: Request, house: House, body: ReportBody, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3usersuseridreport"""
    user = request.param("userId", parse_user_id)
    await house.reporting.report_user(reader(who), user, body.reason)
    return {}
