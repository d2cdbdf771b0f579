"""What is told of a room to people who are not in it. Pure.

https://spec.matrix.org/v1.19/client-server-api/#published-room-directory
"""

from collections.abc import Callable, Mapping

from federation.canonical_json import JsonObject
from federation.errors import IdentifierError
from federation.events import Event, StateKey
from federation.identifiers import parse_room_alias, parse_room_id
from homeserver.accounts.profile_fields import is_mxc_uri
from homeserver.rooms.topics import plain_topic
from homeserver.storage.public_rooms import Counted

KEYS: tuple[StateKey, ...] = tuple(
    (f"m.room.{name}", "")
    for name in (
        "create",
        "name",
        "topic",
        "avatar",
        "canonical_alias",
        "join_rules",
        "history_visibility",
        "guest_access",
        "encryption",
    )
)
"""What the description is made of."""
_RESTRICTED = frozenset({"restricted", "knock_restricted"})
_OPEN = frozenset({"public", "knock", "restricted", "knock_restricted"})


def described(counted: Counted, state: Mapping[StateKey, Event]) -> JsonObject:
    """A room as it is listed."""
    found: JsonObject = {
        "room_id": counted.room_id,
        "num_joined_members": counted.joined,
        "world_readable": _says(state, "history_visibility") == "world_readable",
        "guest_can_join": _says(state, "guest_access") == "can_join",
        "join_rule": _says(state, "join_rules", "join_rule") or "invite",
    }
    topic = state.get(("m.room.topic", ""))
    texts = {
        "name": _says(state, "name", "name"),
        "topic": plain_topic(topic.content) if topic else None,
        "avatar_url": _says(state, "avatar", "url"),
        "canonical_alias": _says(state, "canonical_alias", "alias"),
        "room_type": _says(state, "create", "type"),
    }
    # Whoever set them need not have kept to what they should be.
    return found | {key: text for key, text in texts.items() if text and _FITS[key](text)}


def told(room: object) -> JsonObject | None:
    """What another server tells of a room, without what cannot be so; `None`: of no room.

    One wrong word would keep clients from reading all that they are told with it.
    """
    if not isinstance(room, dict) or not _is_room_id(room.get("room_id")):
        return None
    if not _is_count(room.get("num_joined_members")):
        return None
    kept = {key: value for key, value in room.items() if key not in _FITS or _FITS[key](value)}
    return {"world_readable": False, "guest_can_join": False, **kept}


def summarised(room: JsonObject, state: Mapping[StateKey, Event]) -> JsonObject:
    """The same with what is told of one room at a time, and in hierarchies."""
    found: JsonObject = {"room_version": _version(state)}
    encryption = _says(state, "encryption", "algorithm")
    if encryption:
        found["encryption"] = encryption
    rules = state.get(("m.room.join_rules", ""))
    allow = rules.content.get("allow") if rules else None
    if room["join_rule"] in _RESTRICTED and isinstance(allow, list):
        found["allowed_room_ids"] = [
            one["room_id"]
            for one in allow
            if isinstance(one, dict) and isinstance(one.get("room_id"), str)
        ]
    return room | found


def _version(state: Mapping[StateKey, Event]) -> str:
    create = state.get(("m.room.create", ""))
    return create.version.name if create else "1"


def may_be_listed(room: Mapping[str, object]) -> bool:
    """Whether people can do anything with the room once they know of it."""
    return room["join_rule"] in _OPEN or bool(room["world_readable"])


def federates(state: Mapping[StateKey, Event]) -> bool:
    """Whether people of other servers can come in at all."""
    create = state.get(("m.room.create", ""))
    return create is not None and create.content.get("m.federate", True) is not False


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _is_mxc_uri(value: object) -> bool:
    return isinstance(value, str) and is_mxc_uri(value)


def _is_room_id(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(parse_room_id(value))
    except IdentifierError:
        return False


def _is_alias(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(parse_room_alias(value))
    except IdentifierError:
        return False


def _are_room_ids(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_room_id, value))


_FITS: Mapping[str, Callable[[object], bool]] = {
    "name": _is_text,
    "topic": _is_text,
    "avatar_url": _is_mxc_uri,
    "canonical_alias": _is_alias,
    "room_type": _is_text,
    "join_rule": _is_text,
    "world_readable": _is_flag,
    "guest_can_join": _is_flag,
    "room_version": _is_text,
    "encryption": _is_text,
    "allowed_room_ids": _are_room_ids,
}
"""What can be told under which name."""


def _says(state: Mapping[StateKey, Event], kind: str, key: str | None = None) -> str | None:
    event = state.get((f"m.room.{kind}", ""))
    value = event.content.get(key or kind) if event is not None else None
    return value if isinstance(value, str) else None
