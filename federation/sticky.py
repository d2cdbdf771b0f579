"""Sticky events: for how long an event is to be brought to everybody in its room.

https://github.com/matrix-org/matrix-spec-proposals/pull/4354
"""

from federation.events import Event

MAX_DURATION = 3_600_000
"""Milliseconds; "valid values are the integer range 0-3600000"."""


def sticks_until(event: Event, received: int) -> int | None:
    """The time until which an event sticks, in milliseconds; `None`: it does not.

    Args:
        event: which.
        received: when it came here: nobody begins in the future.

    """
    duration = event.sticky.get("duration_ms") if event.sticky else None
    if type(duration) is not int or not 0 <= duration <= MAX_DURATION:
        return None
    return min(received, event.origin_server_ts) + duration
