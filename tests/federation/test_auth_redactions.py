"""Rule 11 of versions 1 and 2: `m.room.redaction`. Later versions have no such rule."""

from federation.room_versions import V2, V3
from tests.federation.auth_cases import (
    ADA,
    BOB,
    GUS,
    MOD,
    Case,
    Given,
    Send,
    allow,
    deny,
    joined,
    rows,
    since,
    until,
)


def _redact(sender: str, target: str | None) -> Send:
    return Send("m.room.redaction", sender, {"reason": "spam"}, redacts=target)


REDACT_50 = Given(members=joined(BOB))
REDACT_51 = Given(members=joined(BOB), levels={"users": {ADA: 100, MOD: 50}, "redact": 51})
REDACT_0 = Given(members=joined(BOB), levels={"redact": 0})
NO_LEVELS = Given(members=joined(BOB), levels=None)

CASES = [
    # "If the sender's power level is greater than or equal to the redact level, allow."
    allow("redaction", "equal", _redact(MOD, "$x:three.test"), REDACT_50, until(V2)),
    allow("redaction", "everybody may", _redact(BOB, "$x:three.test"), REDACT_0, until(V2)),
    # "If the domain of the event_id of the event being redacted is the same as the domain of the
    # event_id of the m.room.redaction, allow."
    allow("redaction", "of the same server", _redact(BOB, "$x:two.test"), REDACT_50, until(V2)),
    allow("redaction", "the same, no levels", _redact(BOB, "$x:two.test"), NO_LEVELS, until(V2)),
    # "Otherwise, reject."
    deny("redaction", "of another server", _redact(BOB, "$x:three.test"), REDACT_50, until(V2)),
    deny("redaction", "below", _redact(MOD, "$x:three.test"), REDACT_51, until(V2)),
    deny("redaction", "no levels", _redact(BOB, "$x:three.test"), NO_LEVELS, until(V2)),
    deny("redaction", "another port", _redact(BOB, "$x:two.test:1"), REDACT_50, until(V2)),
    deny("redaction", "of no server", _redact(BOB, "$x"), REDACT_50, until(V2)),
    deny("redaction", "of nothing", _redact(BOB, None), REDACT_50, until(V2)),
    # "In particular, the redact level is not considered by the auth rules."
    allow("sender.level", "redaction", _redact(BOB, "$x:three.test"), REDACT_50, since(V3)),
    allow("sender.level", "redaction of nothing", _redact(BOB, None), REDACT_51, since(V3)),
    # "[...] unless the m.room.power_levels event sets a power level requirement for
    # m.room.redaction events via the events or events_default properties."
    deny(
        "sender.level",
        "redaction in events",
        _redact(BOB, "$x:two.test"),
        Given(members=joined(BOB), levels={"events": {"m.room.redaction": 1}}),
    ),
    deny("sender.membership", "redaction", _redact(GUS, "$x:five.test")),
]  # fmt: skip


@rows(CASES)
def test_redaction(case: Case) -> None:
    assert case.found == case.expected
