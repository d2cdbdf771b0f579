"""What somebody may change in the power levels: rule 10 of version 12 and its likes.

https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
"""

from collections.abc import Iterator, Mapping
from typing import Any

from federation.auth.facts import Facts
from federation.decision import ALLOWED, Decision, Denied
from federation.events import Event
from federation.identifiers import is_user_id
from federation.power_levels import (
    NAMED_LEVELS,
    Level,
    LevelError,
    creators_of,
    read_level,
    read_levels,
)
from federation.room_versions import RoomVersion


def check_power_levels(event: Event, facts: Facts) -> Decision:
    """Authorise the content of `m.room.power_levels`."""
    malformed = _check_content(event, facts)
    if isinstance(malformed, Denied):
        return malformed
    # "If there is no previous m.room.power_levels event in the room, allow."
    if facts.power_levels is None:
        return ALLOWED
    return _check_changes(event, facts.power_levels.content, facts)


def _check_content(event: Event, facts: Facts) -> Decision:
    content, version = event.content, event.version
    if version.integer_power_levels:
        found = _check_integers(content, version)
        if isinstance(found, Denied):
            return found
    # "If the users property in content is not an object with keys that are valid user IDs with
    # values that are integers (or a string that is an integer), reject."
    users = content.get("users", {})
    try:
        valid = type(users) is dict and all(map(is_user_id, read_levels(users, version)))
    except LevelError:
        valid = False
    if not valid:
        return Denied("power_levels.users", "users is not an object of user IDs and levels")
    # Since v12: "If the users property in content contains the sender of the m.room.create event
    # or any of the additional_creators array, reject."
    if version.privileged_creators and not creators_of(facts.create).isdisjoint(users):
        return Denied("power_levels.creators", "a creator's level cannot be set")
    return ALLOWED


def _check_integers(content: Mapping[str, Any], version: RoomVersion) -> Decision:
    try:
        # "If any of the properties users_default, events_default, state_default, ban, redact,
        # kick, or invite in content are present and not an integer, reject."
        for name in NAMED_LEVELS.keys() & content.keys():
            read_level(content[name], version)
        # "If either of the properties events or notifications in content are present and not an
        # object with values that are integers, reject."
        for group in ("events", "notifications"):
            read_levels(content.get(group, {}), version)
    except LevelError as error:
        return Denied("power_levels.integers", str(error))
    return ALLOWED


def _check_changes(event: Event, old: Mapping[str, Any], facts: Facts) -> Decision:
    new, version = event.content, event.version
    own = facts.levels.of(event.sender)
    # "For the properties users_default, events_default, state_default, ban, redact, kick, invite
    # check if they were added, changed or removed."
    changes = list(_changed(_named(old, version), _named(new, version)))
    # "For each entry being changed in, or removed from, the events [since v6: or notifications]
    # properties", and "for each entry being added to, or changed in"
    for group in ("events", "notifications") if version.notification_levels else ("events",):
        changes += _changed(_group(old, group, version), _group(new, group, version))
    # "If the current value is greater than the sender's current power level, reject." "If the new
    # value is greater than the sender's current power level, reject."
    for name, before, after in changes:
        if _exceeds(before, own) or _exceeds(after, own):
            return Denied("power_levels.change", f"{name} is beyond the sender's level")
    return _check_users(event, old, own)


def _check_users(event: Event, old: Mapping[str, Any], own: Level) -> Decision:
    old_users = _group(old, "users", event.version)
    new_users = _group(event.content, "users", event.version)
    for user, before, after in _changed(old_users, new_users):
        # "For each entry being changed in, or removed from, the users property, other than the
        # sender's own entry: If the current value is greater than or equal to the sender's current
        # power level, reject."
        if user != event.sender and before is not None and before >= own:
            return Denied("power_levels.user", f"{user} is not below the sender")
        # "For each entry being added to, or changed in, the users property: If the new value is
        # greater than the sender's current power level, reject."
        if _exceeds(after, own):
            return Denied("power_levels.user", f"{user} would be above the sender")
    return ALLOWED


def _named(content: Mapping[str, Any], version: RoomVersion) -> dict[str, int]:
    return {name: read_level(content[name], version) for name in NAMED_LEVELS if name in content}


def _group(content: Mapping[str, Any], group: str, version: RoomVersion) -> dict[str, int]:
    return read_levels(content.get(group, {}), version)


def _changed(
    old: Mapping[str, int], new: Mapping[str, int]
) -> Iterator[tuple[str, int | None, int | None]]:
    """What was altered, its level before, and after; `None` where there is none."""
    for name in old.keys() | new.keys():
        before, after = old.get(name), new.get(name)
        if before != after:
            yield name, before, after


def _exceeds(level: int | None, own: Level) -> bool:
    return level is not None and level > own
