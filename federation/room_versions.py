"""What differs between room versions, as data.

No code compares version numbers: it asks the version for the one property that matters to it. A
consumer adds an experimental version by `replace`-ing a known one and handing its own mapping to
whoever takes a name.

https://spec.matrix.org/v1.19/rooms/
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType
from typing import Any

from federation.errors import UnknownRoomVersionError


class EventIDFormat(Enum):
    """Where an event's ID comes from."""

    SENT = "the event carries it"
    HASH = "reference hash in standard base64"
    URL_SAFE_HASH = "reference hash in URL-safe base64"


class StateResolutionVersion(Enum):
    """Which algorithm merges states."""

    V1 = "1"
    V2 = "2"
    V2_1 = "2.1"


@dataclass(frozen=True, slots=True)
class RedactionRules:
    """What a redaction leaves of an event."""

    keys: frozenset[str]
    """Top-level keys that stay."""
    content: Mapping[str, frozenset[str] | None]
    """Per event type the keys of `content` that stay; `None`: all do."""
    third_party_signed: bool = False
    """Whether `content.third_party_invite.signed` of a membership stays."""


@dataclass(frozen=True, slots=True, eq=False)
class RoomVersion:
    """One room version; two are the same only if they are the same object."""

    name: str
    redaction: RedactionRules
    event_ids: EventIDFormat
    state_resolution: StateResolutionVersion
    strict_json: bool
    """Canonical JSON is enforced: no floats, no integers beyond ±(2⁵³-1)."""
    key_validity: bool
    """A signing key must be valid at the event's `origin_server_ts`."""

    create_names_creator: bool
    """`m.room.create` needs a `creator`, who is the room's creator; else its sender is."""
    privileged_creators: bool
    """Creators, the additional ones too, stand above all power levels."""
    room_id_is_create_id: bool
    """The room ID is the create event's ID, which is therefore not cited in `auth_events`."""

    aliases_by_domain: bool
    """`m.room.aliases` is authorised by the sender's domain alone."""
    redactions_need_level: bool
    """Rule 11 of version 1: who may redact is a matter of authorisation."""
    redacts_in_content: bool
    """`redacts` stands in `content`, not at the top level."""

    integer_power_levels: bool
    """Power levels must be integers, not strings of digits."""
    notification_levels: bool
    """Changes of `notifications` in power levels are checked like those of `events`."""

    invited_join_rules: frozenset[str]
    """Join rules under which only the invited may join."""
    restricted_join_rules: frozenset[str]
    """Join rules under which a member with the power to invite may vouch for a join."""
    knock_join_rules: frozenset[str]
    """Join rules under which one may knock; where there are none, knocks are unknown."""


_V1_REDACTION = RedactionRules(
    keys=frozenset(
        {
            "event_id",
            "type",
            "room_id",
            "sender",
            "state_key",
            "content",
            "hashes",
            "signatures",
            "depth",
            "prev_events",
            "prev_state",
            "auth_events",
            "origin",
            "origin_server_ts",
            "membership",
        }
    ),
    content={
        "m.room.member": frozenset({"membership"}),
        "m.room.create": frozenset({"creator"}),
        "m.room.join_rules": frozenset({"join_rule"}),
        "m.room.power_levels": frozenset(
            {
                "ban",
                "events",
                "events_default",
                "kick",
                "redact",
                "state_default",
                "users",
                "users_default",
            }
        ),
        "m.room.aliases": frozenset({"aliases"}),
        "m.room.history_visibility": frozenset({"history_visibility"}),
    },
)


def _keeping(rules: RedactionRules, kind: str, *keys: str) -> RedactionRules:
    """The rules, with more keys of one event type's content kept."""
    kept = rules.content.get(kind) or frozenset()
    return replace(rules, content={**rules.content, kind: kept | set(keys)})


_V6_REDACTION = replace(
    _V1_REDACTION,
    content={k: v for k, v in _V1_REDACTION.content.items() if k != "m.room.aliases"},
)
_V8_REDACTION = _keeping(_V6_REDACTION, "m.room.join_rules", "allow")
_V9_REDACTION = _keeping(_V8_REDACTION, "m.room.member", "join_authorised_via_users_server")
_V11_REDACTION = replace(
    _keeping(
        _keeping(_V9_REDACTION, "m.room.power_levels", "invite"), "m.room.redaction", "redacts"
    ),
    keys=_V1_REDACTION.keys - {"origin", "membership", "prev_state"},
    third_party_signed=True,
)
_V11_REDACTION = replace(_V11_REDACTION, content={**_V11_REDACTION.content, "m.room.create": None})

V1 = RoomVersion(
    name="1",
    redaction=_V1_REDACTION,
    event_ids=EventIDFormat.SENT,
    state_resolution=StateResolutionVersion.V1,
    strict_json=False,
    key_validity=False,
    create_names_creator=True,
    privileged_creators=False,
    room_id_is_create_id=False,
    aliases_by_domain=True,
    redactions_need_level=True,
    redacts_in_content=False,
    integer_power_levels=False,
    notification_levels=False,
    invited_join_rules=frozenset({"invite"}),
    restricted_join_rules=frozenset(),
    knock_join_rules=frozenset(),
)
V2 = replace(V1, name="2", state_resolution=StateResolutionVersion.V2)
V3 = replace(V2, name="3", event_ids=EventIDFormat.HASH, redactions_need_level=False)
V4 = replace(V3, name="4", event_ids=EventIDFormat.URL_SAFE_HASH)
V5 = replace(V4, name="5", key_validity=True)
V6 = replace(
    V5,
    name="6",
    redaction=_V6_REDACTION,
    strict_json=True,
    aliases_by_domain=False,
    notification_levels=True,
)
V7 = replace(
    V6,
    name="7",
    invited_join_rules=frozenset({"invite", "knock"}),
    knock_join_rules=frozenset({"knock"}),
)
V8 = replace(V7, name="8", redaction=_V8_REDACTION, restricted_join_rules=frozenset({"restricted"}))
V9 = replace(V8, name="9", redaction=_V9_REDACTION)
V10 = replace(
    V9,
    name="10",
    integer_power_levels=True,
    restricted_join_rules=frozenset({"restricted", "knock_restricted"}),
    knock_join_rules=frozenset({"knock", "knock_restricted"}),
)
V11 = replace(
    V10,
    name="11",
    redaction=_V11_REDACTION,
    create_names_creator=False,
    redacts_in_content=True,
)
V12 = replace(
    V11,
    name="12",
    state_resolution=StateResolutionVersion.V2_1,
    privileged_creators=True,
    room_id_is_create_id=True,
)

ROOM_VERSIONS: Mapping[str, RoomVersion] = MappingProxyType(
    {v.name: v for v in (V1, V2, V3, V4, V5, V6, V7, V8, V9, V10, V11, V12)}
)
"""The stable versions by name."""


def find_room_version(
    create_content: Mapping[str, Any], known: Mapping[str, RoomVersion] = ROOM_VERSIONS
) -> RoomVersion:
    """The version that a room's `m.room.create` content asks for.

    https://spec.matrix.org/v1.19/client-server-api/#mroomcreate: "Defaults to "1" if the key does
    not exist."

    Raises:
        UnknownRoomVersionError: it names none that is known, or is not a string.

    """
    name = create_content.get("room_version", "1")
    version = known.get(name) if isinstance(name, str) else None
    if version is None:
        raise UnknownRoomVersionError(f"unknown room version: {name!r}")
    return version
