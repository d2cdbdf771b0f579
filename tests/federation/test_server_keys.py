"""Key documents: reading, writing and notarising them, and whose word counts."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import signedjson.key
import signedjson.sign
from hypothesis import given
from hypothesis import strategies as st

from federation.canonical_json import MAX_INTEGER, JsonObject
from federation.errors import KeyFormatError
from federation.identifiers import KeyID, ServerName
from federation.server_keys import (
    MAX_KEYS,
    MAX_SIGNERS,
    MAX_VALIDITY,
    KeyDocument,
    KnownKey,
    OldKey,
    ServerKey,
    Source,
    build_document,
    is_usable,
    merged,
    notarise,
    own_keys,
    parse_document,
    parse_notarised,
    request_keys,
    signing_keys_of,
)
from federation.signing import SigningKey, VerifyKey, encode_base64, sign_json

NOW = 1_700_000_000_000
DAY = 24 * 60 * 60 * 1000
KIT = ServerName("kit.example")
NOTARY = ServerName("notary.example")
KEY = SigningKey.from_seed("ed25519:1", bytes(range(32)))
SECOND = SigningKey.from_seed("ed25519:2", bytes([2]) * 32)
STRANGE = SigningKey.from_seed("ed25519:1", bytes([9]) * 32)
NOTARY_KEY = SigningKey.from_seed("ed25519:n", bytes([7]) * 32)
OLD = OldKey(KeyID("ed25519:0"), VerifyKey(bytes([5]) * 32), NOW - 3 * DAY)


def document(
    *, valid_until: int = NOW + DAY, signer: SigningKey = KEY, **changed: Any
) -> JsonObject:
    """Kit's document with some of its fields changed, then signed; `...` removes one."""
    fields = build_document(KIT, [], [OLD], valid_until)
    fields["verify_keys"] = {"ed25519:1": {"key": encode_base64(KEY.verify_key)}}
    fields = {name: value for name, value in {**fields, **changed}.items() if value is not ...}
    return sign_json(fields, KIT, signer)


def old_entry(**changed: object) -> JsonObject:
    return {"key": encode_base64(OLD.key), "expired_ts": OLD.expired_ts, **changed}


def test_own_document_is_read_by_others() -> None:
    """What we publish verifies with another implementation, under each current key."""
    fields = build_document(KIT, [KEY, SECOND], [OLD], NOW + DAY)
    for key in (KEY, SECOND):
        version = key.key_id.partition(":")[2]
        oracle = signedjson.key.decode_verify_key_base64(
            "ed25519", version, encode_base64(key.verify_key)
        )
        signedjson.sign.verify_signed_json(fields, KIT, oracle)
    assert fields["old_verify_keys"] == {"ed25519:0": old_entry()}
    assert fields["valid_until_ts"] == NOW + DAY


def test_own_document_is_read_by_us() -> None:
    fields = build_document(KIT, [KEY, SECOND], [OLD], NOW + DAY)
    assert parse_document(fields, KIT, NOW) == KeyDocument(
        server=KIT,
        keys={
            KEY.key_id: ServerKey(KEY.verify_key, NOW + DAY),
            SECOND.key_id: ServerKey(SECOND.verify_key, NOW + DAY),
            OLD.key_id: ServerKey(OLD.key, OLD.expired_ts, is_old=True),
        },
        valid_until=NOW + DAY,
        received_at=NOW,
        published=fields,
    )


def test_others_documents_are_read() -> None:
    """Signed by another implementation, with fields of which we know nothing."""
    fields = {**document(), "signatures": {}, "tls_fingerprints": [], "unsigned": {"age": 1}}
    key = signedjson.key.decode_signing_key_base64("ed25519", "1", encode_base64(bytes(range(32))))
    signed = signedjson.sign.sign_json(fields, KIT, key)
    found = parse_document(signed, KIT, NOW)
    assert found.keys[KEY.key_id].key == KEY.verify_key
    assert found.published == signed


def test_own_keys_verify_what_we_signed() -> None:
    assert own_keys([KEY], [OLD]) == {
        KEY.key_id: ServerKey(KEY.verify_key, MAX_INTEGER),
        OLD.key_id: ServerKey(OLD.key, OLD.expired_ts, is_old=True),
    }


def test_the_example_of_the_specification_is_not_signed_by_its_keys() -> None:
    """Its key is 36 bytes long, and its signature by a key that it does not list."""
    example: JsonObject = {
        "server_name": "example.org",
        "verify_keys": {
            "ed25519:abc123": {"key": "VGhpcyBzaG91bGQgYmUgYSByZWFsIGVkMjU1MTkgcGF5bG9hZA"}
        },
        "signatures": {
            "example.org": {"ed25519:auto2": "VGhpcyBzaG91bGQgYWN0dWFsbHkgYmUgYSBzaWduYXR1cmU"}
        },
        "valid_until_ts": 1652262000000,
    }
    with pytest.raises(KeyFormatError, match="none of its keys signed"):
        parse_document(example, ServerName("example.org"), NOW)


@pytest.mark.parametrize(
    ("valid_until", "believed"),
    [
        (NOW + DAY, NOW + DAY),
        (NOW - DAY, NOW - DAY),
        (NOW + MAX_VALIDITY, NOW + MAX_VALIDITY),
        (NOW + MAX_VALIDITY + 1, NOW + MAX_VALIDITY),
        (MAX_INTEGER, NOW + MAX_VALIDITY),
    ],
)
def test_no_document_is_believed_beyond_a_week(valid_until: int, believed: int) -> None:
    found = parse_document(document(valid_until=valid_until), KIT, NOW)
    assert found.valid_until == believed
    assert found.keys[KEY.key_id].valid_until == believed


def test_an_old_key_is_believed_no_longer_than_a_current_one() -> None:
    fields = document(old_verify_keys={"ed25519:0": old_entry(expired_ts=MAX_INTEGER)})
    assert parse_document(fields, KIT, NOW).keys[OLD.key_id].valid_until == NOW + DAY


def test_a_key_that_is_listed_as_both_is_retired() -> None:
    entry = {"key": encode_base64(KEY.verify_key), "expired_ts": NOW - 1}
    found = parse_document(document(old_verify_keys={"ed25519:1": entry}), KIT, NOW)
    assert found.keys == {KEY.key_id: ServerKey(KEY.verify_key, NOW - 1, is_old=True)}


@pytest.mark.parametrize(
    ("key_id", "entry"),
    [
        ("ed25519:x", None),
        ("ed25519:x", "text"),
        ("ed25519:x", {}),
        ("ed25519:x", {"key": 1}),
        ("ed25519:x", {"key": "AAAA"}),
        ("ed25519:x", {"key": "not base64"}),
        ("curve25519:x", {"key": encode_base64(SECOND.verify_key)}),
        ("ed25519:", {"key": encode_base64(SECOND.verify_key)}),
        ("ed25519:a-b", {"key": encode_base64(SECOND.verify_key)}),
    ],
)
def test_a_malformed_key_is_skipped(key_id: str, entry: object) -> None:
    good = {"ed25519:1": {"key": encode_base64(KEY.verify_key)}}
    fields = document(verify_keys={**good, key_id: entry})
    assert set(parse_document(fields, KIT, NOW).keys) == {KEY.key_id, OLD.key_id}


@pytest.mark.parametrize("expired_ts", [None, "1", True])
def test_an_old_key_without_a_time_is_skipped(expired_ts: object) -> None:
    fields = document(old_verify_keys={"ed25519:0": old_entry(expired_ts=expired_ts)})
    assert set(parse_document(fields, KIT, NOW).keys) == {KEY.key_id}


def _without_signature(fields: JsonObject) -> JsonObject:
    return {**fields, "signatures": {KIT: {}}}


def _tampered(fields: JsonObject) -> JsonObject:
    return {**fields, "valid_until_ts": NOW + 2 * DAY}


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        (document(server_name="ann.example"), "not the key document of"),
        (document(server_name=...), "server_name"),
        (document(server_name=1), "server_name"),
        (document(server_name="kit example"), "server name"),
        (document(verify_keys=...), "verify_keys is missing"),
        (document(verify_keys=[]), "verify_keys is not"),
        (document(verify_keys={}), "none of its keys signed"),
        (document(old_verify_keys=[]), "old_verify_keys is not"),
        (document(valid_until_ts=...), "valid_until_ts"),
        (document(valid_until_ts="1"), "valid_until_ts"),
        (document(valid_until_ts=True), "valid_until_ts"),
        (document(valid_until_ts=1.5), "canonical form"),
        (document() | {"valid_until_ts": 2**53}, "canonical form"),
        (document() | {"text": "\ud800"}, "canonical form"),
        (document(signer=STRANGE), "none of its keys signed"),
        (document(signer=SECOND), "none of its keys signed"),
        (_without_signature(document()), "none of its keys signed"),
        (_tampered(document()), "none of its keys signed"),
        (document() | {"signatures": []}, "signatures"),
        (document() | {"signatures": {KIT: []}}, "signatures of a server"),
        (document() | {"signatures": {f"{n}": {} for n in range(MAX_SIGNERS + 1)}}, "signers"),
        (document(verify_keys={f"ed25519:{n}": {} for n in range(MAX_KEYS)}), "more than"),
    ],
)
def test_what_is_no_document_of_kit(fields: JsonObject, complaint: str) -> None:
    with pytest.raises(KeyFormatError, match=complaint):
        parse_document(fields, KIT, NOW)


def test_one_bad_signature_by_a_listed_key_spoils_the_document() -> None:
    fields = build_document(KIT, [KEY, SECOND], [], NOW + DAY)
    fields["signatures"][KIT][SECOND.key_id] = KEY.sign(b"something else")
    with pytest.raises(KeyFormatError, match="none of its keys signed"):
        parse_document(fields, KIT, NOW)


def test_a_signature_by_an_unlisted_key_is_skipped() -> None:
    fields = document()
    fields["signatures"][KIT]["ed25519:gone"] = "AAAA"
    assert KEY.key_id in parse_document(fields, KIT, NOW).keys


# Notaries


def test_a_notarised_document_verifies_under_both_names() -> None:
    fields = notarise(parse_document(document(), KIT, NOW), NOTARY, [NOTARY_KEY])
    found = parse_notarised(fields, NOTARY, {NOTARY_KEY.key_id: NOTARY_KEY.verify_key}, NOW)
    assert found.server == KIT
    assert found.published["signatures"][KIT] == document()["signatures"][KIT]
    oracle = signedjson.key.decode_verify_key_base64(
        "ed25519", "n", encode_base64(NOTARY_KEY.verify_key)
    )
    signedjson.sign.verify_signed_json(fields, NOTARY, oracle)
    assert signing_keys_of(fields, NOTARY) == [NOTARY_KEY.key_id]


def test_notarising_leaves_the_document_itself_alone() -> None:
    original = parse_document(document(), KIT, NOW)
    notarise(original, NOTARY, [NOTARY_KEY])
    assert original.published == document()


@pytest.mark.parametrize(
    ("fields", "keys"),
    [
        (document(), {"ed25519:n": NOTARY_KEY.verify_key}),
        (sign_json(document(), NOTARY, NOTARY_KEY), {}),
        (sign_json(document(), NOTARY, NOTARY_KEY), {"ed25519:n": KEY.verify_key}),
        (
            sign_json(_without_signature(document()), NOTARY, NOTARY_KEY),
            {"ed25519:n": NOTARY_KEY.verify_key},
        ),
    ],
    ids=["unsigned", "unknown key", "wrong key", "not signed by its server"],
)
def test_what_no_notary_vouches_for(fields: JsonObject, keys: dict[KeyID, VerifyKey]) -> None:
    with pytest.raises(KeyFormatError, match="sign"):
        parse_notarised(fields, NOTARY, keys, NOW)


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=5)))
def test_signing_keys_are_well_formed(signatures: dict[str, str]) -> None:
    fields = {"signatures": {NOTARY: {**signatures, "ed25519:n": "AAAA", "ed25519:\0": "A"}}}
    assert KeyID("ed25519:n") in signing_keys_of(fields, NOTARY)
    assert "ed25519:\0" not in signing_keys_of(fields, NOTARY)


# Fuzz

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
_FIELDS = ["server_name", "verify_keys", "old_verify_keys", "signatures", "valid_until_ts"]
_INNER: list[Callable[[Any], JsonObject]] = [
    lambda value: {"verify_keys": {"ed25519:1": value}},
    lambda value: {"verify_keys": {"ed25519:1": {"key": value}}},
    lambda value: {"old_verify_keys": {"ed25519:0": value}},
    lambda value: {"signatures": {KIT: value}},
    lambda value: {"signatures": {KIT: {"ed25519:1": value}}},
]


@given(st.dictionaries(st.sampled_from(_FIELDS), _JSON), st.sampled_from(_INNER), _JSON)
def test_parsing_raises_nothing_else(
    changed: JsonObject, inside: Callable[[Any], JsonObject], value: Any
) -> None:
    for fields in ({**document(), **changed}, {**document(), **inside(value)}, changed):
        try:
            found = parse_document(fields, KIT, NOW)
        except KeyFormatError:
            continue
        assert found.server == KIT
        json.dumps(notarise(found, NOTARY, [NOTARY_KEY]))


# Validity


@pytest.mark.parametrize(
    ("key", "timestamp", "enforced", "usable"),
    [
        (ServerKey(KEY.verify_key, NOW), NOW, True, True),
        (ServerKey(KEY.verify_key, NOW), NOW + 1, True, False),
        (ServerKey(KEY.verify_key, NOW), NOW + 1, False, True),
        (ServerKey(KEY.verify_key, NOW, is_old=True), NOW, True, True),
        (ServerKey(KEY.verify_key, NOW, is_old=True), NOW + 1, True, False),
        (ServerKey(KEY.verify_key, NOW, is_old=True), NOW + 1, False, True),
    ],
)
def test_is_usable(key: ServerKey, timestamp: int, enforced: bool, usable: bool) -> None:
    assert is_usable(key, timestamp, enforce_validity=enforced) is usable


def test_only_current_keys_sign_requests() -> None:
    keys = {
        KeyID("ed25519:1"): ServerKey(KEY.verify_key, NOW),
        KeyID("ed25519:2"): ServerKey(SECOND.verify_key, NOW - 1),
        KeyID("ed25519:3"): ServerKey(OLD.key, NOW + DAY, is_old=True),
    }
    assert request_keys(keys, NOW) == {"ed25519:1": KEY.verify_key}


# Whose word counts

MINE, OTHER = KEY.verify_key, STRANGE.verify_key


def known(source: Source, key: VerifyKey, valid_until: int, *, is_old: bool = False) -> KnownKey:
    return KnownKey(KIT, KEY.key_id, ServerKey(key, valid_until, is_old), source)


HEARSAY, TOLD, ORIGIN = Source.HEARSAY, Source.NOTARY, Source.ORIGIN
VALID, LATER, EXPIRED = NOW + DAY, NOW + 2 * DAY, NOW - DAY


@pytest.mark.parametrize(
    ("held", "claim", "is_believed"),
    [
        # other bytes, from a better source
        (known(HEARSAY, MINE, VALID), known(TOLD, OTHER, EXPIRED), True),
        (known(TOLD, MINE, VALID), known(ORIGIN, OTHER, VALID), True),
        # other bytes, from an equal one: hearsay sticks, the rest once the held key has expired
        (known(HEARSAY, MINE, EXPIRED), known(HEARSAY, OTHER, VALID), False),
        (known(TOLD, MINE, VALID), known(TOLD, OTHER, LATER), False),
        (known(TOLD, MINE, EXPIRED), known(TOLD, OTHER, VALID), True),
        (known(ORIGIN, MINE, VALID), known(ORIGIN, OTHER, LATER), False),
        (known(ORIGIN, MINE, EXPIRED), known(ORIGIN, OTHER, VALID), True),
        # other bytes, from a worse one: never
        (known(ORIGIN, MINE, EXPIRED), known(TOLD, OTHER, VALID), False),
        (known(TOLD, MINE, EXPIRED), known(HEARSAY, OTHER, VALID), False),
        # the same bytes, from their own server: always, also when it retires or shortens them
        (known(ORIGIN, MINE, VALID), known(ORIGIN, MINE, LATER), True),
        (known(ORIGIN, MINE, LATER), known(ORIGIN, MINE, VALID), True),
        (known(ORIGIN, MINE, VALID), known(ORIGIN, MINE, EXPIRED, is_old=True), True),
        # the same bytes, from a better source
        (known(HEARSAY, MINE, LATER), known(TOLD, MINE, VALID, is_old=True), True),
        # the same bytes, from an equal or a worse one: only to prolong what is not retired
        (known(TOLD, MINE, VALID), known(TOLD, MINE, EXPIRED), False),
        (known(TOLD, MINE, VALID), known(TOLD, MINE, LATER, is_old=True), False),
        (known(TOLD, MINE, EXPIRED, is_old=True), known(TOLD, MINE, VALID), False),
        (known(ORIGIN, MINE, EXPIRED, is_old=True), known(HEARSAY, MINE, VALID), False),
        (known(TOLD, MINE, EXPIRED), known(TOLD, MINE, VALID), True),
    ],
)
def test_whose_word_counts(held: KnownKey, claim: KnownKey, is_believed: bool) -> None:
    assert merged(held, claim, NOW) == (claim if is_believed else held)


def test_a_first_word_counts() -> None:
    claim = known(HEARSAY, MINE, EXPIRED)
    assert merged(None, claim, NOW) is claim


def test_a_worse_source_prolongs_but_does_not_lower_the_standing() -> None:
    held = known(ORIGIN, MINE, EXPIRED)
    expected = replace(held, key=ServerKey(MINE, VALID))
    assert merged(held, known(HEARSAY, MINE, VALID), NOW) == expected
