import base64
import hashlib
from typing import Any

import nacl.signing
import pytest
import signedjson.key
import signedjson.sign
from hypothesis import given
from hypothesis import strategies as st

from federation.canonical_json import MAX_INTEGER, without
from federation.errors import IdentifierError, KeyFormatError
from federation.identifiers import ServerName
from federation.signing import (
    SigningKey,
    VerifyKey,
    decode_base64,
    decode_verify_key,
    encode_base64,
    encode_base64_url,
    is_signature,
    is_signed_json,
    sign_json,
    signable,
    signatures_of,
)

SEED = decode_base64("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1")
DOMAIN = ServerName("domain")
KEY = SigningKey.from_seed("ed25519:1", SEED)
OTHER = SigningKey.from_seed("ed25519:2", hashlib.sha256(b"other").digest())
KEYS = {"ed25519:1": KEY.verify_key, "ed25519:2": OTHER.verify_key}
FIELDS = {"one": 1, "two": "Two"}


@pytest.mark.parametrize(
    ("fields", "signature"),
    [
        (
            {},
            "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ",
        ),
        (
            {"one": 1, "two": "Two"},
            "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw",
        ),
    ],
)
def test_vectors(fields: dict[str, Any], signature: str) -> None:
    """https://spec.matrix.org/v1.19/appendices/#json-signing"""
    signed = {**fields, "signatures": {"domain": {"ed25519:1": signature}}}
    assert sign_json(fields, DOMAIN, KEY) == signed
    assert is_signed_json(signed, "domain", KEYS)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"f", "Zg"),
        (b"fo", "Zm8"),
        (b"foo", "Zm9v"),
        (b"foob", "Zm9vYg"),
        (b"fooba", "Zm9vYmE"),
        (b"foobar", "Zm9vYmFy"),
    ],
)
def test_base64(data: bytes, text: str) -> None:
    assert encode_base64(data) == text
    assert encode_base64_url(data) == text
    assert decode_base64(text) == data
    assert decode_base64(base64.b64encode(data).decode()) == data


def test_base64_alphabets() -> None:
    data = b"\xfb\xff\xbf\xfe"
    assert (encode_base64(data), encode_base64_url(data)) == ("+/+//g", "-_-__g")
    for text in ("+/+//g", "-_-__g", "+/+//g==", "-_-__g==", "-/+__g="):
        assert decode_base64(text) == data


def test_base64_with_bits_to_spare() -> None:
    """The seed of the specification's vectors ends in a character whose last bits go nowhere."""
    assert decode_base64("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1") == SEED
    assert decode_base64("Zh") == b"f"


@pytest.mark.parametrize(
    "text",
    ["Z", "Zm9vY", "Zg =", "Zg\n", "Z g", "Zg=g", "Zg==Zg==", "=Zg", "Zg\0", "Zg!", "Zé", "\ud800"],
)
def test_no_base64(text: str) -> None:
    with pytest.raises(KeyFormatError):
        decode_base64(text)


@given(st.binary())
def test_base64_there_and_back(data: bytes) -> None:
    for text in (encode_base64(data), encode_base64_url(data)):
        assert "=" not in text
        assert decode_base64(text) == data
        assert decode_base64(text + "=" * (-len(text) % 4)) == data


@given(st.one_of(st.text(), st.text("ABab01+/-_=\n ")))
def test_any_text_is_base64_or_refused(text: str) -> None:
    try:
        data = decode_base64(text)
    except KeyFormatError:
        return
    # Only the padding and the bits to spare may differ.
    assert len(data) == len(text.rstrip("=")) * 3 // 4
    assert set(text.rstrip("=")) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
    )


def test_keys() -> None:
    theirs = nacl.signing.SigningKey(SEED)
    assert bytes(theirs.verify_key) == KEY.verify_key
    assert KEY.key_id == "ed25519:1"
    assert decode_verify_key(encode_base64(KEY.verify_key)) == KEY.verify_key
    assert decode_base64(KEY.sign(b"text")) == theirs.sign(b"text").signature


def test_a_key_does_not_show_its_secret() -> None:
    assert repr(KEY) == "SigningKey(ed25519:1)"


@pytest.mark.parametrize(
    ("key_id", "seed", "error"),
    [
        ("ed25519:1", b"short", KeyFormatError),
        ("ed25519:1", b"x" * 33, KeyFormatError),
        ("ed448:1", SEED, KeyFormatError),
        ("ed25519", SEED, KeyFormatError),
        ("ed25519:", SEED, IdentifierError),
        ("ed25519:a-b", SEED, IdentifierError),
    ],
)
def test_no_signing_keys(key_id: str, seed: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        SigningKey.from_seed(key_id, seed)


@pytest.mark.parametrize(
    "text", ["", "Zm9v", "!", encode_base64(b"x" * 31), encode_base64(b"x" * 33)]
)
def test_no_verify_keys(text: str) -> None:
    with pytest.raises(KeyFormatError):
        decode_verify_key(text)


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        (KEY.sign(b"text"), True),
        (KEY.sign(b"text") + "==", True),
        (encode_base64_url(decode_base64(KEY.sign(b"text"))), True),
        (KEY.sign(b"other text"), False),
        (OTHER.sign(b"text"), False),
        (KEY.sign(b"text")[:-2], False),
        (encode_base64(decode_base64(KEY.sign(b"text")) + b"x"), False),
        ("", False),
        ("not base64", False),
        ("\ud800", False),
        (encode_base64(bytes(64)), False),
    ],
)
def test_is_signature(signature: str, expected: bool) -> None:
    assert is_signature(b"text", signature, KEY.verify_key) is expected


def test_a_weak_key_signs_nothing() -> None:
    """Under a key of small order, one signature would fit every message."""
    for weak in (bytes(32), b"\x01" + bytes(31)):
        forged = encode_base64(weak + bytes(32))
        assert not is_signature(b"text", forged, VerifyKey(weak))


def test_signatures_cover_all_but_two_members() -> None:
    fields = {"b": 1, "a": {"unsigned": 2}, "unsigned": {"age": 1}, "signatures": {"x": {}}}
    assert signable(fields) == b'{"a":{"unsigned":2},"b":1}'


def test_signing_adds_to_the_signatures_there_are() -> None:
    once = sign_json({**FIELDS, "unsigned": {"age": 1}}, DOMAIN, KEY)
    before = repr(once)
    twice = sign_json(once, DOMAIN, OTHER)
    thrice = sign_json(twice, ServerName("elsewhere"), OTHER)
    assert repr(once) == before
    assert set(thrice["signatures"]["domain"]) == {"ed25519:1", "ed25519:2"}
    assert set(thrice["signatures"]["elsewhere"]) == {"ed25519:2"}
    assert thrice["unsigned"] == {"age": 1}
    assert is_signed_json(thrice, "domain", KEYS)
    assert is_signed_json(thrice, "elsewhere", KEYS)


GOOD, OTHERS_GOOD, BAD = KEY.sign(signable(FIELDS)), OTHER.sign(signable(FIELDS)), KEY.sign(b"x")


@pytest.mark.parametrize(
    ("signatures", "expected"),
    [
        ({"domain": {"ed25519:1": GOOD}}, True),
        ({"domain": {"ed25519:1": GOOD, "ed25519:2": OTHERS_GOOD}}, True),
        # Of keys that we do not know, and of algorithms that nobody knows, nothing is asked.
        ({"domain": {"ed25519:1": GOOD, "ed25519:unknown": "x"}}, True),
        ({"domain": {"ed25519:1": GOOD, "ed448:1": "x"}}, True),
        ({"domain": {"ed25519:1": GOOD}, "elsewhere": {"ed25519:1": BAD}}, True),
        ({"domain": {"ed25519:1": GOOD}, "elsewhere": None}, True),
        # One bad signature of a known key spoils it.
        ({"domain": {"ed25519:1": GOOD, "ed25519:2": BAD}}, False),
        ({"domain": {"ed25519:1": BAD}}, False),
        ({"domain": {"ed25519:2": GOOD}}, False),
        ({"domain": {"ed25519:unknown": GOOD}}, False),
        ({"domain": {"ed448:1": GOOD}}, False),
        ({"domain": {"ed25519:1": None}}, False),
        ({"domain": {"ed25519:1": [GOOD]}}, False),
        ({"domain": {}}, False),
        ({"domain": GOOD}, False),
        ({"elsewhere": {"ed25519:1": GOOD}}, False),
        ({}, False),
        ([], False),
        ("domain", False),
        (None, False),
    ],
)
def test_is_signed(signatures: object, expected: bool) -> None:
    assert is_signed_json({**FIELDS, "signatures": signatures}, "domain", KEYS) is expected
    assert not is_signed_json({**FIELDS, "three": 3, "signatures": signatures}, "domain", KEYS)


def test_is_not_signed_without_signatures() -> None:
    assert not is_signed_json(FIELDS, "domain", KEYS)
    assert signatures_of(FIELDS, "domain") == {}


def test_signatures_of() -> None:
    by_key = {"ed25519:1": "a", "ed25519:2": 5, "ed448:1": "b"}
    assert signatures_of({"signatures": {"domain": by_key}}, "domain") == {"ed25519:1": "a"}


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
VALUES = st.one_of(st.none(), st.booleans(), st.integers(-MAX_INTEGER, MAX_INTEGER), TEXT)
OBJECTS = st.dictionaries(TEXT, st.one_of(VALUES, st.dictionaries(TEXT, VALUES)), max_size=5)


@given(OBJECTS)
def test_signedjson_believes_us(fields: dict[str, Any]) -> None:
    theirs = signedjson.key.decode_verify_key_bytes("ed25519:1", KEY.verify_key)
    signed = sign_json(without(fields, "signatures"), DOMAIN, KEY)
    signedjson.sign.verify_signed_json(signed, DOMAIN, theirs)


@given(OBJECTS)
def test_we_believe_signedjson(fields: dict[str, Any]) -> None:
    # signedjson loses an `unsigned` that is null.
    plain = without(fields, "signatures", "unsigned")
    theirs = signedjson.key.decode_signing_key_base64("ed25519", "1", encode_base64(SEED))
    signed = signedjson.sign.sign_json(dict(plain), DOMAIN, theirs)
    assert signed == sign_json(plain, DOMAIN, KEY)
    assert is_signed_json(signed, "domain", KEYS)


@given(st.binary(), st.text(), st.binary(min_size=32, max_size=32))
def test_any_signature_is_judged(message: bytes, signature: str, key: bytes) -> None:
    assert not is_signature(message, signature, VerifyKey(key))
