"""Content hashes, reference hashes, and the IDs that these make.

https://spec.matrix.org/v1.19/appendices/#cryptographic-test-vectors
"""

import base64
import hashlib
from typing import Any

import canonicaljson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.canonical_json import JsonObject
from federation.events import parse
from federation.hashing import content_hash, essential_bytes, event_id_of, reference_hash
from federation.room_versions import V1, V3, V4, V5, V6, V12, EventIDFormat
from federation.room_versions import RoomVersion as Version
from federation.signing import encode_base64
from tests.federation.rooms import ALL_VERSIONS, Room, bytes_of, message_fields

ALL = pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda v: f"v{v.name}")

MINIMAL: JsonObject = {
    "room_id": "!x:domain",
    "sender": "@a:domain",
    "origin": "domain",
    "origin_server_ts": 1000000,
    "signatures": {},
    "hashes": {},
    "type": "X",
    "content": {},
    "prev_events": [],
    "auth_events": [],
    "depth": 3,
    "unsigned": {"age_ts": 1000000},
}
REDACTABLE: JsonObject = {
    "content": {"body": "Here is the message content"},
    "event_id": "$0:domain",
    "origin": "domain",
    "origin_server_ts": 1000000,
    "type": "m.room.message",
    "room_id": "!r:domain",
    "sender": "@u:domain",
    "signatures": {},
    "unsigned": {"age_ts": 1000000},
}


@ALL
@pytest.mark.parametrize(
    ("fields", "sha256"),
    [
        (MINIMAL, "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos"),
        (REDACTABLE, "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g"),
    ],
    ids=["minimal", "redactable"],
)
def test_the_specifications_content_hashes(
    version: Version, fields: JsonObject, sha256: str
) -> None:
    assert encode_base64(content_hash(fields, version)) == sha256


@ALL
def test_what_the_content_hash_covers(version: Version) -> None:
    """All but `unsigned`, `signatures` and `hashes`, what nobody knows the meaning of included."""
    fields = message_fields(version, unknown=1, age_ts=1, unsigned={"a": 1})
    before = content_hash(fields, version)
    for key in ("unsigned", "signatures", "hashes"):
        assert content_hash({**fields, key: {"changed": {}}}, version) == before
    for key in fields.keys() - {"unsigned", "signatures", "hashes"}:
        assert content_hash({**fields, key: "changed"}, version) != before, key
        without = {k: v for k, v in fields.items() if k != key}
        assert content_hash(without, version) != before, key


@ALL
def test_what_signatures_and_reference_hash_cover(version: Version) -> None:
    """A message's place, sender, type, time and content hash, but not its words."""
    fields = message_fields(version, unsigned={"a": 1}, unknown=1)
    before = essential_bytes(fields, version)
    for key in ("unsigned", "signatures", "unknown", "redacts"):
        assert essential_bytes({**fields, key: {"changed": {}}}, version) == before
    assert essential_bytes({**fields, "content": {"body": "changed"}}, version) == before
    for key in fields.keys() - {"unsigned", "signatures", "unknown", "content"}:
        assert essential_bytes({**fields, key: "changed"}, version) != before, key


_NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1)
_OLD_NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)


def _objects(numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[JsonObject]:
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    leaves = st.none() | st.booleans() | numbers | text
    values = st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3)
    )
    return st.dictionaries(text, values, max_size=5)


def _sha256(fields: JsonObject, *without: str) -> bytes:
    """The hash as canonicaljson, which others use, would have it."""
    covered = {key: value for key, value in fields.items() if key not in without}
    return hashlib.sha256(canonicaljson.encode_canonical_json(covered)).digest()


@given(version=st.sampled_from([V6, V12]), content=_objects(_NUMBERS))
def test_hashes_are_others_hashes(version: Version, content: JsonObject) -> None:
    _compare(version, content)


@given(version=st.sampled_from([V1, V3, V5]), content=_objects(_OLD_NUMBERS))
def test_hashes_of_old_rooms_are_others_hashes(version: Version, content: JsonObject) -> None:
    """Floats and large integers are hashed as the first server's library wrote them."""
    _compare(version, content)


def _compare(version: Version, content: JsonObject) -> None:
    fields = message_fields(version, content=content, unsigned={"a": 1}, unknown=content)
    hashed = _sha256(fields, "unsigned", "signatures", "hashes")
    assert content_hash(fields, version) == hashed
    redacted = {**fields, "content": {}}
    digest = _sha256(redacted, "unsigned", "signatures", "unknown")
    assert reference_hash(essential_bytes(fields, version)) == digest


# Event IDs


def _named(depth: int) -> tuple[JsonObject, bytes]:
    """An event's fields and what its reference hash must be."""
    fields = message_fields(V4, depth=depth)
    return fields, _sha256({**fields, "content": {}}, "signatures")


def test_ids_are_reference_hashes() -> None:
    """In version 3 in the base64 that has / and +, since version 4 in the one that has _ and -."""
    seen = set()
    for depth in range(20):
        fields, digest = _named(depth)
        seen |= set(base64.b64encode(digest).decode()) & set("+/")
        for version in ALL_VERSIONS:
            if version.event_ids is EventIDFormat.SENT:
                continue
            event_id = parse(bytes_of(fields), version).event.event_id
            standard = version.event_ids is EventIDFormat.HASH
            encode = base64.b64encode if standard else base64.urlsafe_b64encode
            assert event_id == "$" + encode(digest).decode().rstrip("=")
            assert len(event_id) == 44
    assert seen == {"+", "/"}


def test_only_version_3_has_the_standard_alphabet() -> None:
    essential = next(e for e in map(bytes_of, _depths()) if "/" in event_id_of(e, V3))
    assert event_id_of(essential, V4) == event_id_of(essential, V3).translate(
        {ord("+"): "-", ord("/"): "_"}
    )
    assert [v.name for v in ALL_VERSIONS if v.event_ids is EventIDFormat.HASH] == ["3"]


def _depths() -> list[JsonObject]:
    return [{"depth": depth} for depth in range(100)]


def test_the_room_of_version_12_is_its_create_event() -> None:
    room = Room(V12)
    assert room.create.room_id == "!" + room.create.event_id[1:]
    assert {event.room_id for event in room.events.values()} == {room.create.room_id}
    assert Room(V12, creator=room.creator, topic="another").room_id != room.room_id
