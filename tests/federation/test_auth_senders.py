"""Who may send at all: federation, membership, levels, state keys, and aliases.

Rules 4 and 6 to 9 of version 12 and their likes; rule 4 of versions 1 to 5.
"""

from federation.room_versions import V5, V6, V11, V12
from tests.federation.auth_cases import (
    ADA,
    ANN,
    BOB,
    CAT,
    GUS,
    MOD,
    Case,
    Given,
    Send,
    allow,
    deny,
    joined,
    member,
    message,
    rows,
    since,
    state,
    until,
)

HOME = "@hal:one.test"
NEW = "@new:one.test"
"""Both of the creator's server."""


def _federate(value: object) -> Given:
    levels = {"users": {HOME: 100}}
    return Given(members=joined(BOB, HOME), levels=levels, create={"m.federate": value})


NOT_FALSE: tuple[object, ...] = (True, None, 0, "false", [], {})

FEDERATE = [
    # "If the content of the m.room.create event in the room state has the property m.federate set
    # to false, and the sender domain of the event does not match the sender domain of the create
    # event, reject."
    deny("federate", "a message", message(BOB), _federate(False)),
    deny("federate", "a join", member(GUS, GUS, "join"), _federate(False)),
    deny("federate", "a leave", member(BOB, BOB, "leave"), _federate(False)),
    deny("federate", "aliases", state(BOB, "m.room.aliases", "two.test"), _federate(False)),
    deny("federate", "another port", message("@hal:one.test:8448"), _federate(False)),
    allow("federate", "of its own server", message(HOME), _federate(False)),
    allow("federate", "a stranger there", member(NEW, NEW, "join"), _federate(False)),
    allow("federate", "of a remote user", member(HOME, BOB, "ban"), _federate(False)),
    *(
        allow("federate", f"set to {value!r}", message(BOB), _federate(value))
        for value in NOT_FALSE
    ),
]  # fmt: skip

ALIASES = "m.room.aliases"
NO_STATE_KEY = Send(ALIASES, BOB, {"aliases": []})
WITH_BOB = Given(members=joined(BOB))

ALIAS = [
    # Until v5: "If event has no state_key, reject."
    deny("aliases.state_key", "none", NO_STATE_KEY, WITH_BOB, until(V5)),
    allow("aliases.state_key", "has one", state(BOB, ALIASES, "two.test"), versions=until(V5)),
    # "If sender's domain doesn't match state_key, reject."
    deny("aliases.domain", "another server", state(BOB, ALIASES, "one.test"), versions=until(V5)),
    deny("aliases.domain", "empty", state(BOB, ALIASES), versions=until(V5)),
    deny("aliases.domain", "the sender", state(BOB, ALIASES, BOB), versions=until(V5)),
    deny("aliases.domain", "the creator, too", state(ANN, ALIASES, "two.test"), versions=until(V5)),
    # "Otherwise, allow.": neither membership nor level is asked about.
    allow("aliases.domain", "a stranger", state(GUS, ALIASES, "five.test"), versions=until(V5)),
    allow(
        "aliases.domain",
        "banned, with no level",
        state(BOB, ALIASES, "two.test"),
        Given(members={BOB: "ban"}, levels={"events": {ALIASES: 100}}),
        until(V5),
    ),
    # Since v6 they are state like any other.
    deny("sender.membership", "aliases", state(GUS, ALIASES, "five.test"), versions=since(V6)),
    deny("sender.level", "aliases", state(BOB, ALIASES, "two.test"), WITH_BOB, since(V6)),
    allow("sender.level", "aliases", state(MOD, ALIASES, "one.test"), versions=since(V6)),
    allow("sender.level", "aliases as a message", NO_STATE_KEY, WITH_BOB, since(V6)),
]  # fmt: skip

MEMBERSHIP = [
    # "If the sender's current membership state is not join, reject."
    *(
        deny("sender.membership", f"is {was}", message(BOB), Given(members={BOB: was}))
        for was in ("leave", "invite", "ban", "knock")
    ),
    deny("sender.membership", "unheard of", message(GUS)),
    deny("sender.membership", "the creator left", message(ANN), Given(members={ANN: "leave"})),
    deny("sender.membership", "levels", state(GUS, "m.room.power_levels")),
    allow("sender.membership", "joined", message(BOB), Given(members=joined(BOB))),
]


def _levels(**content: object) -> Given:
    """With Mod at 50, Ada at 100, and Bob at none."""
    return Given(members=joined(BOB), levels={"users": {ADA: 100, MOD: 50}, **content})


NO_LEVELS = Given(members=joined(BOB), levels=None)
BOB_AT_0 = _levels(users={BOB: 0}, users_default=50)
TOPIC, MESSAGE = "m.room.topic", "m.room.message"

LEVEL = [
    # "If the event type's required power level is greater than the sender's power level, reject."
    allow("sender.level", "state needs 50", state(MOD), _levels()),
    deny("sender.level", "state needs 50", state(BOB), _levels()),
    allow("sender.level", "messages need 0", message(BOB), _levels()),
    deny("sender.level", "messages need 0", message(BOB), _levels(users_default=-1)),
    allow("sender.level", "state_default", state(BOB), _levels(state_default=0)),
    deny("sender.level", "state_default", state(MOD), _levels(state_default=51)),
    allow("sender.level", "events_default", message(MOD), _levels(events_default=50)),
    deny("sender.level", "events_default", message(MOD), _levels(events_default=51)),
    allow("sender.level", "state in events", state(BOB), _levels(events={TOPIC: 0})),
    deny("sender.level", "state in events", state(MOD), _levels(events={TOPIC: 51})),
    allow("sender.level", "a message in events", message(MOD), _levels(events={MESSAGE: 50})),
    deny("sender.level", "a message in events", message(BOB), _levels(events={MESSAGE: 1})),
    allow("sender.level", "another in events", message(BOB), _levels(events={TOPIC: 99})),
    allow("sender.level", "users_default", state(BOB), _levels(users_default=50)),
    deny("sender.level", "users_default", state(BOB), _levels(users_default=49)),
    deny("sender.level", "users before users_default", state(BOB), BOB_AT_0),
    allow("sender.level", "the creator, no levels", state(ANN), NO_LEVELS),
    allow("sender.level", "a message, no levels", message(BOB), NO_LEVELS),
    # Until v11 a creator is nobody once there are levels; since v12 they stand above them.
    deny("sender.level", "the creator", state(ANN), _levels(state_default=100), until(V11)),
    allow("sender.level", "the creator", state(ANN), _levels(state_default=2**53 - 1), since(V12)),
    allow(
        "sender.level",
        "an additional creator",
        state(BOB),
        Given(members=joined(BOB), create={"additional_creators": [BOB]}),
        since(V12),
    ),
    deny(
        "sender.level",
        "no additional creators yet",
        state(BOB),
        Given(members=joined(BOB), create={"additional_creators": [BOB]}),
        until(V11),
    ),
    deny("sender.level", "redaction", Send("m.room.redaction", BOB, {}), _levels(events_default=1)),
    # the level is asked about before the state key
    deny("sender.level", "before the state key", state(BOB, TOPIC, CAT), _levels()),
]  # fmt: skip

STATE_KEY = [
    # "If the event has a state_key that starts with an @ and does not match the sender, reject."
    deny("state_key", "another user's", state(ADA, TOPIC, BOB)),
    deny("state_key", "another user's, by the creator", state(ANN, TOPIC, BOB), Given(levels=None)),
    deny("state_key", "an @ alone", state(ADA, TOPIC, "@")),
    deny("state_key", "an @ and something", state(ADA, TOPIC, "@work")),
    deny("state_key", "their own and more", state(ADA, TOPIC, ADA + "_x")),
    deny("state_key", "levels", state(ADA, "m.room.power_levels", BOB)),
    allow("state_key", "one's own", state(ADA, TOPIC, ADA)),
    allow("state_key", "empty", state(ADA)),
    allow("state_key", "an @ inside", state(ADA, TOPIC, "_" + BOB)),
    allow("state_key", "none", message(ADA)),
]

CASES = [*FEDERATE, *ALIAS, *MEMBERSHIP, *LEVEL, *STATE_KEY]


@rows(CASES)
def test_sender(case: Case) -> None:
    assert case.found == case.expected


UNSET = [
    deny("sender.level", "state needs 50", state(BOB), NO_LEVELS),
    deny(
        "sender.level",
        "so do power levels",
        state(BOB, "m.room.power_levels", users={BOB: 100}),
        NO_LEVELS,
    ),
]


@rows(UNSET)
def test_state_default_without_levels(case: Case) -> None:
    """ "If there is no state_default in the m.room.power_levels event, or there is no
    m.room.power_levels event, the state_default is 50."

    https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels
    """
    assert case.found == case.expected
