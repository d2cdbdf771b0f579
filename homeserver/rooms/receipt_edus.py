"""Receipts as servers tell each other of them. Pure.

https://spec.matrix.org/v1.19/server-server-api/#receipts
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from federation.canonical_json import JsonObject
from federation.errors import IdentifierError
from federation.identifiers import (
    MAX_BYTES,
    EventID,
    RoomID,
    ServerName,
    UserID,
    domain_of,
    parse_event_id,
    parse_room_id,
    parse_user_id,
)
from homeserver.storage.receipts import UNTHREADED

MOST = 500
"""Receipts that are read from one EDU."""
_MAX_TS = 2**53 - 1


class Told(NamedTuple):
    """One receipt."""

    room_id: RoomID
    user_id: UserID
    event_id: EventID
    thread: str
    ts: int
    """Milliseconds since the epoch, as the user's server claims."""


def content_of(told: Told) -> JsonObject:
    """The content of an `m.receipt` EDU."""
    data: JsonObject = {"ts": told.ts}
    if told.thread != UNTHREADED:
        data["thread_id"] = told.thread
    receipt = {"event_ids": [told.event_id], "data": data}
    return {told.room_id: {"m.read": {told.user_id: receipt}}}


def parse(content: JsonObject, origin: ServerName) -> list[Told]:
    """The receipts of users of `origin` in an EDU, at most `MOST`; without those that are none."""
    found: dict[tuple[str, str, str], Told] = {}
    for room, user, receipt in _receipts(content):
        told = _told(room, user, receipt)
        if told is not None and domain_of(told.user_id) == origin:
            found[(told.room_id, told.user_id, told.thread)] = told
        if len(found) == MOST:
            break
    return list(found.values())


def _receipts(content: JsonObject) -> Iterator[tuple[str, str, JsonObject]]:
    for room, types in content.items():
        # "Currently only a single <receipt_type> should be used: m.read."
        users = types.get("m.read") if isinstance(types, dict) else None
        for user, receipt in users.items() if isinstance(users, dict) else ():
            if isinstance(receipt, dict):
                yield room, user, receipt


def _told(room: str, user: str, receipt: JsonObject) -> Told | None:
    data, events = receipt.get("data"), receipt.get("event_ids")
    if not isinstance(data, dict) or not isinstance(events, list) or not events:
        return None
    ts, thread = data.get("ts"), data.get("thread_id", UNTHREADED)
    if type(ts) is not int or not 0 <= ts <= _MAX_TS or not is_thread(thread):
        return None
    try:
        return Told(parse_room_id(room), parse_user_id(user), _event_id(events[0]), thread, ts)
    except IdentifierError:
        return None


def is_thread(value: Any) -> bool:
    """Whether this can name a thread, or none."""
    return isinstance(value, str) and len(value) <= MAX_BYTES and "\0" not in value


def _event_id(value: Any) -> EventID:
    if not isinstance(value, str):
        raise IdentifierError("not an event ID")
    return parse_event_id(value)
