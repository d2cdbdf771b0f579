"""Invites by third-party identifiers: `m.room.third_party_invite`, and how it is redeemed.

https://spec.matrix.org/v1.19/server-server-api/#third-party-invites
"""

from collections.abc import Mapping
from typing import Any

import pytest

from federation import canonical_json
from federation.auth import authorise
from federation.errors import CanonicalJSONError
from federation.events import parse
from federation.identifiers import ServerName
from federation.room_versions import V1, V5, V11, RoomVersion
from federation.signing import SigningKey, encode_base64, sign_json
from tests.federation.auth_cases import (
    ADA,
    BOB,
    CAT,
    GUS,
    MOD,
    Case,
    Given,
    Send,
    allow,
    broken_rule,
    deny,
    joined,
    member,
    rows,
    state,
    until,
)
from tests.federation.rooms import bytes_of, message_fields

KIND = "m.room.third_party_invite"
ONE = "1"
"""The token of the invite, where it does not matter."""
IDENTITY = ServerName("id.test")
KEY, OTHER_KEY = (SigningKey.from_seed("ed25519:0", bytes([n]) * 32) for n in (1, 2))
PUBLIC, OTHER_PUBLIC = (encode_base64(key.verify_key) for key in (KEY, OTHER_KEY))

JUNK = "A" * 43
"""Reads as a key, but nobody holds its private half."""


def signed(mxid: object = BOB, token: object = ONE, *, key: SigningKey = KEY, **more: Any) -> Any:
    """What the identity server signs when the identifier is bound."""
    return sign_json({"mxid": mxid, "token": token, **more}, IDENTITY, key)


def redeem(sign: object, *, sender: str = ADA, target: str = BOB) -> Send:
    """The invite that is made of it."""
    return member(sender, target, "invite", third_party_invite={"signed": sign})


def issue(sender: str = ADA, token: str = ONE, **content: Any) -> Send:
    """The event that remembers who is to be invited."""
    return state(sender, KIND, token, **(content or {"public_key": PUBLIC}))


def given(*issued: Send, members: Mapping[str, str] | None = None) -> Given:
    """A closed room in which these invites were issued."""
    return Given("invite", members or {}, more=issued)


def _keys(*public: object) -> list[Any]:
    return [{"public_key": key, "key_validity_url": "https://id.test/"} for key in public]


def _strip(of: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return canonical_json.without(of, *keys)


ISSUED = given(issue())
BANNED, SIGNED, PROPERTIES, MXID, TOKEN, SENDER, SIGNATURE = (
    f"invite.third_party.{name}"
    for name in ("banned", "signed", "properties", "mxid", "token", "sender", "signature")
)
LEVEL = "third_party_invite.level"
GOOD = redeem(signed())


def _inviting_at(level: int, **events: int) -> Given:
    return Given(levels={"users": {MOD: 50}, "invite": level, "events": events})


ISSUE = [
    # "Allow if and only if sender's current power level is greater than or equal to the invite
    # level."
    allow(LEVEL, "equal", issue(MOD), _inviting_at(50)),
    allow(LEVEL, "0 by default", issue(CAT), Given("invite", joined(CAT))),
    allow(LEVEL, "without a state key", Send(KIND, ADA, {})),
    allow(LEVEL, "whatever events says", issue(MOD), _inviting_at(50, **{KIND: 51})),
    allow(LEVEL, "another user's ID as the token", issue(CAT, BOB), Given("invite", joined(CAT))),
    deny(LEVEL, "below", issue(MOD), _inviting_at(51)),
    deny("sender.membership", "not in the room", issue(GUS)),
]  # fmt: skip

MALFORMED: tuple[object, ...] = (
    None,
    [],
    "x",
    {"id.test": []},
    {"id.test": None},
    {"id.test": {"ed25519:0": 7}},
    {"id.test": {"ed25519:0": "?"}},
    {"id.test": {"ed25519:0": "AAAA"}},
    {"id.test": {"rsa:0": signed()["signatures"][IDENTITY]["ed25519:0"]}},
)

REDEEM = [
    # "If target user is banned, reject."
    deny(BANNED, "banned", GOOD, given(issue(), members={BOB: "ban"})),
    *(
        allow(BANNED, f"is {was}", GOOD, given(issue(), members={BOB: was}))
        for was in ("leave", "invite", "knock", "join")
    ),
    # "If content.third_party_invite does not have a signed property, reject."
    deny(SIGNED, "none", member(ADA, BOB, "invite", third_party_invite={}), ISSUED),
    deny(SIGNED, "not an object", redeem("yes"), ISSUED),
    deny(SIGNED, "null", redeem(None), ISSUED),
    deny(SIGNED, "no object at all", member(ADA, BOB, "invite", third_party_invite=None), ISSUED),
    allow(SIGNED, "there", GOOD, ISSUED),
    # "If signed does not have mxid and token properties, reject."
    deny(PROPERTIES, "neither", redeem({}), ISSUED),
    deny(PROPERTIES, "no mxid", redeem(_strip(signed(), "mxid")), ISSUED),
    deny(PROPERTIES, "no token", redeem(_strip(signed(), "token")), ISSUED),
    deny(PROPERTIES, "a token of numbers", redeem(signed(token=[7])), ISSUED),
    allow(PROPERTIES, "both", GOOD, ISSUED),
    # "If mxid does not match state_key, reject."
    deny(MXID, "somebody else's", redeem(signed(CAT)), ISSUED),
    deny(MXID, "another spelling", redeem(signed("@Bob:two.test")), ISSUED),
    deny(MXID, "not a string", redeem(signed([BOB])), ISSUED),
    allow(MXID, "the target's", GOOD, ISSUED),
    # "If there is no m.room.third_party_invite event in the current room state with state_key
    # matching token, reject."
    deny(TOKEN, "nothing was issued", GOOD, given()),
    deny(TOKEN, "another token", redeem(signed(token="2")), ISSUED),
    allow(TOKEN, "the second of two", GOOD, given(issue(token="2"), issue())),
    # "If sender does not match sender of the m.room.third_party_invite, reject."
    deny(SENDER, "another member", redeem(signed(), sender=MOD), ISSUED),
    deny(SENDER, "the invited", redeem(signed(), sender=BOB), ISSUED),
    allow(SENDER, "who issued it", redeem(signed(), sender=MOD), given(issue(MOD))),
    allow(SENDER, "though they left", GOOD, given(issue(), members={ADA: "leave"})),
    # "If any signature in signed matches any public key in the m.room.third_party_invite event,
    # allow. The public keys are in content [...] as: A single public key in the public_key
    # property. A list of public keys in the public_keys property."
    allow(SIGNATURE, "public_key", GOOD, ISSUED),
    allow(SIGNATURE, "padded", GOOD, given(issue(public_key=PUBLIC + "="))),
    allow(SIGNATURE, "public_keys", GOOD, given(issue(public_keys=_keys(PUBLIC)))),
    allow(
        SIGNATURE,
        "the last of public_keys",
        GOOD,
        given(issue(public_key=OTHER_PUBLIC, public_keys=_keys(JUNK, 7, None, "?", PUBLIC))),
    ),
    allow(
        SIGNATURE,
        "the first of two signatures",
        redeem(sign_json(signed(), ServerName("other.test"), OTHER_KEY)),
        ISSUED,
    ),
    allow(
        SIGNATURE,
        "the second of two signatures",
        redeem(sign_json(signed(), ServerName("other.test"), OTHER_KEY)),
        given(issue(public_key=OTHER_PUBLIC)),
    ),
    allow(SIGNATURE, "unsigned is not covered", redeem({**signed(), "unsigned": {}}), ISSUED),
    allow(SIGNATURE, "more is covered", redeem(signed(sender=ADA)), ISSUED),
    allow(SIGNATURE, "floats are covered", redeem(signed(x=1.5)), ISSUED, until(V5)),
    # "Otherwise, reject."
    deny(SIGNATURE, "another key", redeem(signed(key=OTHER_KEY)), ISSUED),
    deny(SIGNATURE, "unsigned", redeem(_strip(signed(), "signatures")), ISSUED),
    deny(SIGNATURE, "changed after signing", redeem({**signed(), "more": 1}), ISSUED),
    deny(SIGNATURE, "revoked", GOOD, given(issue(), issue(display_name="gone"))),
    deny(SIGNATURE, "a list as public_key", GOOD, given(issue(public_key=[PUBLIC]))),
    deny(SIGNATURE, "strings in public_keys", GOOD, given(issue(public_keys=[PUBLIC]))),
    deny(SIGNATURE, "public_keys an object", GOOD, given(issue(public_keys=_keys(PUBLIC)[0]))),
    deny(SIGNATURE, "a short key", GOOD, given(issue(public_key=PUBLIC[:40]))),
    *(
        deny(SIGNATURE, f"signatures: {bad}", redeem({**signed(), "signatures": bad}), ISSUED)
        for bad in MALFORMED
    ),
]  # fmt: skip

CASES = [*ISSUE, *REDEEM]


@rows(CASES)
def test_third_party_invite(case: Case) -> None:
    assert case.found == case.expected


@pytest.mark.parametrize("version", [V1, V11], ids=lambda v: f"v{v.name}")
def test_nesting(version: RoomVersion) -> None:
    """What is signed may be nested as deeply as an event can be: that is judged, no exception."""
    room = ISSUED.room(version)
    for depth in _deepest(version, room.room.room_id):
        event = parse(_nested(version, room.room.room_id, depth), version).event
        assert broken_rule(authorise(event, room.state)) == SIGNATURE


def _nested(version: RoomVersion, room_id: str, depth: int) -> bytes:
    content = {**redeem({**signed(), "deep": "<here>"}).content, "membership": "invite"}
    fields = message_fields(
        version, type="m.room.member", sender=ADA, state_key=BOB, room_id=room_id, content=content
    )
    return bytes_of(fields).replace(b'"<here>"', b"[" * depth + b"]" * depth)


def _deepest(version: RoomVersion, room_id: str) -> range:
    """The last few depths that this interpreter can read and write."""
    low, high = 1, 30_000
    while low + 1 < high:
        middle = (low + high) // 2
        try:
            parse(_nested(version, room_id, middle), version)
            low = middle
        except CanonicalJSONError:
            high = middle
    return range(low - 5, low + 1)
