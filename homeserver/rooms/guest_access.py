"""Which rooms let guests in.

https://spec.matrix.org/v1.19/client-server-api/#guest-access
"""

from federation.events import Event, StateKey
from homeserver.errors import GuestAccessForbidden

GUEST_ACCESS: StateKey = ("m.room.guest_access", "")


def lets_guests_in(event: Event | None) -> bool:
    """Whether this, the room's current `m.room.guest_access`, allows guests to be there."""
    return event is not None and event.content.get("guest_access") == "can_join"


def check_guest_may_join(event: Event | None) -> None:
    """Raise `GuestAccessForbidden` unless the room, by this entry of its state, lets guests in."""
    if not lets_guests_in(event):
        raise GuestAccessForbidden("the room does not let guests in")
