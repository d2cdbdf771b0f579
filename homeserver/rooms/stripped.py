"""What somebody who is invited, or knocks, is shown of a room.

https://spec.matrix.org/v1.19/client-server-api/#stripped-state
"""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import orjson

from federation.canonical_json import JsonObject, encode
from federation.events import Event, StateKey
from federation.identifiers import ServerName, domain_of, is_user_id

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


_MOST_TOLD = 50
_MOST_TOLD_BYTES = 256 * 1024
"""What is kept of what another server shows of one room; honest ones show some ten events."""


def servers_shown(state: bytes) -> list[ServerName]:
    """The servers of those who made what a room is shown by, a JSON list of stripped state.

    They had the power for that; and the IDs of some rooms name no other server.
    """
    senders = [str(event.get("sender")) for event in orjson.loads(state)]
    return list(dict.fromkeys(domain_of(sender) for sender in senders if is_user_id(sender)))


def few(shown: Iterable[JsonObject]) -> list[JsonObject]:
    """As much of what another server shows of a room as is kept."""
    kept: list[JsonObject] = []
    size = 0
    for event in islice(shown, _MOST_TOLD):
        size += len(encode(event, strict=False))
        if size > _MOST_TOLD_BYTES:
            break
        kept.append(event)
    return kept


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


def as_stripped(one: object) -> JsonObject | None:
    """Stripped state as it came; `None` if it is none, or pretends to be a whole event."""
    if not isinstance(one, dict) or "signatures" in one:
        return None
    kinds: dict[str, Any] = {"type": str, "state_key": str, "content": dict, "sender": str}
    if not all(isinstance(one.get(key), kind) for key, kind in kinds.items()):
        return None
    if not is_user_id(one["sender"]):
        return None  # clients that know what a sender is could not read the rest
    return {key: one[key] for key in kinds}
