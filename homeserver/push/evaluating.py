"""Which of a user's push rules an event meets, and what follows. Pure.

https://spec.matrix.org/v1.19/client-server-api/#conditions-1
"""

import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from federation.canonical_json import JsonObject
from homeserver.push.changes import Rules
from homeserver.push.default_rules import KINDS, Rule

_MOST_DEPTH = 100
_LONGEST_TEXT, _LONGEST_PATTERN = 4096, 1024
"""Characters that are looked at: nobody can keep us busy with what they say or wish."""
_COMPARISON = re.compile(r"(==|<|>|>=|<=)?([0-9]{1,9})", re.ASCII)


class Around(NamedTuple):
    """What rules look at beside the event."""

    members: int
    """Who are joined to the room."""
    permitted: Collection[str]
    """What the sender may notify of with more than a message: `room`."""
    display_name: str | None
    """Of the user in the room."""
    follows_thread: bool | None = None
    """Whether the user follows the thread that the event is in; `None`: it is in none."""


class Outcome(NamedTuple):
    """What is to be done about an event."""

    notify: bool = False
    highlight: bool = False
    tweaks: Mapping[str, Any] = {}
    actions: Sequence[Any] = ()
    """As the rule has them."""


def evaluate(
    rules: Rules, event: JsonObject, around: Around, values: Mapping[str, Any] | None = None
) -> Outcome:
    """What the first rule says that the event meets.

    Args:
        rules: of the user.
        event: `type`, `sender`, `room_id`, `content`, perhaps `state_key`; not of the user's own.
        around: the rest.
        values: the event `flattened`, if that was done before.

    """
    if values is None:
        values = flattened(event)
    for kind in KINDS:
        for rule in rules[kind]:
            if rule["enabled"] and _meets(kind, rule, event, values, around):
                return outcome(rule["actions"])
    return Outcome()


def outcome(actions: Sequence[Any]) -> Outcome:
    """What the actions of a rule come to."""
    tweaks = {
        action["set_tweak"]: action.get("value", action["set_tweak"] == "highlight")
        for action in actions
        if isinstance(action, dict) and "set_tweak" in action
    }
    notify = "notify" in actions
    return Outcome(notify, notify and tweaks.get("highlight") is True, tweaks, actions)


def flattened(event: JsonObject) -> dict[str, Any]:
    """The event's values by their keys as conditions name them; lists are values.

    "If a key contains a dot or a backslash, those are escaped with a backslash."
    """
    found: dict[str, Any] = {}
    pending: list[tuple[str, Any, int]] = [("", event, 0)]
    while pending:
        path, value, depth = pending.pop()
        if not isinstance(value, dict):
            found[path] = value
        elif depth < _MOST_DEPTH:
            for key, below in value.items():
                name = key.replace("\\", "\\\\").replace(".", "\\.")
                pending.append((f"{path}.{name}" if path else name, below, depth + 1))
    return found


def _meets(
    kind: str, rule: Rule, event: JsonObject, values: Mapping[str, Any], around: Around
) -> bool:
    if kind == "content":
        body = values.get("content.body")
        return isinstance(body, str) and _has_match(body, rule["pattern"])
    if kind == "room":
        return bool(event.get("room_id") == rule["rule_id"])
    if kind == "sender":
        return bool(event.get("sender") == rule["rule_id"])
    return all(_holds(one, values, around) for one in rule["conditions"])


def _holds(condition: Mapping[str, Any], values: Mapping[str, Any], around: Around) -> bool:
    match condition.get("kind"):
        case "event_match":
            return _matches(condition, values)
        case "event_property_is":
            value = values.get(str(condition.get("key")), _MISSING)
            return _is_same(value, condition.get("value"))
        case "event_property_contains":
            value = values.get(str(condition.get("key")))
            wanted = condition.get("value")
            return isinstance(value, list) and any(_is_same(one, wanted) for one in value)
        case "contains_display_name":
            body, name = values.get("content.body"), around.display_name
            return bool(name) and isinstance(body, str) and _has_word(body, str(name))
        case "room_member_count":
            return _counts(condition.get("is"), around.members)
        case "sender_notification_permission":
            return str(condition.get("key")) in around.permitted
        case "io.element.msc4306.thread_subscription":
            return around.follows_thread is not None and _is_same(
                around.follows_thread, condition.get("subscribed")
            )
    # "Unrecognised conditions MUST NOT match any events"
    return False


def _matches(condition: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    key, pattern = condition.get("key"), condition.get("pattern")
    value = values.get(str(key))
    if not isinstance(pattern, str) or not isinstance(value, str):
        return False
    # "if the key is content.body the pattern is matched as words, otherwise as the whole value"
    if key == "content.body":
        return _has_match(value, pattern)
    return _glob(pattern, words=False).fullmatch(value) is not None


def _has_match(body: str, pattern: str) -> bool:
    return _glob(pattern, words=True).search(body[:_LONGEST_TEXT]) is not None


def _has_word(body: str, name: str) -> bool:
    return _word(name).search(body[:_LONGEST_TEXT]) is not None


@lru_cache(maxsize=10_000)
def _glob(pattern: str, *, words: bool) -> re.Pattern[str]:
    parts = re.split(r"\*+", pattern[:_LONGEST_PATTERN])
    first, *rest = ("".join("." if c == "?" else re.escape(c) for c in part) for part in parts)
    # Atomic groups: the first place that fits will do, none is tried again.
    middle = "".join(f"(?>.*?{part})" for part in rest[:-1] if part)
    regex = f"{first}{middle}.*{rest[-1]}" if rest else first
    if words:
        regex = rf"(?:^|(?<=\W)){regex}(?:$|(?=\W))"
    return re.compile(regex, re.IGNORECASE | re.DOTALL)


@lru_cache(maxsize=10_000)
def _word(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?:^|(?<=\W)){re.escape(name)}(?:$|(?=\W))", re.IGNORECASE)


def _counts(wanted: object, members: int) -> bool:
    found = _COMPARISON.fullmatch(wanted) if isinstance(wanted, str) else None
    if found is None:
        return False
    number = int(found[2])
    match found[1]:
        case "<":
            return members < number
        case ">":
            return members > number
        case "<=":
            return members <= number
        case ">=":
            return members >= number
    return members == number


def _is_same(one: object, other: object) -> bool:
    """Equal, and of one type: `true` is not `1`."""
    return type(one) is type(other) and one == other


_MISSING = object()
