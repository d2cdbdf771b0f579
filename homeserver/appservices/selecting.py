"""From rows of the log to what an application service is told.

https://spec.matrix.org/v1.19/application-service-api/#pushing-events
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from homeserver.appservices.interest import Interest
from homeserver.storage.app_services import News

_SHOWN = ("type", "sender", "content", "origin_server_ts", "state_key", "redacts")


def select_events(rows: Sequence[News], interest: Interest, now: int) -> list[dict[str, Any]]:
    """The events among the rows that are of interest, as clients are shown them, in order."""
    found = []
    for row in rows:
        if row.json is None or row.room is None or row.room_id is None:
            continue
        event = orjson.loads(row.json)
        member = event.get("state_key") if event["type"] == "m.room.member" else None
        if member is not None:
            is_in = event["content"].get("membership") == "join"
            interest.follow(row.room, member, is_in=is_in)
        if (
            interest.has_room(row.room, row.room_id)
            or interest.has_user(event["sender"])
            or interest.has_user(member)
        ):
            found.append(client_event(row, event, now))
    return found


def client_event(row: News, event: Mapping[str, Any], now: int) -> dict[str, Any]:
    """An event in the form that clients get; `now` in milliseconds since the epoch."""
    unsigned: dict[str, Any] = {"age": now - event["origin_server_ts"]}
    if row.replaced is not None:
        unsigned["prev_content"] = orjson.loads(row.replaced)["content"]
    if row.shown is not None:
        unsigned["invite_room_state"] = orjson.loads(row.shown)
    shown = {key: event[key] for key in _SHOWN if key in event}
    redacts = event.get("redacts", event["content"].get("redacts"))
    if event["type"] == "m.room.redaction" and redacts is not None:
        # Room version 11 moved it: servers give it in both places, to clients old and new.
        shown |= {"redacts": redacts, "content": {**event["content"], "redacts": redacts}}
    return {**shown, "event_id": row.event_id, "room_id": row.room_id, "unsigned": unsigned}
