"""What people reported, for administrators and their tools.

Not in the specification: the paths, parameters and answers are those of Synapse's admin API.
"""

from typing import Any

import msgspec

from homeserver.admin.house import House
from homeserver.admin.paging import Count, Direction, Start
from homeserver.errors import InvalidParam
from homeserver.http import Auth, Json, Request, Routes
from homeserver.rooms.reviewing import Review
from homeserver.storage.reports import Wanted

routes = Routes("client")

_V1 = "/_synapse/admin/v1"


class ReportsQuery(msgspec.Struct):
    """Which reports, and how many of them."""

    start: Start = msgspec.field(default=0, name="from")
    limit: Count = 100
    dir: Direction = "b"
    user_id: str | None = None
    room_id: str | None = None
    event_sender_user_id: str | None = None


@routes.get(_V1 + "/event_reports", auth=Auth.ADMINISTRATOR)
async def list_event_reports(request: Request, house: House, query: ReportsQuery) -> Json:
    """Look through the reports of events, the latest first unless told otherwise."""
    wanted = Wanted(
        _clean(query.user_id),
        _clean(query.room_id),
        _clean(query.event_sender_user_id),
        query.dir == "f",
    )
    page = await house.reviewing.search(wanted, query.start, query.limit)
    more = {} if page.next_start is None else {"next_token": page.next_start}
    rows = [_row(review) for review in page.reviews]
    return {"event_reports": rows, "total": page.total, **more}


@routes.get(_V1 + "/event_reports/{reportId}", auth=Auth.ADMINISTRATOR)
async def get_event_report(request: Request, house: House) -> Json:
    """One report, with the event as it is now unless it was deleted."""
    review, event = await house.reviewing.report(_number(request))
    found = _row(review)
    if event is None:
        return found
    return {**found, "sender": event["sender"], "event_json": event}


@routes.delete(_V1 + "/event_reports/{reportId}", auth=Auth.ADMINISTRATOR)
async def delete_event_report(request: Request, house: House) -> Json:
    """Forget a report."""
    await house.reviewing.remove(_number(request))
    return {}


def _number(request: Request) -> int:
    text = request.match_info["reportId"]
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidParam("reportId is not a number")
    return int(text)


def _clean(text: str | None) -> str | None:
    """Without the one character that the database cannot hold."""
    return None if text is None else text.replace("\0", "")


def _row(review: Review) -> dict[str, Any]:
    reported = review.reported
    return {
        "id": reported.report,
        "received_ts": reported.ts,
        "room_id": reported.room_id,
        "name": review.name,
        "canonical_alias": review.alias,
        "event_id": reported.event_id,
        "sender": reported.sender,
        "user_id": reported.reporter,
        "reason": reported.reason,
        # There was a number from -100 to 100 once; clients no longer send it.
        "score": None,
    }
