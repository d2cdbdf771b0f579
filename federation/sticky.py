"""Sticky events: for how long an event is to be brought to everybody in its room.

https://github.com/matrix-org/matrix-spec-proposals/pull/4354
"""

from federation import canonical_json
from federation.canonical_json import JsonObject
from federation.events import Event

STICKY = "msc4354_sticky"
_KEY = STICKY.encode()
MAX_DURATION = 3_600_000
"""Milliseconds; "valid values are the integer range 0-3600000"."""


def sticky_part(event: Event) -> JsonObject | None:
    """What an event says of how it sticks, right or not; `None`: nothing."""
    raw = event.json
    if _KEY not in raw and b"\\u" not in raw:
        return None
    fields = canonical_json.decode_object(raw, strict=event.version.strict_json)
    sticky = fields.get(STICKY)
    return sticky if isinstance(sticky, dict) else None


def sticks_until(event: Event, received: int) -> int | None:
    """The time until which an event sticks, in milliseconds; `None`: it does not.

    Args:
        event: which.
        received: when it came here: nobody begins in the future.

    """
    sticky = sticky_part(event)
    duration = sticky.get("duration_ms") if sticky else None
    if type(duration) is not int or not 0 <= duration <= MAX_DURATION:
        return None
    return min(received, event.origin_server_ts) + duration
