"""Power levels: how they are read, and who has which.

Old room versions accept levels written as strings and floats; from version 10 on only integers
are levels. A level that cannot be read at all is an error, never a default: a guess would be one
server's own.

https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels
https://spec.matrix.org/v1.19/rooms/v1/#mroompower_levels-events-accept-values-as-strings
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from federation.errors import EventFormatError
from federation.events import Event
from federation.room_versions import RoomVersion

Level = int | float
"""An integer, or `CREATOR_LEVEL`."""

CREATOR_LEVEL = math.inf
"""Where creators are privileged, theirs is "infinitely high"."""

NAMED_LEVELS: Mapping[str, int] = {
    "users_default": 0,
    "events_default": 0,
    "state_default": 50,
    "ban": 50,
    "redact": 50,
    "kick": 50,
    "invite": 0,
}
"""The levels that stand directly in the content, with what each is where it is not given."""

_STRING_LEVEL = re.compile(r"[ \t-\r]*([+-]?[0-9]+)[ \t-\r]*", re.ASCII)


class LevelError(EventFormatError):
    """A power level that cannot be read."""


def read_level(value: object, version: RoomVersion) -> int:
    """One level as an integer.

    Raises:
        LevelError: not a level in this room version.

    """
    if type(value) is int:
        return value
    if not version.integer_power_levels:
        if type(value) is float and math.isfinite(value):
            return math.trunc(value)
        if type(value) is str and (found := _STRING_LEVEL.fullmatch(value)):
            return _read_digits(found[1])
    raise LevelError(f"not a power level: {value!r}")


def read_levels(value: object, version: RoomVersion) -> dict[str, int]:
    """An object of levels, such as `users` or `events`; errors as `read_level`."""
    if type(value) is not dict:
        raise LevelError("not an object of power levels")
    return {key: read_level(level, version) for key, level in value.items()}


def creators_of(create: Event) -> frozenset[str]:
    """Those who created the room.

    https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
    """
    if create.version.create_names_creator:
        named = create.content.get("creator")
        return frozenset([named]) if isinstance(named, str) else frozenset()
    if not create.version.privileged_creators:
        return frozenset([create.sender])
    additional = create.content.get("additional_creators")
    listed = additional if isinstance(additional, list) else []
    return frozenset([create.sender, *(user for user in listed if isinstance(user, str))])


class PowerLevels:
    """The levels in force, from the create event and the current power levels, if any.

    Values are read when they are asked for: a room's thousands of users cost nothing here.
    """

    __slots__ = ("_content", "_creators", "_version")

    def __init__(self, create: Event, power_levels: Event | None) -> None:
        self._version = create.version
        self._creators = creators_of(create)
        self._content = power_levels.content if power_levels else None

    def of(self, user: str) -> Level:
        """The user's level."""
        is_creator = user in self._creators
        if is_creator and self._version.privileged_creators:
            return CREATOR_LEVEL
        if self._content is None:
            # "If there is no m.room.power_levels event in the room, the room's creators have a
            # power level of 100, and all other users have a power level of 0."
            return 100 if is_creator else 0
        level = self._entry("users", user)
        return level if level is not None else self.named("users_default")

    def named(self, name: str) -> int:
        """One of `NAMED_LEVELS`."""
        value = self._content.get(name) if self._content is not None else None
        return NAMED_LEVELS[name] if value is None else read_level(value, self._version)

    def required(self, kind: str, *, is_state: bool) -> int:
        """The level one needs to send events of this type."""
        level = self._entry("events", kind)
        if level is not None:
            return level
        return self.named("state_default" if is_state else "events_default")

    def notification(self, kind: str) -> int:
        """The level one needs to notify in this way (`room`); 50 where it is not given."""
        level = self._entry("notifications", kind)
        return 50 if level is None else level

    def _entry(self, group: str, key: str) -> int | None:
        if self._content is None:
            return None
        entries: Any = self._content.get(group, {})
        if type(entries) is not dict:
            raise LevelError(f"{group} is not an object")
        value = entries.get(key)
        return None if value is None else read_level(value, self._version)


def _read_digits(digits: str) -> int:
    try:
        return int(digits)
    except ValueError as error:  # thousands of digits
        raise LevelError("a power level of too many digits") from error
