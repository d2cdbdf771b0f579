import hashlib
from typing import Any

import pytest

from federation.decision import ALLOWED, Denied
from federation.identifiers import ServerName
from federation.policy_server import (
    POLICY_KEY_ID,
    PolicyServer,
    check_policy,
    needs_policy_signature,
    read_policy_server,
)
from federation.signing import SigningKey, encode_base64

VIA = ServerName("policy.test")
KEY = SigningKey.from_seed(POLICY_KEY_ID, hashlib.sha256(b"policy").digest())
OTHER = SigningKey.from_seed(POLICY_KEY_ID, hashlib.sha256(b"other").digest())
PUBLIC = encode_base64(KEY.verify_key)
CONTENT = {"via": VIA, "public_keys": {"ed25519": PUBLIC}}
IN_USE = PolicyServer(VIA, KEY.verify_key)
SIGNED = b'{"type":"m.room.message"}'


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (CONTENT, IN_USE),
        ({**CONTENT, "public_keys": {"ed25519": PUBLIC, "ed448": "x"}, "more": 1}, IN_USE),
        (None, None),
        ({}, None),
        ({"via": VIA}, None),
        ({"public_keys": {"ed25519": PUBLIC}}, None),
        ({**CONTENT, "via": 5}, None),
        ({**CONTENT, "via": ["policy.test"]}, None),
        ({**CONTENT, "public_keys": PUBLIC}, None),
        ({**CONTENT, "public_keys": [PUBLIC]}, None),
        ({**CONTENT, "public_keys": {}}, None),
        ({**CONTENT, "public_keys": {"ed25519": None}}, None),
        ({**CONTENT, "public_keys": {"ed25519:policy_server": PUBLIC}}, None),
        # No joined user there.
        ({**CONTENT, "via": "elsewhere.test"}, None),
        ({**CONTENT, "via": ""}, None),
        # A string is all that is asked for: still in use, though nothing will ever verify.
        ({**CONTENT, "public_keys": {"ed25519": "not a key"}}, PolicyServer(VIA, None)),
        ({**CONTENT, "public_keys": {"ed25519": PUBLIC[:-4]}}, PolicyServer(VIA, None)),
    ],
)
def test_reading(content: dict[str, Any] | None, expected: PolicyServer | None) -> None:
    assert read_policy_server(content, {"policy.test", "one.test"}) == expected


@pytest.mark.parametrize(
    ("event_type", "state_key", "expected"),
    [
        ("m.room.policy", "", False),
        ("m.room.policy", None, True),
        ("m.room.policy", "@ann:one.test", True),
        ("m.room.message", None, True),
        ("m.room.power_levels", "", True),
        ("m.room.member", "@ann:one.test", True),
        ("m.room.create", "", True),
    ],
)
def test_who_needs_a_signature(event_type: str, state_key: str | None, expected: bool) -> None:
    assert needs_policy_signature(event_type, state_key) is expected
    denied = check_policy(IN_USE, event_type, state_key, SIGNED, {}) is not ALLOWED
    assert denied is expected


@pytest.mark.parametrize(
    ("signatures", "broken"),
    [
        ({VIA: {POLICY_KEY_ID: KEY.sign(SIGNED)}}, None),
        ({VIA: {POLICY_KEY_ID: KEY.sign(SIGNED), "ed25519:a": "x"}, "one.test": {}}, None),
        ({}, "policy_server.missing"),
        ({VIA: {}}, "policy_server.missing"),
        ({VIA: {"ed25519:1": KEY.sign(SIGNED)}}, "policy_server.missing"),
        ({"one.test": {POLICY_KEY_ID: KEY.sign(SIGNED)}}, "policy_server.missing"),
        ({VIA: {POLICY_KEY_ID: KEY.sign(SIGNED + b" ")}}, "policy_server.invalid"),
        ({VIA: {POLICY_KEY_ID: OTHER.sign(SIGNED)}}, "policy_server.invalid"),
        ({VIA: {POLICY_KEY_ID: "not base64!"}}, "policy_server.invalid"),
        ({VIA: {POLICY_KEY_ID: ""}}, "policy_server.invalid"),
    ],
)
def test_signatures(signatures: dict[str, dict[str, str]], broken: str | None) -> None:
    decision = check_policy(IN_USE, "m.room.message", None, SIGNED, signatures)
    assert getattr(decision, "rule", None) == broken


def test_a_room_without_policy_server_recommends_everything() -> None:
    assert check_policy(None, "m.room.message", None, SIGNED, {}) is ALLOWED


def test_a_malformed_key_recommends_nothing() -> None:
    broken = PolicyServer(VIA, None)
    signatures = {str(VIA): {str(POLICY_KEY_ID): KEY.sign(SIGNED)}}
    decision = check_policy(broken, "m.room.message", None, SIGNED, signatures)
    assert isinstance(decision, Denied)
