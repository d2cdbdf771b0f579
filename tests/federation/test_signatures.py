"""Checks 2 and 3 on receipt of a PDU: an event is dropped, redacted, or taken as it is.

https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import signedjson.key
import signedjson.sign

from federation.canonical_json import JsonObject
from federation.decision import ALLOWED, Denied
from federation.events import Event, Pdu, parse, redacted
from federation.identifiers import KeyID, ServerName
from federation.redaction import redact
from federation.room_versions import V1, V2, V4, V5, V7, V8, V10, V11, V12, EventIDFormat
from federation.room_versions import RoomVersion as Version
from federation.server_keys import Keys, ServerKey
from federation.signatures import (
    check_signatures,
    is_third_party_invite,
    required_signers,
    verified,
    verified_all,
    wanted_keys,
)
from federation.signing import SigningKey, encode_base64
from tests.federation.rooms import (
    ALL_VERSIONS,
    ANN,
    BOB,
    FAR_FUTURE,
    Room,
    bytes_of,
    fields_of,
    keys_of,
    message_fields,
    sealed,
    signer,
)

ALL = pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda v: f"v{v.name}")
WITH_SENT_IDS = [v for v in ALL_VERSIONS if v.event_ids is EventIDFormat.SENT]
WITH_HASHED_IDS = [v for v in ALL_VERSIONS if v not in WITH_SENT_IDS]
RESTRICTED = [v for v in ALL_VERSIONS if int(v.name) >= 8]

KEYS = keys_of("one.test", "two.test", "three.test", "evil.test")
AUTHORISER = "join_authorised_via_users_server"


def pdu_of(fields: JsonObject, version: Version) -> Pdu:
    return parse(bytes_of(fields), version)


def outcome(fields: JsonObject, version: Version, keys: Keys = KEYS) -> str | None:
    """The rule that the event breaks, "redacted", or `None` where it is taken as it is."""
    pdu = pdu_of(fields, version)
    found = verified(pdu, keys)
    if isinstance(found, Denied):
        return found.rule
    assert found == pdu.event
    return None if found is pdu.event else "redacted"


def with_signatures(fields: JsonObject, server: str, by_key: Mapping[str, str]) -> JsonObject:
    """The fields with more signatures of a server."""
    signatures = fields["signatures"]
    mine = {**signatures.get(server, {}), **by_key}
    return {**fields, "signatures": {**signatures, server: mine}}


def member_fields(version: Version, content: JsonObject, **changed: Any) -> JsonObject:
    """What Ann says about Bob's membership."""
    changed = {"type": "m.room.member", "state_key": BOB, "content": content, **changed}
    return message_fields(version, **changed)


def third_party_invite(version: Version, **changed: Any) -> JsonObject:
    invite = {"membership": "invite", "third_party_invite": {"signed": {"mxid": BOB}}}
    return member_fields(version, **{"content": invite, **changed})


# Who must have signed


@ALL
def test_events_need_their_senders_server(version: Version) -> None:
    fields = message_fields(version)
    assert required_signers(pdu_of(fields, version).event) == {"one.test"}
    assert outcome(sealed(fields, version, "one.test"), version) is None
    assert outcome(sealed(fields, version, "one.test", "two.test"), version) is None
    assert outcome(sealed(fields, version, "two.test"), version) == "signature.missing"
    assert outcome(sealed(fields, version), version) == "signature.missing"
    nothing = {**sealed(fields, version), "signatures": {"one.test": {}}}
    assert outcome(nothing, version) == "signature.missing"


@pytest.mark.parametrize("version", WITH_SENT_IDS, ids=lambda v: f"v{v.name}")
@pytest.mark.parametrize(
    ("signers", "expected"),
    [
        (["one.test"], "signature.missing"),
        (["two.test"], "signature.missing"),
        (["one.test", "two.test"], None),
    ],
)
def test_events_with_an_id_need_its_server_too(
    version: Version, signers: list[str], expected: str | None
) -> None:
    fields = message_fields(version, event_id="$e:two.test")
    assert required_signers(pdu_of(fields, version).event) == {"one.test", "two.test"}
    assert outcome(sealed(fields, version, *signers), version) == expected


@pytest.mark.parametrize("version", WITH_SENT_IDS, ids=lambda v: f"v{v.name}")
def test_an_id_without_a_server_is_signed_by_nobody(version: Version) -> None:
    fields = message_fields(version, event_id="$opaque")
    assert outcome(sealed(fields, version, "one.test"), version) == "signature.missing"


@pytest.mark.parametrize("version", WITH_HASHED_IDS, ids=lambda v: f"v{v.name}")
def test_third_party_invites_need_nobody(version: Version) -> None:
    """ "the server which actually sends the event may be a different server"."""
    fields = third_party_invite(version)
    assert is_third_party_invite(pdu_of(fields, version).event)
    assert required_signers(pdu_of(fields, version).event) == frozenset()
    assert outcome(sealed(fields, version, "two.test"), version) is None
    assert outcome(sealed(fields, version), version) is None


@pytest.mark.parametrize("version", WITH_SENT_IDS, ids=lambda v: f"v{v.name}")
def test_third_party_invites_with_an_id_need_its_server(version: Version) -> None:
    fields = third_party_invite(version, event_id="$e:two.test")
    assert required_signers(pdu_of(fields, version).event) == {"two.test"}
    assert outcome(sealed(fields, version, "two.test"), version) is None
    assert outcome(sealed(fields, version, "one.test"), version) == "signature.missing"


@ALL
@pytest.mark.parametrize(
    "changed",
    [
        {"content": {"membership": "join", "third_party_invite": {"signed": {}}}},
        {"content": {"membership": ["invite"], "third_party_invite": {"signed": {}}}},
        {"content": {"membership": "invite"}},
        {"type": "m.room.message"},
    ],
    ids=["join", "list", "plain invite", "message"],
)
def test_what_is_no_third_party_invite(version: Version, changed: JsonObject) -> None:
    fields = third_party_invite(version, **changed)
    assert not is_third_party_invite(pdu_of(fields, version).event)
    assert outcome(sealed(fields, version), version) == "signature.missing"


@ALL
@pytest.mark.parametrize("content_hash", ["A" * 43, "", "no base64"])
def test_nobody_invites_in_anothers_name(version: Version, content_hash: str) -> None:
    """Eve has Ann invite somebody, by a third-party invite that its redaction makes a plain one.

    Up to version 10 `third_party_invite` does not survive a redaction. A wrong content hash brings
    one about; what it leaves is an invite of Ann's, and those need her server's signature.
    """
    sent = version in WITH_SENT_IDS
    fields = third_party_invite(version, **({"event_id": "$e:evil.test"} if sent else {}))
    forged = {**fields, "hashes": {"sha256": content_hash}}
    essential = pdu_of(forged, version).signed
    signature = signer("evil.test").key.sign(essential)
    forged = with_signatures(forged, "evil.test", {"ed25519:1": signature})
    if version in (V11, V12):
        assert outcome(forged, version) == "redacted"
        assert is_third_party_invite(redacted(pdu_of(forged, version).event))
    else:
        assert outcome(forged, version) == "signature.missing"


@ALL
def test_an_invite_whose_redaction_is_a_plain_one(version: Version) -> None:
    """Signed by the sender's server it is good, once the key for that has been fetched."""
    fields = sealed(third_party_invite(version), version, "one.test")
    fields["content"] = {**fields["content"], "displayname": "changed"}
    assert outcome(fields, version) == "redacted"
    kept = [("one.test", "ed25519:1")]
    assert wanted_keys(pdu_of(fields, version)) == ([] if version in (V11, V12) else kept)


@pytest.mark.parametrize("version", RESTRICTED, ids=lambda v: f"v{v.name}")
@pytest.mark.parametrize("membership", ["join", "leave"])
def test_restricted_joins_need_their_authorisers_server(version: Version, membership: str) -> None:
    content = {"membership": membership, AUTHORISER: BOB}
    fields = member_fields(version, content, state_key=ANN)
    assert required_signers(pdu_of(fields, version).event) == {"one.test", "two.test"}
    assert outcome(sealed(fields, version, "one.test", "two.test"), version) is None
    for signers in (["one.test"], ["two.test"], ["one.test", "three.test"]):
        assert outcome(sealed(fields, version, *signers), version) == "signature.missing"


@pytest.mark.parametrize("version", RESTRICTED, ids=lambda v: f"v{v.name}")
@pytest.mark.parametrize("authoriser", [None, 1, True, ["@bob:two.test"], {}, "", "@bob", "two"])
def test_authorisers_that_are_nobody(version: Version, authoriser: Any) -> None:
    fields = member_fields(version, {"membership": "join", AUTHORISER: authoriser}, state_key=ANN)
    found = outcome(sealed(fields, version, "one.test", "two.test"), version)
    assert found == "signature.missing"


@ALL
def test_authorisers_mean_nothing_elsewhere(version: Version) -> None:
    content = {"membership": "join", AUTHORISER: BOB}
    fields = message_fields(version, content=content)
    assert required_signers(pdu_of(fields, version).event) == {"one.test"}
    if version not in RESTRICTED:
        joining = member_fields(version, content, state_key=ANN)
        assert outcome(sealed(joining, version, "one.test"), version) is None


# What makes a signature good


@ALL
def test_every_event_of_a_room(version: Version) -> None:
    room = Room(version)
    room.join(BOB)
    room.send("m.room.message", BOB, {"body": "hi"})
    for event in room.events.values():
        assert outcome(fields_of(event), version, keys_of("one.test", "two.test")) is None
        assert outcome(fields_of(redacted(event)), version) in (None, "redacted")


@ALL
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("type", "m.room.name"),
        ("sender", "@ann2:one.test"),
        ("room_id", "!other:one.test"),
        ("state_key", ""),
        ("depth", 8),
        ("origin_server_ts", 1),
        ("prev_events", []),
        ("auth_events", []),
        ("hashes", {"sha256": "B" * 43}),
    ],
)
def test_essential_fields_are_signed(version: Version, key: str, value: Any) -> None:
    fields = sealed(message_fields(version), version, "one.test")
    assert outcome({**fields, key: value}, version) == "signature.invalid"


@ALL
@pytest.mark.parametrize(
    "signature",
    ["", "A", "not base64", "A" * 85, "A" * 86, "A" * 88, "é", "A" * 1000],
    ids=["empty", "one", "words", "short", "wrong", "long", "letter", "very long"],
)
def test_signatures_that_are_none(version: Version, signature: str) -> None:
    fields = sealed(message_fields(version), version)
    signed = with_signatures(fields, "one.test", {"ed25519:1": signature})
    assert outcome(signed, version) == "signature.invalid"


@ALL
def test_anothers_signature(version: Version) -> None:
    """Two's signature is not one's, neither by its name nor by the name of its key."""
    fields = sealed(message_fields(version), version, "two.test")
    stolen = {**fields, "signatures": {"one.test": fields["signatures"]["two.test"]}}
    assert outcome(stolen, version) == "signature.invalid"
    assert outcome(stolen, version, keys_of("two.test")) == "signature.unknown_key"


@ALL
@pytest.mark.parametrize("key_id", ["ed25519:2", "ed25519:policy_server", "x25519:1", "1", ""])
def test_unknown_keys_are_skipped(version: Version, key_id: str) -> None:
    fields = sealed(message_fields(version), version, "one.test")
    beside = with_signatures(fields, "one.test", {key_id: "A" * 86})
    assert outcome(beside, version) is None
    alone = {**fields, "signatures": {"one.test": {key_id: "A" * 86}}}
    assert outcome(alone, version) == "signature.unknown_key"
    assert outcome(fields, version, {}) == "signature.unknown_key"


@ALL
def test_one_bad_signature_of_a_known_key_spoils_the_good_ones(version: Version) -> None:
    """ "If all signatures from known unexpired keys [...] are found to be valid"."""
    fields = sealed(message_fields(version), version, "one.test")
    second = SigningKey.from_seed("ed25519:2", bytes(32))
    by_key = {**KEYS[ServerName("one.test")], second.key_id: ServerKey(second.verify_key, 2**52)}
    keys = {ServerName("one.test"): by_key}
    good = second.sign(pdu_of(fields, version).signed)
    assert outcome(with_signatures(fields, "one.test", {"ed25519:2": good}), version, keys) is None
    spoilt = with_signatures(fields, "one.test", {"ed25519:2": "A" * 86})
    assert outcome(spoilt, version, keys) == "signature.invalid"
    elsewhere = with_signatures(fields, "two.test", {"ed25519:1": "A" * 86})
    assert outcome(elsewhere, version) is None


@ALL
def test_the_policy_servers_signature_is_not_looked_at(version: Version) -> None:
    """ "the policy server key is not expected to be published and therefore should be skipped".

    Where the sender's server is the policy server too, both signatures stand under its name. That
    it publishes some key by that ID changes nothing: what signed is the key in the room's state.
    """
    policy = KeyID("ed25519:policy_server")
    fields = sealed(message_fields(version), version, "one.test")
    asked = with_signatures(fields, "one.test", {policy: "A" * 86})
    assert wanted_keys(pdu_of(asked, version)) == [("one.test", "ed25519:1")]
    published = ServerKey(signer("policy.test").key.verify_key, FAR_FUTURE)
    keys = {ServerName("one.test"): {**KEYS[ServerName("one.test")], policy: published}}
    assert outcome(asked, version, keys) is None


# Keys out of date


@ALL
@pytest.mark.parametrize(
    ("valid_until", "is_expired"), [(999_999, True), (1_000_000, False), (1_000_001, False)]
)
@pytest.mark.parametrize("is_old", [True, False])
def test_expired_keys(version: Version, valid_until: int, is_expired: bool, is_old: bool) -> None:
    """Since version 5 a key must have been valid at the event's `origin_server_ts`."""
    fields = sealed(message_fields(version, origin_server_ts=1_000_000), version, "one.test")
    key = ServerKey(signer("one.test").key.verify_key, valid_until, is_old)
    keys = {ServerName("one.test"): {KeyID("ed25519:1"): key}}
    is_enforced = int(version.name) >= 5
    expected = "signature.unknown_key" if is_expired and is_enforced else None
    assert outcome(fields, version, keys) == expected


@pytest.mark.parametrize(
    ("version", "expected"), [(V4, "signature.invalid"), (V5, None), (V12, None)]
)
def test_a_bad_signature_of_an_expired_key(version: Version, expected: str | None) -> None:
    """Expired keys are skipped, where there is such a thing."""
    fields = sealed(message_fields(version), version, "one.test")
    beside = with_signatures(fields, "one.test", {"ed25519:old": "A" * 86})
    old = ServerKey(signer("old.test").key.verify_key, 999_999, is_old=True)
    keys = {ServerName("one.test"): {**KEYS[ServerName("one.test")], KeyID("ed25519:old"): old}}
    assert outcome(beside, version, keys) == expected


# The content hash


@ALL
def test_a_wrong_content_hash_redacts(version: Version) -> None:
    fields = sealed(message_fields(version, unsigned={"age": 1}), version, "one.test")
    pdu = pdu_of({**fields, "content": {"body": "changed"}}, version)
    found = verified(pdu, KEYS)
    assert isinstance(found, Event)
    assert found.event_id == pdu.event.event_id
    assert found.content == {}
    assert found.json == bytes_of(redact(fields, version))


@ALL
@pytest.mark.parametrize("sha256", ["", "A" * 43, "not base64", "é", "A" * 500])
def test_a_content_hash_that_is_none(version: Version, sha256: str) -> None:
    fields = message_fields(version, hashes={"sha256": sha256})
    signature = signer("one.test").key.sign(pdu_of(fields, version).signed)
    signed = with_signatures(fields, "one.test", {"ed25519:1": signature})
    assert outcome(signed, version) == "redacted"


@ALL
@pytest.mark.parametrize(
    "others", [{"md5": "x"}, {"sha512": None}, {"sha3": {"a": []}}, {"": 1}], ids=repr
)
def test_hashes_of_other_algorithms(version: Version, others: JsonObject) -> None:
    """They are signed, but not checked."""
    fields = sealed(message_fields(version), version)
    hashed = {**fields, "hashes": {**others, **fields["hashes"]}}
    signature = signer("one.test").key.sign(pdu_of(hashed, version).signed)
    signed = with_signatures(hashed, "one.test", {"ed25519:1": signature})
    assert outcome(signed, version) is None
    assert outcome({**signed, "hashes": fields["hashes"]}, version) == "signature.invalid"


def test_signatures_go_before_hashes() -> None:
    fields = {**sealed(message_fields(V10), V10), "content": {"body": "changed"}}
    assert outcome(fields, V10) == "signature.missing"


def test_a_redacted_restricted_join() -> None:
    """Version 8 forgets who authorised it; with what it was given, the signature is not needed."""
    fields = member_fields(V8, {"membership": "join", AUTHORISER: BOB}, state_key=ANN)
    copy = redact(sealed(fields, V8, "one.test"), V8)
    assert outcome(copy, V8) == "redacted"
    kept = redact(sealed(fields, V10, "one.test"), V10)
    assert outcome(kept, V10) == "signature.missing"


# Which keys to fetch


def test_wanted_keys_are_those_of_the_required_signers() -> None:
    fields = sealed(message_fields(V1, event_id="$e:two.test"), V1, "one.test", "two.test", "x")
    fields = with_signatures(fields, "one.test", {"ed25519:b": "", "curve25519:c": "", "d": ""})
    assert sorted(wanted_keys(pdu_of(fields, V1))) == [
        ("one.test", "ed25519:1"),
        ("one.test", "ed25519:b"),
        ("two.test", "ed25519:1"),
    ]


def test_no_keys_are_wanted_where_nobody_need_sign() -> None:
    assert wanted_keys(pdu_of(sealed(message_fields(V7), V7, "two.test"), V7)) == []
    assert wanted_keys(pdu_of(sealed(third_party_invite(V7), V7, "one.test"), V7)) == []


def test_check_signatures_tells_why() -> None:
    unsigned = check_signatures(pdu_of(message_fields(V2), V2), KEYS)
    assert unsigned == Denied("signature.missing", "not signed by one.test")
    assert check_signatures(pdu_of(sealed(message_fields(V2), V2, "one.test"), V2), KEYS) is ALLOWED


# Another implementation


@ALL
def test_others_accept_our_signatures(version: Version) -> None:
    room = Room(version)
    key = signedjson.key.decode_verify_key_bytes("ed25519:1", signer("one.test").key.verify_key)
    for event in room.events.values():
        signedjson.sign.verify_signed_json(redact(fields_of(event), version), "one.test", key)


@ALL
def test_we_accept_others_signatures(version: Version) -> None:
    seed = encode_base64(signer("one.test").key.secret[:32])
    key = signedjson.key.decode_signing_key_base64("ed25519", "1", seed)
    fields = sealed(message_fields(version), version)
    theirs = signedjson.sign.sign_json(redact(fields, version), "one.test", key)
    assert outcome({**fields, "signatures": theirs["signatures"]}, version) is None


# Many at a time


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as pool:
        yield pool


def _pdus() -> list[Pdu]:
    """Good ones, ones with a wrong hash, and ones that somebody else signed, in turn."""
    pdus = []
    for number in range(23):
        server = ("one.test", "one.test", "two.test")[number % 3]
        fields = sealed(message_fields(V10, depth=number), V10, server)
        if number % 3 == 1:
            fields["content"] = {}
        pdus.append(pdu_of(fields, V10))
    return pdus


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 23, 100])
def test_verified_all_is_verified_one_by_one(pool: ThreadPoolExecutor, parts: int) -> None:
    pdus = _pdus()
    found = verified_all(pdus, KEYS, pool, parts)
    one_by_one = [verified(pdu, KEYS) for pdu in pdus]
    assert found == one_by_one
    assert [e.json for e in found if isinstance(e, Event)] == [
        e.json for e in one_by_one if isinstance(e, Event)
    ]
    kinds = [isinstance(e, Denied) and e.rule for e in found]
    assert kinds == [(False, False, "signature.missing")[n % 3] for n in range(23)]


class CountingPool(ThreadPoolExecutor):
    """Counts what it is given to do."""

    submitted = 0

    def submit(self, *args: Any, **options: Any) -> Any:
        self.submitted += 1
        return super().submit(*args, **options)


@pytest.mark.parametrize("parts", [1, 2, 3, 5])
def test_each_thread_has_its_share(parts: int) -> None:
    """One task for each part: a task for each event would cost more than it saves."""
    with CountingPool(1) as pool:
        verified_all(_pdus(), KEYS, pool, parts)
        assert pool.submitted == parts


@pytest.mark.parametrize("parts", [1, 4])
def test_verified_all_of_nothing(pool: ThreadPoolExecutor, parts: int) -> None:
    assert verified_all([], KEYS, pool, parts) == []
