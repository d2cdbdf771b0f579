"""What a push gateway is told. Pure.

https://spec.matrix.org/v1.19/push-gateway-api/#post_matrixpushv1notify
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from federation.canonical_json import JsonObject
from homeserver.storage.pushers import Pusher

ENCRYPTED = "m.room.encrypted"
ID_ONLY = "event_id_only"
NO_BADGE = "org.matrix.msc4076.disable_badge_count"


class Around(NamedTuple):
    """What is told beside an event where more than its ID is."""

    sender_display_name: str | None = None
    room_name: str | None = None
    room_alias: str | None = None


def wants_content(pusher: Pusher) -> bool:
    """Whether the pusher asks for more than the event's ID."""
    return bool(orjson.loads(pusher.data).get("format") != ID_ONLY)


def counts_itself(pusher: Pusher) -> bool:
    """Whether the app does not want to be told how much is unread (MSC4076)."""
    return orjson.loads(pusher.data).get(NO_BADGE) is True


def url_of(pusher: Pusher) -> str:
    """Where the gateway is."""
    return str(orjson.loads(pusher.data)["url"])


def of_event(
    pusher: Pusher,
    event: Mapping[str, Any],
    tweaks: Mapping[str, Any],
    unread: int,
    around: Around | None,
) -> JsonObject:
    """A notification of an event.

    Args:
        pusher: whom it goes to.
        event: as rules look at it.
        tweaks: what the rules say of how it is shown.
        unread: how much its user has not read.
        around: what is told beside the event; `None`: its ID and its room only.

    """
    told: JsonObject = {
        "event_id": event["event_id"],
        "room_id": event["room_id"],
        "prio": "high" if _is_urgent(event, tweaks) else "low",
        "devices": [_device(pusher, tweaks)],
    }
    if not counts_itself(pusher):
        told["counts"] = {"unread": unread} if unread else {}
    if around is not None:
        told |= {"type": event["type"], "sender": event["sender"]}
        told |= {name: value for name, value in around._asdict().items() if value is not None}
        if event["type"] == "m.room.member":
            told["user_is_target"] = event.get("state_key") == pusher.user_id
        if event["type"] != ENCRYPTED:
            told["content"] = event["content"]
    return {"notification": told}


def of_count(pusher: Pusher, unread: int) -> JsonObject:
    """How much is unread, and nothing else.

    A count of zero "should be omitted", but nothing would be said then, and the gateways in use
    leave the number on the icon as it is.
    """
    told = {"counts": {"unread": unread}, "prio": "low", "devices": [_device(pusher, {})]}
    return {"notification": told}


def _device(pusher: Pusher, tweaks: Mapping[str, Any]) -> JsonObject:
    data = orjson.loads(pusher.data)
    del data["url"]
    device: JsonObject = {
        "app_id": pusher.app_id,
        "pushkey": pusher.pushkey,
        "pushkey_ts": pusher.set_ts // 1000,
        "data": data,
    }
    return device | ({"tweaks": dict(tweaks)} if tweaks else {})


def _is_urgent(event: Mapping[str, Any], tweaks: Mapping[str, Any]) -> bool:
    """Whether somebody is to be disturbed; of what is encrypted only the client knows."""
    return bool(tweaks.get("highlight") or tweaks.get("sound") or event["type"] == ENCRYPTED)
