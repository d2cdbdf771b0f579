"""Which events a client asked for. Pure.

https://spec.matrix.org/v1.19/client-server-api/#filtering
"""

import re
from collections.abc import Callable
from functools import lru_cache

from federation.events import Event
from homeserver.accounts.filters import EventFilter, RoomEventFilter

Matches = Callable[[Event], bool]


def everything(_event: Event) -> bool:
    """What an empty filter lets through."""
    return True


def matcher(wanted: EventFilter) -> Matches:
    """A test for events; `everything` itself where nothing is left out."""
    tests = [*_sender_tests(wanted), *_type_tests(wanted)]
    if isinstance(wanted, RoomEventFilter):
        tests += _room_tests(wanted)
    if not tests:
        return everything
    return lambda event: all(test(event) for test in tests)


def wants(wanted: EventFilter, kind: str, sender: str | None = None) -> bool:
    """Whether something that is no event of a room is wanted; what nobody sent has no sender."""
    if wanted.types is not None and not _any_of(wanted.types).fullmatch(kind):
        return False
    if wanted.not_types and _any_of(wanted.not_types).fullmatch(kind):
        return False
    return (wanted.senders is None or sender in wanted.senders) and sender not in (
        wanted.not_senders or ()
    )


def _sender_tests(wanted: EventFilter) -> list[Matches]:
    tests: list[Matches] = []
    if wanted.senders is not None:
        senders = frozenset(wanted.senders)
        tests.append(lambda event: event.sender in senders)
    if wanted.not_senders:
        # "A matching sender will be excluded even if it is listed in the 'senders' filter."
        refused = frozenset(wanted.not_senders)
        tests.append(lambda event: event.sender not in refused)
    return tests


def _type_tests(wanted: EventFilter) -> list[Matches]:
    tests: list[Matches] = []
    if wanted.types is not None:
        types = _any_of(wanted.types)
        tests.append(lambda event: types.fullmatch(event.type) is not None)
    if wanted.not_types:
        refused = _any_of(wanted.not_types)
        tests.append(lambda event: refused.fullmatch(event.type) is None)
    return tests


def _room_tests(wanted: RoomEventFilter) -> list[Matches]:
    tests: list[Matches] = []
    if wanted.rooms is not None:
        rooms = frozenset(wanted.rooms)
        tests.append(lambda event: event.room_id in rooms)
    if wanted.not_rooms:
        refused = frozenset(wanted.not_rooms)
        tests.append(lambda event: event.room_id not in refused)
    if wanted.contains_url is not None:
        tests.append(lambda event: isinstance(event.content.get("url"), str) is wanted.contains_url)
    if wanted.asks_for_relations:
        # `related` looks at what is stored: here it only matters that some are left out.
        tests.append(_perhaps)
    return tests + _relation_tests(wanted)


def _perhaps(_event: Event) -> bool:
    return True


def _relation_tests(wanted: RoomEventFilter) -> list[Matches]:
    tests: list[Matches] = []
    for only in (wanted.rel_types, wanted.unstable_rel_types):
        if only is not None:
            types = frozenset(only)
            tests.append(lambda event, types=types: _rel_type(event) in types)  # type: ignore[misc]
    refused = {*(wanted.not_rel_types or ()), *(wanted.unstable_not_rel_types or ())}
    if refused:
        tests.append(lambda event: _rel_type(event) not in refused)
    return tests


def _rel_type(event: Event) -> str | None:
    """What the event says it is to another."""
    relation = event.content.get("m.relates_to")
    found = relation.get("rel_type") if isinstance(relation, dict) else None
    return found if isinstance(found, str) else None


@lru_cache(100)
def _any_of(types: tuple[str, ...]) -> re.Pattern[str]:
    """A '*' can be used as a wildcard to match any sequence of characters."""
    return re.compile("|".join(map(_pattern, types)) or r"(?!)", re.DOTALL)


def _pattern(kind: str) -> str:
    first, *rest = map(re.escape, kind.split("*"))
    if not rest:
        return first
    # Atomic groups: the first place that fits will do, none is tried again.
    middle = "".join(f"(?>.*?{part})" for part in rest[:-1] if part)
    return f"{first}{middle}.*{rest[-1]}"
