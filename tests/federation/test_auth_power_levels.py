"""Rule 10 of version 12 and its likes: `m.room.power_levels`."""

from collections.abc import Mapping
from typing import Any

from federation.room_versions import V5, V6, V9, V10, V11, V12
from tests.federation.auth_cases import (
    ADA,
    ANN,
    BOB,
    CAT,
    MOD,
    Case,
    Given,
    Send,
    allow,
    between,
    deny,
    joined,
    rows,
    since,
    state,
    until,
)

KIND = "m.room.power_levels"
NAMED = ("users_default", "events_default", "state_default", "ban", "redact", "kick", "invite")
USERS, CREATORS, INTEGERS = "power_levels.users", "power_levels.creators", "power_levels.integers"
CHANGE, USER, MALFORMED = "power_levels.change", "power_levels.user", "power_levels.malformed"

NO_LEVELS = Given(levels=None)
HUGE = "9" * 5000
"""More digits than Python reads as a number."""


def levels(sender: str = ANN, /, **content: Any) -> Send:
    return state(sender, KIND, **content)


NO_LEVEL: tuple[object, ...] = (
    *(None, True, False, [], {}),
    *("", " ", "ten", "1.5", "1e3", "0x1", "1 0", "+-1", "1_0", "\u0661", "\xa01", HUGE),
)
NO_INTEGER: tuple[object, ...] = ("50", None, True, [], {})
NO_INTEGERS: tuple[object, ...] = (
    *(None, [], "x", 7),
    *({"room": level} for level in NO_INTEGER),
)
NO_USERS: tuple[object, ...] = (
    *(None, [], "x", 7, [BOB]),
    *({name: 1} for name in ("bob", "", "@bob", "@:", "#bob:two.test", "@bob:two test")),
)

# Ann, who creates the room, sends the first levels. Whom they raise does not matter.
FIRST = [
    # Since v10: "If any of the properties users_default, events_default, state_default, ban,
    # redact, kick, or invite in content are present and not an integer, reject."
    *(
        deny(INTEGERS, f"{name}: {bad!r}", levels(**{name: bad}), NO_LEVELS, since(V10))
        for name in NAMED
        for bad in NO_INTEGER
    ),
    *(allow(INTEGERS, name, levels(**{name: -7}), NO_LEVELS, since(V10)) for name in NAMED),
    allow(INTEGERS, "of any other name", levels(historical="50"), NO_LEVELS, since(V10)),
    # Since v10: "If either of the properties events or notifications in content are present and
    # not an object with values that are integers, reject."
    *(
        deny(INTEGERS, f"{group}: {bad!r}", levels(**{group: bad}), NO_LEVELS, since(V10))
        for group in ("events", "notifications")
        for bad in NO_INTEGERS
    ),
    *(
        allow(INTEGERS, f"{group}: {good}", levels(**{group: good}), NO_LEVELS, since(V10))
        for group in ("events", "notifications")
        for good in ({}, {"room": 0, "m.room.name": 2**53 - 1})
    ),
    # Until v9 nobody looks at them here: what cannot be read does harm where it is asked for.
    allow(MALFORMED, "first, ban", levels(ban="a lot"), NO_LEVELS, until(V9)),
    allow(MALFORMED, "first, events", levels(events=7), NO_LEVELS, until(V9)),
    # "If the users property in content is not an object with keys that are valid user IDs with
    # values that are integers [until v9: or a string that is an integer], reject."
    *(
        deny(USERS, f"users: {bad!r}", levels(users=bad), NO_LEVELS)
        for bad in NO_USERS
    ),
    *(
        deny(USERS, f"a level: {bad!r}"[:40], levels(users={BOB: bad}), NO_LEVELS)
        for bad in NO_LEVEL
    ),
    deny(USERS, "one of many", levels(users={CAT: 1, BOB: None}), NO_LEVELS),
    deny(USERS, "a string", levels(users={BOB: "1"}), NO_LEVELS, since(V10)),
    *(
        allow(USERS, f"{text!r}", levels(users={BOB: text}), NO_LEVELS, until(V9))
        for text in ("1", "000100", "+100", "-100", " 100 ", "\t 00100\n", " +100 ", " -100 ")
    ),
    *(
        allow(USERS, f"{number}", levels(users={BOB: number}), NO_LEVELS, until(V5))
        for number in (1.0, 50.57, -0.5, 5.114698e4, 1e308, 10**400)
    ),
    allow(USERS, "absent", levels(), NO_LEVELS),
    allow(USERS, "empty", levels(users={}), NO_LEVELS),
    allow(USERS, "integers", levels(users={BOB: -(2**53) + 1, CAT: 2**53 - 1}), NO_LEVELS),
    allow(USERS, "a historical name", levels(users={"@B ob!:two.test": 1}), NO_LEVELS),
    # Since v12: "If the users property in content contains the sender of the m.room.create event or
    # any of the additional_creators array [...], reject."
    deny(CREATORS, "the sender", levels(users={ANN: 100}), NO_LEVELS, since(V12)),
    deny(CREATORS, "by another", levels(ADA, users={ADA: 100, ANN: 0}), versions=since(V12)),
    deny(
        CREATORS,
        "an additional one",
        levels(users={BOB: 100}),
        Given(levels=None, create={"additional_creators": [CAT, BOB]}),
        since(V12),
    ),
    allow(CREATORS, "somebody else", levels(users={BOB: 100}), NO_LEVELS, since(V12)),
    allow(
        USERS,
        "creators, before they were privileged",
        levels(users={ANN: 100, BOB: 100}),
        Given(levels=None, create={"additional_creators": [BOB]}),
        until(V11),
    ),
    # "If there is no previous m.room.power_levels event in the room, allow."
    allow(CHANGE, "beyond the sender's", levels(ban=2**53 - 1, events={"x": 999}), NO_LEVELS),
    allow(USER, "beyond the sender's", levels(users={BOB: 2**53 - 1}), NO_LEVELS),
]  # fmt: skip

OLD: Mapping[str, Any] = {
    "users": {ADA: 100, MOD: 50, BOB: 50, CAT: 10},
    "state_default": 50,
    "events_default": 10,
    "ban": 100,
    "kick": 50,
    "redact": 51,
    "events": {"m.room.name": 50, "m.room.avatar": 51, KIND: 0},
    "notifications": {"room": 50, "here": 51},
}
NEED_50 = {**OLD, "events": {}}
THE_ROOM = Given(members=joined(BOB, CAT), levels=OLD)


def changed(sender: str = MOD, /, **content: Any) -> Send:
    """The old levels, but for these properties; `None` removes one."""
    new = {key: value for key, value in {**OLD, **content}.items() if value is not None}
    return levels(sender, **new)


def _with(group: str, **entries: float | str | None) -> dict[str, Any]:
    new = {key: value for key, value in {**OLD[group], **entries}.items() if value is not None}
    return {group: new}


def _users(sender: str = MOD, /, **entries: float | str | None) -> Send:
    return changed(sender, **_with("users", **entries))


def _notifying(name: str, level: int | None) -> Send:
    return changed(**_with("notifications", **{name: level}))


SINCE_6 = since(V6)

CHANGED = [
    # "For the properties users_default, events_default, state_default, ban, redact, kick, invite
    # check if they were added, changed or removed. For each found alteration: If the current value
    # is greater than the sender's current power level, reject. If the new value is greater [...],
    # reject." Mod is at 50.
    allow(CHANGE, "nothing", changed(), THE_ROOM),
    *(
        row(CHANGE, f"{name}: {what}", changed(**{name: new}), THE_ROOM)
        for row, name, new, what in (
            (allow, "users_default", 50, "added"),
            (deny, "users_default", 51, "added above"),
            (allow, "invite", 50, "added"),
            (deny, "invite", 51, "added above"),
            (allow, "kick", 49, "lowered"),
            (deny, "kick", 51, "raised above"),
            (allow, "kick", None, "removed"),
            (allow, "state_default", 0, "lowered"),
            (deny, "state_default", 51, "raised above"),
            (allow, "state_default", None, "removed"),
            (allow, "events_default", 50, "raised"),
            (deny, "events_default", 51, "raised above"),
            (deny, "ban", 50, "lowered from above"),
            (deny, "ban", 101, "raised from above"),
            (deny, "ban", None, "removed from above"),
            (deny, "redact", 50, "lowered from just above"),
            (deny, "redact", None, "removed from just above"),
        )
    ),
    allow(CHANGE, "of no meaning", changed(historical=999), THE_ROOM),
    # "For each entry being changed in, or removed from, the events [since v6: or notifications]
    # properties: If the current value is greater than the sender's current power level, reject."
    # "For each entry being added to, or changed in, [...]: If the new value is greater than the
    # sender's current power level, reject."
    *(
        row(CHANGE, f"events: {what}", changed(**_with("events", **{name: new})), THE_ROOM)
        for row, name, new, what in (
            (allow, "m.room.topic", 50, "added"),
            (deny, "m.room.topic", 51, "added above"),
            (allow, "m.room.name", 0, "lowered"),
            (deny, "m.room.name", 51, "raised above"),
            (allow, "m.room.name", None, "removed"),
            (deny, "m.room.avatar", 50, "lowered from above"),
            (deny, "m.room.avatar", 52, "raised from above"),
            (deny, "m.room.avatar", None, "removed from above"),
        )
    ),
    deny(CHANGE, "events: gone", changed(events=None), THE_ROOM),
    *(
        row(CHANGE, f"notifications: {what}", _notifying(name, new), THE_ROOM, versions)
        for row, name, new, what, versions in (
            (allow, "all", 50, "added", SINCE_6),
            (deny, "all", 51, "added above", SINCE_6),
            (allow, "all", 51, "added above", until(V5)),
            (allow, "room", 0, "lowered", SINCE_6),
            (deny, "room", 51, "raised above", SINCE_6),
            (allow, "room", None, "removed", SINCE_6),
            (deny, "here", 50, "lowered from above", SINCE_6),
            (allow, "here", 50, "lowered from above", until(V5)),
            (deny, "here", None, "removed from above", SINCE_6),
            (allow, "here", None, "removed from above", until(V5)),
        )
    ),
    deny(CHANGE, "notifications: gone", changed(notifications=None), THE_ROOM, SINCE_6),
    allow(CHANGE, "notifications: gone", changed(notifications=None), THE_ROOM, until(V5)),
    allow(CHANGE, "notifications: not levels", changed(notifications=7), THE_ROOM, until(V5)),
    # "For each entry being changed in, or removed from, the users property, other than the sender's
    # own entry: If the current value is greater than or equal to the sender's current power level,
    # reject." "For each entry being added to, or changed in, the users property: If the new value
    # is greater than the sender's current power level, reject."
    *(
        row(USER, what, _users(**{user: new}), THE_ROOM)
        for row, user, new, what in (
            (allow, "@new:six.test", 50, "added at one's own level"),
            (deny, "@new:six.test", 51, "added above"),
            (allow, CAT, 50, "raised to one's own level"),
            (deny, CAT, 51, "raised above"),
            (allow, CAT, -1, "lowered"),
            (allow, CAT, None, "removed"),
            (deny, BOB, 49, "an equal is lowered"),
            (deny, BOB, 51, "an equal is raised"),
            (deny, BOB, None, "an equal is removed"),
            (deny, ADA, 50, "a superior is lowered"),
            (deny, ADA, 0, "a superior is demoted"),
            (deny, ADA, None, "a superior is removed"),
            (allow, MOD, 49, "oneself lowered"),
            (allow, MOD, None, "oneself removed"),
            (deny, MOD, 51, "oneself raised"),
        )
    ),
    deny(USER, "users: gone", changed(users=None), THE_ROOM),
    # Until v9 strings are levels, and the same level in other words is no change.
    allow(CHANGE, "other words", changed(ban=" +0100 ", redact="51"), THE_ROOM, until(V9)),
    allow(USER, "other words", _users(**{ADA: "100"}), THE_ROOM, until(V9)),
    deny(USER, "other words, raised", _users(**{CAT: "51"}), THE_ROOM, until(V9)),
    deny(CHANGE, "other words, raised", changed(invite="51"), THE_ROOM, until(V9)),
    allow(CHANGE, "a float of one's own", changed(kick=50.9), THE_ROOM, until(V5)),
    deny(CHANGE, "a float above", changed(kick=51.0), THE_ROOM, until(V5)),
    allow(USER, "a float of the same", _users(**{BOB: 50.57}), THE_ROOM, until(V5)),
    # Until v9: levels that cannot be read
    deny(MALFORMED, "named", changed(ban="a lot"), THE_ROOM, until(V9)),
    deny(MALFORMED, "named, null", levels(MOD, **{**OLD, "ban": None}), THE_ROOM, until(V9)),
    deny(MALFORMED, "events", changed(events=7), THE_ROOM, until(V9)),
    deny(MALFORMED, "in events", changed(**_with("events", x="a lot")), THE_ROOM, until(V9)),
    deny(MALFORMED, "notifications", changed(notifications=7), THE_ROOM, between(V6, V9)),
    deny(
        MALFORMED,
        "the old ones, when used",
        Send("m.room.member", ADA, {"membership": "ban"}, BOB),
        Given(members=joined(BOB), levels={"users": {ADA: 100}, "ban": "a lot"}),
    ),
    deny(MALFORMED, "the old users", changed(), Given(levels={**OLD, "users": 7})),
    deny(MALFORMED, "the old one's level", changed(), Given(levels={**OLD, "users": {MOD: "x"}})),
    allow(
        MALFORMED,
        "the old ones, elsewhere",
        Send("m.room.message", ADA, {}),
        Given(levels={"users": {ADA: 100, MOD: "x"}, "ban": "a lot"}),
    ),
    # A creator may change everything since v12; until then the levels decide.
    allow(CHANGE, "by the creator", changed(ANN, ban=2**53 - 1), THE_ROOM, since(V12)),
    allow(USER, "by the creator", _users(ANN, **{ADA: None}), THE_ROOM, since(V12)),
    deny("sender.level", "by the creator", changed(ANN), Given(levels=NEED_50), until(V11)),
]  # fmt: skip

CASES = [*FIRST, *CHANGED]


@rows(CASES)
def test_power_levels(case: Case) -> None:
    assert case.found == case.expected


LOW = Given(levels={"users": {MOD: 50}})
UNDER_ANY_KEY = [
    allow(CHANGE, "another state key", state(MOD, KIND, "x", kick=50), LOW),
    deny(CHANGE, "another state key", state(MOD, KIND, "x", kick=51), LOW),
    deny(CHANGE, "not even state", Send(KIND, MOD, {"kick": 51}), LOW),
]


@rows(UNDER_ANY_KEY)
def test_of_type_alone(case: Case) -> None:
    """ "If type is m.room.power_levels": under any state key, or none."""
    assert case.found == case.expected
