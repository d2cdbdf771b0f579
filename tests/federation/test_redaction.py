"""What each room version's redaction leaves, as its page has it.

https://spec.matrix.org/v1.19/rooms/v12/#redactions and its likes
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.canonical_json import JsonObject
from federation.events import parse, redacted
from federation.redaction import redact
from federation.room_versions import ROOM_VERSIONS, V10, V11, V12, EventIDFormat
from federation.room_versions import RoomVersion as Version
from federation.signing import is_signature
from tests.federation.rooms import (
    ALL_VERSIONS,
    ANN,
    BOB,
    Room,
    bytes_of,
    fields_of,
    message_fields,
    sealed,
    signer,
)

ALL = pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda v: f"v{v.name}")

_TOP_LEVEL_1_TO_10 = (
    "event_id type room_id sender state_key content hashes signatures depth prev_events prev_state "
    "auth_events origin origin_server_ts membership"
)
_TOP_LEVEL_SINCE_11 = (
    "event_id type room_id sender state_key content hashes signatures depth prev_events "
    "auth_events origin_server_ts"
)
_NEVER_KEPT = "unsigned redacts age age_ts prev_content user_id x"

_ALL_KEYS = "*"

_CONTENT_1_TO_5 = {
    "m.room.member": "membership",
    "m.room.create": "creator",
    "m.room.join_rules": "join_rule",
    "m.room.power_levels": (
        "ban events events_default kick redact state_default users users_default"
    ),
    "m.room.aliases": "aliases",
    "m.room.history_visibility": "history_visibility",
}
_CONTENT_6_AND_7 = {
    "m.room.member": "membership",
    "m.room.create": "creator",
    "m.room.join_rules": "join_rule",
    "m.room.power_levels": (
        "ban events events_default kick redact state_default users users_default"
    ),
    "m.room.history_visibility": "history_visibility",
}
_CONTENT_8 = {
    "m.room.member": "membership",
    "m.room.create": "creator",
    "m.room.join_rules": "join_rule allow",
    "m.room.power_levels": (
        "ban events events_default kick redact state_default users users_default"
    ),
    "m.room.history_visibility": "history_visibility",
}
_CONTENT_9_AND_10 = {
    "m.room.member": "membership join_authorised_via_users_server",
    "m.room.create": "creator",
    "m.room.join_rules": "join_rule allow",
    "m.room.power_levels": (
        "ban events events_default kick redact state_default users users_default"
    ),
    "m.room.history_visibility": "history_visibility",
}
_CONTENT_SINCE_11 = {
    # Of `third_party_invite`, see below.
    "m.room.member": "membership join_authorised_via_users_server",
    "m.room.create": _ALL_KEYS,
    "m.room.join_rules": "join_rule allow",
    "m.room.power_levels": (
        "ban events events_default invite kick redact state_default users users_default"
    ),
    "m.room.history_visibility": "history_visibility",
    "m.room.redaction": "redacts",
}
_CONTENT: Mapping[str, Mapping[str, str]] = {
    **dict.fromkeys(("1", "2", "3", "4", "5"), _CONTENT_1_TO_5),
    **dict.fromkeys(("6", "7"), _CONTENT_6_AND_7),
    "8": _CONTENT_8,
    **dict.fromkeys(("9", "10"), _CONTENT_9_AND_10),
    **dict.fromkeys(("11", "12"), _CONTENT_SINCE_11),
}
_TYPES = sorted(
    {kind for table in _CONTENT.values() for kind in table}
    | {
        "m.room.message",
        "m.room.name",
        "m.room.server_acl",
        "m.room.tombstone",
        "m.room.third_party_invite",
        "m.room.encryption",
        "m.room.Member",
        "",
    }
)
_KEYS = sorted(
    {key for table in _CONTENT.values() for keys in table.values() for key in keys.split()}
    - {_ALL_KEYS}
    | {"body", "displayname", "notifications", "room_version", "type", "sender", "content", ""}
)


@ALL
def test_top_level(version: Version) -> None:
    kept = _TOP_LEVEL_SINCE_11 if version in (V11, V12) else _TOP_LEVEL_1_TO_10
    fields: JsonObject = dict.fromkeys(f"{_TOP_LEVEL_1_TO_10} {_NEVER_KEPT}".split(), "as it is")
    fields["content"] = {}
    assert redact(fields, version) == {key: fields[key] for key in kept.split()}


@ALL
@pytest.mark.parametrize("kind", _TYPES)
def test_content(version: Version, kind: str) -> None:
    content = {key: {"of": [key]} for key in _KEYS}
    allowed = _CONTENT[version.name].get(kind, "")
    expected = {k: v for k, v in content.items() if allowed == _ALL_KEYS or k in allowed.split()}
    assert redact({"type": kind, "content": content}, version)["content"] == expected


def test_the_tables_name_all_versions_and_types() -> None:
    assert list(_CONTENT) == list(ROOM_VERSIONS)
    for version in ALL_VERSIONS:
        assert version.redaction.content.keys() == _CONTENT[version.name].keys()


# The third-party invite of a membership


@pytest.mark.parametrize(
    ("invite", "kept"),
    [
        ({"display_name": "b", "signed": {"mxid": BOB}}, {"signed": {"mxid": BOB}}),
        (
            {"signed": {"mxid": BOB, "token": "t", "x": 1}},
            {"signed": {"mxid": BOB, "token": "t", "x": 1}},
        ),
        ({"signed": None}, {"signed": None}),
        # The wording leaves it open; servers agree on this, or their event IDs would not.
        ({"display_name": "b"}, {}),
        ({}, {}),
        (None, ...),
        ("signed", ...),
        (["signed"], ...),
        (1, ...),
    ],
    ids=repr,
)
@ALL
def test_third_party_invite(version: Version, invite: Any, kept: Any) -> None:
    """Since version 11 its `signed` stays."""
    content = {"membership": "invite", "third_party_invite": invite}
    found = redact({"type": "m.room.member", "content": content}, version)["content"]
    if version not in (V11, V12) or kept is ...:
        assert found == {"membership": "invite"}
    else:
        assert found == {"membership": "invite", "third_party_invite": kept}


@ALL
def test_third_party_invite_of_anything_else(version: Version) -> None:
    content: JsonObject = {"third_party_invite": {"signed": {}}}
    assert redact({"type": "m.room.message", "content": content}, version)["content"] == {}


# Shapes


@ALL
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {}),
        ({"type": "m.room.member"}, {"type": "m.room.member"}),
        ({"content": {"membership": "join"}}, {"content": {}}),
        ({"type": None, "content": {"a": 1}}, {"type": None, "content": {}}),
        (
            {"type": ["m.room.member"], "content": {"a": 1}},
            {"type": ["m.room.member"], "content": {}},
        ),
        ({"type": "m.room.member", "content": {}}, {"type": "m.room.member", "content": {}}),
        ({"type": "m.room.message", "content": {}}, {"type": "m.room.message", "content": {}}),
    ],
    ids=repr,
)
def test_less_than_an_event(version: Version, fields: JsonObject, expected: JsonObject) -> None:
    """The specification signs an event without `prev_events` in its test vectors."""
    assert redact(fields, version) == expected


@ALL
@pytest.mark.parametrize("kind", ["m.room.member", "m.room.create", "m.room.message"])
def test_what_is_redacted_is_not_touched(version: Version, kind: str) -> None:
    """Not even by who changes what is left."""
    invite = {"display_name": "b", "signed": {"mxid": BOB}}
    content = {"membership": "invite", "third_party_invite": invite, "reason": "r"}
    fields = message_fields(version, type=kind, content=content, unsigned={"age": 1})
    before = deepcopy(fields)
    found = redact(fields, version)
    assert fields == before
    found["content"].clear()
    assert fields == before


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
_CONTENTS = st.dictionaries(st.sampled_from([*_KEYS, "third_party_invite"]), _JSON, max_size=6)


@given(
    version=st.sampled_from(ALL_VERSIONS),
    kind=st.sampled_from(_TYPES),
    content=_CONTENTS,
    extra=st.dictionaries(
        st.sampled_from(["origin", "membership", "prev_state", "redacts", "unsigned", "x"]),
        st.dictionaries(st.text(max_size=3), _JSON, max_size=2),
    ),
)
def test_redaction_leaves_identity_and_signatures(
    version: Version, kind: str, content: JsonObject, extra: JsonObject
) -> None:
    """Redacting twice is redacting once; ID and signatures stand; the content hash does not."""
    fields = message_fields(version, type=kind, content=content, **extra)
    pdu = parse(bytes_of(sealed(fields, version, "one.test")), version)
    once = redacted(pdu.event)
    again = parse(once.json, version)
    assert redacted(once).json == once.json
    assert again.event.event_id == once.event_id == pdu.event.event_id
    assert again.signed == pdu.signed
    assert again.signatures == pdu.signatures
    signature = again.signatures["one.test"]["ed25519:1"]
    assert is_signature(again.signed, signature, signer("one.test").key.verify_key)
    kept = {k: v for k, v in fields_of(once).items() if k not in ("hashes", "signatures")}
    whole = {k: v for k, v in fields.items() if k not in ("hashes", "signatures", "unsigned")}
    assert again.content_hash_matches is (kept == whole)


# The event that a redaction leaves


@ALL
def test_every_event_of_a_room(version: Version) -> None:
    """A redacted event has the place in the graph, the state key and the time that it had."""
    room = Room(version)
    room.send("m.room.topic", ANN, {"topic": "t"}, "")
    room.send("m.room.redaction", ANN, {}, redacts=room.create.event_id)
    for event in room.events.values():
        found = redacted(event)
        assert found == event
        for name in ("version", "room_id", "type", "state_key", "sender", "origin_server_ts"):
            assert getattr(found, name) == getattr(event, name)
        for name in ("depth", "prev_events", "auth_events", "membership"):
            assert getattr(found, name) == getattr(event, name)
        assert found.content == redact(fields_of(event), version)["content"]
        assert found.json == bytes_of(redact(fields_of(event), version))


@ALL
def test_a_redacted_redaction(version: Version) -> None:
    """It is known what it was about only since version 11."""
    room = Room(version)
    event = room.send("m.room.redaction", ANN, {"reason": "r"}, redacts="$old")
    assert event.redacts == "$old"
    assert redacted(event).redacts == ("$old" if version in (V11, V12) else None)
    assert "reason" not in redacted(event).content


def test_the_create_event_of_version_12_still_names_the_room() -> None:
    room = Room(V12)
    assert redacted(room.create).room_id == room.room_id
    assert "room_id" not in fields_of(redacted(room.create))


def test_sent_ids_stay_in_the_event() -> None:
    for version in ALL_VERSIONS:
        sent = version.event_ids is EventIDFormat.SENT
        fields = fields_of(redacted(Room(version).create))
        assert ("event_id" in fields) is sent


def test_unsigned_goes() -> None:
    event = parse(bytes_of(message_fields(V10, unsigned={"age": 1})), V10).event
    assert b"unsigned" in event.json
    assert b"unsigned" not in redacted(event).json
