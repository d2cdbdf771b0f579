"""What a new room begins with: from a request to the drafts of its first events. Pure.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from federation.building import Draft
from federation.canonical_json import JsonObject
from federation.identifiers import RoomAlias, RoomID, UserID
from federation.room_versions import RoomVersion


class Preset(Enum):
    """How open a room is; see the table in the specification."""

    PRIVATE = "private_chat"
    TRUSTED = "trusted_private_chat"
    PUBLIC = "public_chat"


@dataclass(frozen=True, slots=True)
class InitialState:
    """One of the `initial_state` of a request."""

    type: str
    content: Mapping[str, Any]
    state_key: str = ""


@dataclass(frozen=True, slots=True)
class NewRoom:
    """What somebody wants a new room to be; validated, with the server's defaults filled in."""

    creator: UserID
    version: RoomVersion
    preset: Preset
    invite_level: int = 0
    """Of the preset; the override wins."""
    encrypt: bool = False
    """Whether to encrypt unless the request says otherwise, or creates no room for people."""
    name: str | None = None
    topic: str | None = None
    alias: RoomAlias | None = None
    invites: Sequence[UserID] = ()
    is_direct: bool = False
    profile: Mapping[str, Any] = field(default_factory=dict)
    """The creator's `displayname` and `avatar_url`, for the membership."""
    creation_content: Mapping[str, Any] = field(default_factory=dict)
    initial_state: Sequence[InitialState] = ()
    levels: Mapping[str, Any] = field(default_factory=dict)
    """`power_level_content_override`."""


def create_event(wanted: NewRoom, room_id: RoomID | None) -> Draft:
    """The first event. `room_id` is `None` where it follows from this event."""
    content = {**wanted.creation_content, "room_version": wanted.version.name}
    # "The server will overwrite the following keys: creator, room_version."
    content.pop("creator", None)
    if wanted.version.create_names_creator:
        content["creator"] = wanted.creator
    # "When using the trusted_private_chat preset, the server SHOULD combine additional_creators
    # specified here and the invite array [...], deduplicating between the two parameters."
    if wanted.version.privileged_creators and wanted.preset is Preset.TRUSTED:
        named = content.get("additional_creators", [])
        if isinstance(named, list):
            content["additional_creators"] = list(dict.fromkeys([*named, *wanted.invites]))
    return Draft("m.room.create", wanted.creator, content, "", room_id)


def first_events(wanted: NewRoom, room_id: RoomID) -> list[Draft]:
    """All events after the first, "in the following order"."""

    def state(kind: str, content: Mapping[str, Any], state_key: str = "") -> Draft:
        return Draft(kind, wanted.creator, content, state_key, room_id)

    drafts = [
        # "2. An m.room.member event for the creator to join the room."
        state("m.room.member", {**wanted.profile, "membership": "join"}, wanted.creator),
        # "3. A default m.room.power_levels event."
        state("m.room.power_levels", _power_levels(wanted)),
    ]
    # "4. An m.room.canonical_alias event if room_alias_name is given."
    if wanted.alias:
        drafts.append(state("m.room.canonical_alias", {"alias": wanted.alias}))
    # "5. Events set by the preset." "6. Events listed in initial_state"
    given = {(entry.type, entry.state_key) for entry in wanted.initial_state}
    drafts += [state(k, c) for k, c in _preset_state(wanted).items() if (k, "") not in given]
    overridden = _named_state(wanted)
    for entry in wanted.initial_state:
        if entry.state_key or entry.type not in overridden:
            drafts.append(state(entry.type, entry.content, entry.state_key))
    # "7. Events implied by name and topic"
    drafts += [state(kind, content) for kind, content in overridden.items()]
    # "8. Invite events implied by invite"
    drafts += [state("m.room.member", _invite(wanted), user) for user in wanted.invites]
    return drafts


def _power_levels(wanted: NewRoom) -> JsonObject:
    version = wanted.version
    users: dict[str, int] = {}
    if not version.privileged_creators:
        users[wanted.creator] = 100
        # "All invitees are given the same power level as the room creator."
        if wanted.preset is Preset.TRUSTED:
            users.update(dict.fromkeys(wanted.invites, 100))
    return {
        "users": users,
        "users_default": 0,
        "events": {
            "m.room.name": 50,
            "m.room.avatar": 50,
            "m.room.canonical_alias": 50,
            "m.room.history_visibility": 100,
            "m.room.power_levels": 100,
            "m.room.server_acl": 100,
            "m.room.encryption": 100,
            # "If the room's version is 12 or higher, the power level for sending m.room.tombstone
            # events MUST explicitly be higher than state_default."
            "m.room.tombstone": 150 if version.privileged_creators else 100,
        },
        "events_default": 0,
        "state_default": 50,
        "ban": 50,
        "kick": 50,
        "redact": 50,
        "invite": wanted.invite_level,
        **wanted.levels,
    }


def _preset_state(wanted: NewRoom) -> dict[str, JsonObject]:
    is_public = wanted.preset is Preset.PUBLIC
    state: dict[str, JsonObject] = {
        "m.room.join_rules": {"join_rule": "public" if is_public else "invite"},
        "m.room.history_visibility": {"history_visibility": "shared"},
        "m.room.guest_access": {"guest_access": "forbidden" if is_public else "can_join"},
    }
    if wanted.encrypt and not is_public and "type" not in wanted.creation_content:
        state["m.room.encryption"] = {"algorithm": "m.megolm.v1.aes-sha2"}
    return state


def _named_state(wanted: NewRoom) -> dict[str, JsonObject]:
    state: dict[str, JsonObject] = {}
    if wanted.name is not None:
        state["m.room.name"] = {"name": wanted.name}
    if wanted.topic is not None:
        # "an m.room.topic event with a text/plain mimetype"
        rich = {"m.text": [{"body": wanted.topic}]}
        state["m.room.topic"] = {"topic": wanted.topic, "m.topic": rich}
    return state


def _invite(wanted: NewRoom) -> JsonObject:
    # "This flag makes the server set the is_direct flag on the m.room.member events sent to the
    # users in invite"
    return {"membership": "invite", **({"is_direct": True} if wanted.is_direct else {})}
