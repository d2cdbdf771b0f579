"""Canonical form, redaction, hashes, identifiers and signatures, compared with Synapse's."""

import base64
import json
import random
from typing import Any

import pytest

from federation import canonical_json
from federation.canonical_json import JsonObject
from federation.events import Pdu, parse
from federation.hashing import content_hash, reference_hash
from federation.redaction import redact
from federation.room_versions import ROOM_VERSIONS, V1, V12, RoomVersion
from federation.signing import SigningKey, encode_base64
from tests.oracle.documents import SERVER, document, value
from tests.oracle.oracle import Oracle
from tests.oracle.sizes import EVENTS

_SEED = bytes(range(32))
_KEY = SigningKey.from_seed("ed25519:1", _SEED)


@pytest.mark.parametrize("version", [V1, V12], ids=["lenient", "strict"])
def test_canonical_json(oracle: Oracle, version: RoomVersion) -> None:
    rng = random.Random(f"canonical {version.name}")
    values = [value(rng, version, depth=5) for _ in range(EVENTS)]
    for asked, theirs in zip(values, oracle.ask("canonical", values=values), strict=True):
        assert canonical_json.encode(asked, strict=version.strict_json).decode() == theirs


@pytest.mark.parametrize("version", ROOM_VERSIONS.values(), ids=lambda v: f"v{v.name}")
def test_what_follows_from_an_event_alone(oracle: Oracle, version: RoomVersion) -> None:
    rng = random.Random(f"documents {version.name}")
    documents = [_hashed(rng, document(rng, version, n), version) for n in range(EVENTS)]
    oracle.begin(
        "facts",
        version=version.name,
        events=documents,
        server=SERVER,
        seed=encode_base64(_SEED),
    )
    ours = [_facts(fields, version) for fields in documents]
    for number, (fields, mine, theirs) in enumerate(
        zip(documents, ours, oracle.finish(), strict=True)
    ):
        assert "refused" not in theirs, (number, fields, theirs)
        for fact, found in mine.items():
            assert found == _comparable(fact, theirs[fact]), (number, fact, json.dumps(fields))


def test_documents_cover_the_protected_keys() -> None:
    """The generator meets each key that some redaction algorithm keeps in an event's content."""
    for version in ROOM_VERSIONS.values():
        rng = random.Random(version.name)
        seen = {
            (fields["type"], key)
            for fields in (document(rng, version, n) for n in range(600))
            for key in fields["content"]
        }
        protected = version.redaction.content.items()
        assert not {(kind, key) for kind, keys in protected for key in keys or ()} - seen


def _hashed(rng: random.Random, fields: JsonObject, version: RoomVersion) -> JsonObject:
    """Give half of the documents the content hash that is theirs."""
    if rng.random() < 0.5:
        fields["hashes"] = {"sha256": encode_base64(content_hash(fields, version))}
    return fields


def _facts(fields: JsonObject, version: RoomVersion) -> dict[str, Any]:
    pdu = parse(canonical_json.encode(fields, strict=False), version)
    reference = reference_hash(pdu.signed)
    return {
        "event_id": pdu.event.event_id,
        "redacted": canonical_json.encode(redact(fields, version), strict=False).decode(),
        "content_hash": content_hash(fields, version),
        "content_hash_matches": pdu.content_hash_matches,
        "reference_hash": reference,
        "signatures": _signatures(fields, pdu),
    }


def _signatures(fields: JsonObject, pdu: Pdu) -> dict[str, dict[str, str]]:
    return {**fields["signatures"], SERVER: {"ed25519:1": _KEY.sign(pdu.signed)}}


def _comparable(fact: str, theirs: Any) -> Any:
    if fact in {"content_hash", "reference_hash"}:
        return base64.b64decode(theirs)
    if fact == "redacted":
        # Synapse keeps some of `unsigned` in its own database; no hash or signature covers it.
        return canonical_json.encode(
            canonical_json.without(theirs, "unsigned"), strict=False
        ).decode()
    return theirs
