"""Which state gives an event's sender the permission to send it.

https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection
"""

from collections.abc import Mapping
from typing import Any

from federation.events import Event, StateKey
from federation.room_versions import RoomVersion

CREATE: StateKey = ("m.room.create", "")
POWER_LEVELS: StateKey = ("m.room.power_levels", "")
JOIN_RULES: StateKey = ("m.room.join_rules", "")


def auth_events_for(event: Event) -> list[StateKey]:
    """The keys of the state that `event` should cite."""
    return select(event.type, event.sender, event.state_key, event.content, event.version)


def select(
    kind: str,
    sender: str,
    state_key: str | None,
    content: Mapping[str, Any],
    version: RoomVersion,
) -> list[StateKey]:
    """The keys of the state that an event with these fields should cite; each at most once."""
    # "The auth_events for the m.room.create event in a room is empty"
    if kind == "m.room.create":
        return []
    # "Depending on the room version, the m.room.create event."
    keys = [] if version.room_id_is_create_id else [CREATE]
    # "The current m.room.power_levels event, if any. The sender's current m.room.member event"
    keys += [POWER_LEVELS, ("m.room.member", sender)]
    if kind == "m.room.member" and state_key is not None:
        keys += _for_membership(sender, state_key, content, version)
    return keys


def _for_membership(
    sender: str, state_key: str, content: Mapping[str, Any], version: RoomVersion
) -> list[StateKey]:
    given = content.get("membership")
    membership = given if isinstance(given, str) else None
    keys: list[StateKey] = []
    # "The target's current m.room.member event, if any."
    if state_key != sender:
        keys.append(("m.room.member", state_key))
    # "If membership is join, invite or knock, the current m.room.join_rules event, if any."
    if membership in {"join", "invite", "knock"}:
        keys.append(JOIN_RULES)
    if membership == "invite":
        token = _third_party_token(content)
        if token is not None:
            keys.append(("m.room.third_party_invite", token))
    if membership == "join" and version.restricted_join_rules:
        authoriser = content.get("join_authorised_via_users_server")
        if isinstance(authoriser, str) and authoriser not in (sender, state_key):
            keys.append(("m.room.member", authoriser))
    return keys


def _third_party_token(content: Mapping[str, Any]) -> str | None:
    """`content.third_party_invite.signed.token`, where it is a string."""
    found: Any = content
    for key in ("third_party_invite", "signed", "token"):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, str) else None
