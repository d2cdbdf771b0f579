"""What somebody who is invited, or knocks, is shown of a room.

https://spec.matrix.org/v1.19/client-server-api/#stripped-state
"""

from collections.abc import Iterable

from federation.canonical_json import JsonObject
from federation.events import Event, StateKey

KEYS: tuple[StateKey, ...] = (
    ("m.room.create", ""),
    ("m.room.name", ""),
    ("m.room.avatar", ""),
    ("m.room.topic", ""),
    ("m.room.join_rules", ""),
    ("m.room.canonical_alias", ""),
    ("m.room.encryption", ""),
)
"""What is shown, beside the membership itself."""


def stripped(events: Iterable[Event]) -> list[JsonObject]:
    """The events as stripped state."""
    return [
        {
            "type": event.type,
            "state_key": event.state_key,
            "content": event.content,
            "sender": event.sender,
        }
        for event in events
    ]
