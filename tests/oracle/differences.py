"""Where we differ from Synapse on purpose, because the specification decides.

Each entry is shown by `test_differences.py`: both sides are asked, and must disagree as described.
The random events of the other tests stay clear of these. When Synapse changes its mind, a test here
fails and the entry goes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from federation.room_versions import ROOM_VERSIONS, V1, V2, RoomVersion
from tests.oracle import scenes
from tests.oracle.oracle import Oracle
from tests.oracle.scenes import Shown

_SPEC = "https://spec.matrix.org/v1.19"


@dataclass(frozen=True)
class Difference:
    """One thing that we see otherwise."""

    name: str
    what: str
    section: str
    """Where the specification decides it."""
    versions: Sequence[RoomVersion]
    show: Callable[[Oracle, RoomVersion], Shown]
    ours: object
    synapse: object


_ALL = tuple(ROOM_VERSIONS.values())
_STRINGS = tuple(v for v in _ALL if not v.integer_power_levels)
_RESTRICTED = tuple(v for v in _ALL if v.restricted_join_rules)
_LEVELS_AS_STRINGS = f"{_SPEC}/rooms/v1/#mroompower_levels-events-accept-values-as-strings"
_RULES = f"{_SPEC}/rooms/v1/#authorisation-rules"

DIFFERENCES: Sequence[Difference] = (
    Difference(
        "federate-target",
        "Where m.federate is false, Synapse also refuses to change the membership of users of "
        "other servers; the rule speaks of the sender's domain only.",
        _RULES,
        _ALL,
        scenes.federate_target,
        ours=True,
        synapse=False,
    ),
    Difference(
        "federate-not-boolean",
        "A room is closed to other servers if m.federate is false; Synapse closes it on anything "
        "but true, a null for example.",
        _RULES,
        _ALL,
        scenes.federate_null,
        ours=True,
        synapse=False,
    ),
    Difference(
        "level-boolean",
        "Before version 10 Synapse reads booleans as the levels 0 and 1; they are neither integers "
        "nor strings nor floats.",
        _LEVELS_AS_STRINGS,
        _STRINGS,
        scenes.level(True),
        ours=False,
        synapse=True,
    ),
    Difference(
        "level-underscore",
        "Before version 10 Synapse reads whatever Python's int() does: digits may be grouped by "
        "underscores. The format is digits with an optional sign, in optional whitespace.",
        _LEVELS_AS_STRINGS,
        _STRINGS,
        scenes.level("5_0"),
        ours=False,
        synapse=True,
    ),
    Difference(
        "level-digits",
        "As before: digits of other scripts.",
        _LEVELS_AS_STRINGS,
        _STRINGS,
        scenes.level("\u0665\u0660"),
        ours=False,
        synapse=True,
    ),
    Difference(
        "level-whitespace",
        "As before: whitespace that is not ASCII.",
        _LEVELS_AS_STRINGS,
        _STRINGS,
        scenes.level("\u00a050"),
        ours=False,
        synapse=True,
    ),
    Difference(
        "levels-no-object",
        "Before version 10 no rule says what an `events` that is no object means. Synapse takes an "
        "empty list for an empty object; we refuse what has no meaning.",
        f"{_SPEC}/client-server-api/#mroompower_levels",
        _STRINGS,
        scenes.no_object,
        ours=False,
        synapse=True,
    ),
    Difference(
        "levels-user-id",
        'The keys of `users` must be "valid user IDs"; Synapse wants an @ and a colon.',
        _RULES,
        _ALL,
        scenes.level_of_nobody,
        ours=False,
        synapse=True,
    ),
    Difference(
        "level-not-asked-for",
        "Before version 10 a level that is no level can come into force. Synapse then refuses "
        "every membership event; we refuse those whose rule asks for that level.",
        _RULES,
        _STRINGS,
        scenes.unread_level,
        ours=True,
        synapse=False,
    ),
    Difference(
        "member-target",
        "No rule asks that the state_key of a membership be a user ID; Synapse looks for a domain "
        "in it.",
        _RULES,
        _ALL,
        scenes.target_no_user,
        ours=True,
        synapse=False,
    ),
    Difference(
        "redacts-nothing",
        "In versions 1 and 2 Synapse allows everybody a redaction of nothing; rule 11 ends in "
        '"Otherwise, reject".',
        _RULES,
        (V1, V2),
        scenes.redacts_nothing,
        ours=False,
        synapse=True,
    ),
    Difference(
        "third-party-signatures",
        '"If any signature in signed matches any public key": Synapse tries the first signature of '
        "each key only.",
        _RULES,
        _ALL,
        scenes.second_signature,
        ours=True,
        synapse=False,
    ),
    Difference(
        "third-party-keys",
        "As before: Synapse gives up at a public key that cannot be read; we try the next.",
        _RULES,
        _ALL,
        scenes.second_key,
        ours=True,
        synapse=False,
    ),
    Difference(
        "authoriser-of-no-join",
        '"If content has a join_authorised_via_users_server key" asks for its server\'s signature '
        "on every membership event; Synapse asks for it on joins.",
        f"{_SPEC}/rooms/v8/#authorisation-rules",
        _RESTRICTED,
        scenes.authoriser_of_a_leave,
        ours=False,
        synapse=True,
    ),
    Difference(
        "hashed-keys",
        "The content hash covers all but `unsigned`, `signatures` and `hashes`; Synapse also "
        "leaves out `age_ts`, `outlier` and `destinations`.",
        f"{_SPEC}/server-server-api/#calculating-the-content-hash-for-an-event",
        _ALL,
        scenes.hashed_keys,
        ours=True,
        synapse=False,
    ),
    Difference(
        "depth",
        "Where canonical JSON does not limit integers, depth may grow to 2^63 - 1; Synapse stops "
        "at 2^53 - 1.",
        f"{_SPEC}/rooms/v1/#event-format",
        tuple(v for v in _ALL if not v.strict_json),
        scenes.parsed(depth=2**53),
        ours=True,
        synapse=False,
    ),
    Difference(
        "identifiers",
        "A sender is a user ID; Synapse finds out later, if at all, by looking for a colon.",
        f"{_SPEC}/rooms/v1/#event-format",
        _ALL,
        scenes.parsed(sender="ann:a.example"),
        ours=False,
        synapse=True,
    ),
    Difference(
        "nul-in-state-key",
        "No entry of a state can be kept whose key holds NUL, with an SQL database: the event is "
        "malformed. Synapse takes it for an event, and fails when it stores it.",
        f"{_SPEC}/rooms/v1/#event-format",
        _ALL,
        scenes.parsed(state_key="a\0b"),
        ours=False,
        synapse=True,
    ),
    Difference(
        "nul-in-state-type",
        "As before: in the type.",
        f"{_SPEC}/rooms/v1/#event-format",
        _ALL,
        scenes.parsed(type="a\0b", state_key=""),
        ours=False,
        synapse=True,
    ),
    Difference(
        "rejected-before",
        "Events that were rejected by the state before them take part in state resolution like any "
        "other; Synapse never admits them.",
        f"{_SPEC}/rooms/v2/#rejected-events",
        _ALL[1:],
        scenes.rejected_before,
        ours=True,
        synapse=False,
    ),
)
