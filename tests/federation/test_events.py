"""Check 1 on receipt of a PDU: which bytes are an event of a room version, and which event.

https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

import hashlib
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from federation.canonical_json import JsonObject
from federation.errors import (
    CanonicalJSONError,
    EventFormatError,
    EventSizeError,
    FederationError,
)
from federation.events import MAX_EVENT_BYTES, Event, load, parse, parse_any, redacted
from federation.room_versions import ROOM_VERSIONS, V2, V3, V6, V10, V11, V12, EventIDFormat
from federation.room_versions import RoomVersion as Version
from tests.federation.rooms import ALL_VERSIONS, ANN, Room, bytes_of, message_fields, sealed

ALL = pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda v: f"v{v.name}")
WITH_SENT_IDS = [v for v in ALL_VERSIONS if v.event_ids is EventIDFormat.SENT]
WITH_HASHED_IDS = [v for v in ALL_VERSIONS if v not in WITH_SENT_IDS]
LENIENT = [ROOM_VERSIONS[n] for n in "12345"]
STRICT = [v for v in ALL_VERSIONS if v not in LENIENT]

SPEC_PDUS: JsonObject = json.loads(
    Path(__file__).with_name("data").joinpath("spec_pdus.json").read_bytes()
)
"""The examples of the specification's event formats, their `$ref`s and `allOf`s resolved."""


def refusal(raw: bytes, version: Version) -> type[FederationError] | None:
    """The kind of error that `parse` raises, `None` where it does not."""
    try:
        parse(raw, version)
    except FederationError as error:
        return type(error)
    return None


def fields_refusal(fields: JsonObject, version: Version) -> type[FederationError] | None:
    return refusal(bytes_of(fields), version)


# The formats of the specification


@pytest.mark.parametrize(
    ("example", "versions"),
    [
        ("pdu_v1", "1 2"),
        ("pdu_v3", "3"),
        ("pdu_v4", "4 5 6 7 8 9 10"),
        ("pdu_v4_join_membership", "8 9 10"),
        ("pdu_v11", "11"),
        ("pdu_v12", "12"),
    ],
)
def test_the_specifications_examples_are_events(example: str, versions: str) -> None:
    fields = SPEC_PDUS[example]
    for name in versions.split():
        version = ROOM_VERSIONS[name]
        pdu = parse(json.dumps(fields).encode(), version)
        event = pdu.event
        assert event.version is version
        assert (event.room_id, event.sender) == (fields["room_id"], fields["sender"])
        assert (event.type, event.state_key) == (fields["type"], fields.get("state_key"))
        assert (event.depth, event.origin_server_ts) == (12, 1404838188000)
        assert event.content == fields["content"]
        assert event.redacts == fields.get("redacts")
        assert pdu.signatures == fields["signatures"]
        assert not pdu.content_hash_matches  # "abase64encodedsha256hash…" it is not


@pytest.mark.parametrize("version", WITH_SENT_IDS, ids=lambda v: f"v{v.name}")
def test_references_of_versions_1_and_2_are_pairs(version: Version) -> None:
    event = parse(json.dumps(SPEC_PDUS["pdu_v1"]).encode(), version).event
    assert event.event_id == "$a4ecee13e2accdadf56c1025:example.com"
    assert event.prev_events == event.auth_events == ("$af232176:example.org",)


@pytest.mark.parametrize("version", WITH_HASHED_IDS, ids=lambda v: f"v{v.name}")
def test_references_since_version_3_are_ids(version: Version) -> None:
    event = parse(json.dumps(SPEC_PDUS["pdu_v4"]).encode(), version).event
    assert event.prev_events == ("$urlsafe_base64_encoded_eventid", "$a-different-event-id")


@ALL
def test_an_event_of_the_other_format_is_none(version: Version) -> None:
    sent = version in WITH_SENT_IDS
    other = SPEC_PDUS["pdu_v4" if sent else "pdu_v1"]
    own_references = message_fields(version)
    references = {"prev_events": other["prev_events"], "auth_events": []}
    assert fields_refusal(other, version) is EventFormatError
    assert fields_refusal({**own_references, **references}, version) is EventFormatError


# Fields: missing, of another type, out of range

_OTHER_THAN_STRINGS: tuple[Any, ...] = (..., None, True, 1, [], ["x"], {}, {"x": "x"})
_OTHER_THAN_OBJECTS: tuple[Any, ...] = (..., None, True, 1, "x", "", [], ["x"])
_OTHER_THAN_LISTS: tuple[Any, ...] = (..., None, True, 1, "x", "", {}, {"x": "x"})
_OTHER_THAN_INTEGERS: tuple[Any, ...] = (..., None, True, False, "1", "", [], [1], {})

_WRONG: dict[str, tuple[Any, ...]] = {
    "type": _OTHER_THAN_STRINGS,
    "state_key": _OTHER_THAN_STRINGS[1:],
    "sender": (*_OTHER_THAN_STRINGS, "", "ann", "ann:one.test", "@ann", "@ann:", "@ann:a b"),
    "room_id": (*_OTHER_THAN_STRINGS, "", "!", "room:one.test", "#room:one.test", "!r\0"),
    "content": _OTHER_THAN_OBJECTS,
    "unsigned": _OTHER_THAN_OBJECTS[1:],
    "origin_server_ts": _OTHER_THAN_INTEGERS,
    "depth": (*_OTHER_THAN_INTEGERS, -1),
    "hashes": (*_OTHER_THAN_OBJECTS, {}, {"md5": "x"}, {"sha256": None}, {"sha256": 1}),
    "signatures": (
        *_OTHER_THAN_OBJECTS,
        {"one.test": None},
        {"one.test": "x"},
        {"one.test": []},
        {"one.test": {}, "two.test": {"ed25519:1": "x", "ed25519:2": None}},
        {"one.test": {"ed25519:1": {}}},
    ),
    "prev_events": (*_OTHER_THAN_LISTS, [1], [None], [{}], [[]]),
    "auth_events": (*_OTHER_THAN_LISTS, [1], [None], [{}], [[]]),
}


@ALL
@pytest.mark.parametrize("key", _WRONG)
def test_wrong_fields(version: Version, key: str) -> None:
    for value in _WRONG[key]:
        wrong = message_fields(version, **{key: value})
        assert fields_refusal(wrong, version) is EventFormatError, value


@ALL
def test_what_wrong_fields_start_from_is_an_event(version: Version) -> None:
    assert fields_refusal(message_fields(version), version) is None


@ALL
@pytest.mark.parametrize(
    "changed",
    [
        {"type": ""},
        {"state_key": ""},
        {"content": {}},
        {"unsigned": {}},
        {"unsigned": {"age": "old"}},
        {"depth": 0},
        {"origin_server_ts": -1},
        {"origin_server_ts": 0},
        {"prev_events": []},
        {"auth_events": []},
        {"signatures": {"one.test": {}}},
        {"signatures": {"": {"": ""}}},
        {"hashes": {"sha256": "", "md5": 1}},
        {"room_id": "!domainless"},
        {"sender": "@:one.test"},
        {"sender": "@Änn /?:one.test"},
        {"origin": 1, "prev_state": {}, "membership": [], "redacts": None, "anything": [None]},
    ],
    ids=repr,
)
def test_what_the_format_leaves_open(version: Version, changed: JsonObject) -> None:
    assert fields_refusal(message_fields(version, **changed), version) is None


@pytest.mark.parametrize(
    ("key", "value", "lenient", "strict"),
    [
        ("depth", 2**53 - 1, None, None),
        ("depth", 2**53, None, CanonicalJSONError),
        ("depth", 2**63 - 1, None, CanonicalJSONError),
        ("depth", 2**63, EventFormatError, CanonicalJSONError),
        ("depth", 10**30, EventFormatError, CanonicalJSONError),
        ("depth", 7.0, EventFormatError, CanonicalJSONError),
        ("origin_server_ts", 2**53 - 1, None, None),
        ("origin_server_ts", -(2**53) + 1, None, None),
        ("origin_server_ts", 2**63 - 1, None, CanonicalJSONError),
        ("origin_server_ts", -(2**63), None, CanonicalJSONError),  # "format: int64"
        ("origin_server_ts", 2**63, EventFormatError, CanonicalJSONError),
        ("origin_server_ts", -(2**63) - 1, EventFormatError, CanonicalJSONError),
        ("origin_server_ts", 1e6, EventFormatError, CanonicalJSONError),
        ("content", {"a": [2**53]}, None, CanonicalJSONError),
        ("content", {"a": [-(2**53)]}, None, CanonicalJSONError),
        ("content", {"a": 10**30}, None, CanonicalJSONError),
        ("content", {"a": {"b": 1.5}}, None, CanonicalJSONError),
        ("unsigned", {"a": 1.5}, None, CanonicalJSONError),
        ("extra", 1.0, None, CanonicalJSONError),
    ],
)
def test_numbers(
    key: str, value: Any, lenient: type[Exception] | None, strict: type[Exception] | None
) -> None:
    """Up to version 5 integers are of 64 bits and JSON's numbers free, later they are canonical."""
    for versions, expected in ((LENIENT, lenient), (STRICT, strict)):
        for version in versions:
            fields = message_fields(version, **{key: value})
            assert fields_refusal(fields, version) is expected, version.name


@pytest.mark.parametrize("version", LENIENT, ids=lambda v: f"v{v.name}")
def test_numbers_of_old_rooms_are_kept(version: Version) -> None:
    content = {"float": 1.5, "whole": 2.0, "big": 10**30, "zero": -0.0}
    found = parse(bytes_of(message_fields(version, content=content)), version).event.content
    assert [repr(found[key]) for key in content] == ["1.5", "2.0", str(10**30), "-0.0"]


@ALL
@pytest.mark.parametrize(("key", "most"), [("prev_events", 20), ("auth_events", 10)])
def test_most_references(version: Version, key: str, most: int) -> None:
    [reference] = message_fields(version)[key]
    assert fields_refusal(message_fields(version, **{key: [reference] * most}), version) is None
    many = message_fields(version, **{key: [reference] * (most + 1)})
    assert fields_refusal(many, version) is EventFormatError


@pytest.mark.parametrize("version", WITH_SENT_IDS, ids=lambda v: f"v{v.name}")
@pytest.mark.parametrize("key", ["prev_events", "auth_events"])
@pytest.mark.parametrize(
    "reference",
    ["$a:b", ["$a:b"], ["$a:b", {"sha256": "x"}, {}], [{"sha256": "x"}, "$a:b"], [1, {}]],
    ids=repr,
)
def test_references_that_are_no_pairs(version: Version, key: str, reference: Any) -> None:
    good = message_fields(version)[key]
    wrong = message_fields(version, **{key: [*good, reference]})
    assert fields_refusal(wrong, version) is EventFormatError


@pytest.mark.parametrize("event_id", [*_OTHER_THAN_STRINGS, "", "$", "e:one.test", "$e\0:a"])
def test_event_ids_that_are_sent_are_ids(event_id: Any) -> None:
    for version in WITH_SENT_IDS:
        wrong = message_fields(version, event_id=event_id)
        assert fields_refusal(wrong, version) is EventFormatError


@pytest.mark.parametrize("version", WITH_HASHED_IDS, ids=lambda v: f"v{v.name}")
@pytest.mark.parametrize("event_id", ["$e:one.test", "$" + "A" * 43, None])
def test_hashed_event_ids_are_not_sent(version: Version, event_id: Any) -> None:
    sent = message_fields(version, event_id=event_id)
    assert fields_refusal(sent, version) is EventFormatError


# The room ID of version 12


def _create_fields(version: Version, **changed: Any) -> JsonObject:
    return message_fields(version, type="m.room.create", state_key="", **changed)


def test_create_events_of_version_12_name_the_room() -> None:
    event = parse(bytes_of(_create_fields(V12, room_id=...)), V12).event
    assert event.room_id == "!" + event.event_id.removeprefix("$")
    assert "room_id" not in json.loads(event.json)


@pytest.mark.parametrize(
    "fields",
    [
        _create_fields(V12, room_id=None),
        {**_create_fields(V12, room_id=...), "state_key": "x"},
        message_fields(V12, type="m.room.create", room_id=...),
        message_fields(V12, type="m.room.name", state_key="", room_id=...),
        message_fields(V12, room_id=...),
    ],
    ids=["null", "create with a state key", "create without one", "name", "message"],
)
def test_all_others_of_version_12_carry_it(fields: JsonObject) -> None:
    assert fields_refusal(fields, V12) is EventFormatError


def test_a_room_id_on_a_create_event_of_version_12_is_for_the_rules() -> None:
    """ "If the event has a room_id, reject" stands in the authorisation rules."""
    event = parse(bytes_of(_create_fields(V12, room_id="!r:one.test")), V12).event
    assert event.room_id == "!r:one.test"


@pytest.mark.parametrize(
    "version", [v for v in ALL_VERSIONS if v is not V12], ids=lambda v: f"v{v.name}"
)
def test_create_events_before_version_12_carry_the_room_id(version: Version) -> None:
    assert fields_refusal(_create_fields(version, room_id=...), version) is EventFormatError


# Sizes


def _padded(fields: JsonObject, size: int) -> JsonObject:
    """The fields with a content that makes their canonical JSON `size` bytes."""
    empty = {**fields, "content": {**fields["content"], "pad": ""}}
    missing = size - len(bytes_of(empty))
    return {**fields, "content": {**fields["content"], "pad": "x" * missing}}


@ALL
def test_largest_event(version: Version) -> None:
    """Signatures and `unsigned` count: it is the event as it is sent that is measured."""
    unsigned = {"age": 1, "more": "é" * 100}
    fields = sealed(message_fields(version, unsigned=unsigned), version, "one.test", "two.test")
    exact = bytes_of(_padded(fields, MAX_EVENT_BYTES))
    assert len(exact) == 65_536
    assert refusal(exact, version) is None
    assert fields_refusal(_padded(fields, MAX_EVENT_BYTES + 1), version) is EventSizeError


def _spaced(raw: bytes) -> bytes:
    return b" \n{\t" + b" " * 70_000 + raw.removeprefix(b"{") + b"\r\n"


def _escaped(raw: bytes) -> bytes:
    return raw.replace(b"x" * 60_000, b"\\u0078" * 60_000)


def _repeated(raw: bytes) -> bytes:
    return b'{"content":"' + b"y" * 60_000 + b'",' + raw.removeprefix(b"{")


@ALL
@pytest.mark.parametrize("longer", [_spaced, _escaped, _repeated])
def test_size_is_that_of_the_canonical_form(
    version: Version, longer: Callable[[bytes], bytes]
) -> None:
    """White space, escapes and keys given twice are not counted."""
    largest = _padded(message_fields(version), MAX_EVENT_BYTES)
    raw = longer(bytes_of(largest))
    assert len(raw) > MAX_EVENT_BYTES
    event = parse(raw, version).event
    assert event.content == largest["content"]
    assert event.json == raw
    too_large = longer(bytes_of(_padded(message_fields(version), MAX_EVENT_BYTES + 1)))
    assert refusal(too_large, version) is EventSizeError


@pytest.mark.parametrize("version", LENIENT, ids=lambda v: f"v{v.name}")
def test_floats_may_be_longer_than_they_were_sent(version: Version) -> None:
    """`1e22` is sent, `1e+22` is hashed and counted."""
    fields = _padded(message_fields(version, content={"float": 1e22}), MAX_EVENT_BYTES + 1)
    raw = bytes_of(fields).replace(b"1e+22", b"1e22")
    assert len(raw) == MAX_EVENT_BYTES
    assert refusal(raw, version) is EventSizeError


@ALL
@pytest.mark.parametrize(
    ("key", "sigil", "domain"),
    [
        ("type", "", ""),
        ("state_key", "", ""),
        ("sender", "@", ":one.test"),
        ("room_id", "!", ":one.test"),
        ("room_id", "!", ""),
    ],
)
@pytest.mark.parametrize("character", ["a", "é", "€", "😀"])
def test_largest_keys(version: Version, key: str, sigil: str, domain: str, character: str) -> None:
    """255 bytes of UTF-8, however few characters those are."""
    longest = _of_bytes(255, sigil, domain, character)
    assert fields_refusal(message_fields(version, **{key: longest}), version) is None
    too_long = message_fields(version, **{key: _of_bytes(256, sigil, domain, character)})
    # Of identifiers the size is part of their grammar.
    expected = EventFormatError if sigil else EventSizeError
    assert fields_refusal(too_long, version) is expected


@pytest.mark.parametrize("version", WITH_SENT_IDS, ids=lambda v: f"v{v.name}")
def test_largest_event_id(version: Version) -> None:
    for size, expected in ((255, None), (256, EventFormatError)):
        event_id = _of_bytes(size, "$", ":one.test", "é")
        assert fields_refusal(message_fields(version, event_id=event_id), version) is expected


def _of_bytes(size: int, sigil: str, domain: str, character: str) -> str:
    most, rest = divmod(size - len(sigil + domain), len(character.encode()))
    return sigil + "a" * rest + character * most + domain


# JSON


@ALL
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"event"',
        b"{} {}",
        b"\xef\xbb\xbf{}",
        b'{"type":NaN}',
        b'{"type":Infinity}',
        b'{"type":1e999}',
        b"{'type':1}",
        b'{"type":01}',
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',  # a surrogate in UTF-8
        b'{"a":"\n"}',
        b'{"a":1,}',
    ],
)
def test_what_is_not_json_is_no_event(version: Version, raw: bytes) -> None:
    assert refusal(raw, version) is CanonicalJSONError


@ALL
@pytest.mark.parametrize("escape", [b"\\ud800", b"\\udfff", b"\\ude00\\ud83d", b"\\ud83d\\ud83d"])
@pytest.mark.parametrize("where", ["content", "key", "type", "sender", "unsigned", "signatures"])
def test_lone_surrogates(version: Version, escape: bytes, where: str) -> None:
    """They have no UTF-8, hence neither a hash nor a signature."""
    mark = "MARK"
    changed: dict[str, Any] = {
        "content": {"content": {"a": [mark]}},
        "key": {"content": {mark: 1}},
        "type": {"type": mark},
        "sender": {"sender": f"@{mark}:one.test"},
        "unsigned": {"unsigned": {"a": mark}},
        "signatures": {"signatures": {mark: {}}},
    }
    raw = bytes_of(message_fields(version, **changed[where]))
    assert refusal(raw.replace(b"MARK", b"\\ud83d\\ude00"), version) is None
    assert refusal(raw.replace(b"MARK", escape), version) is CanonicalJSONError


@ALL
def test_nul_and_other_strange_characters_are_content(version: Version) -> None:
    content = {"body": "a\0b\x7f\u2028\ufeff\uffff😀", "\0": ""}
    raw = json.dumps(message_fields(version, content=content)).encode()
    event = parse(raw, version).event
    assert event.content == content
    assert event.json == raw


@ALL
def test_of_a_key_given_twice_the_last_counts(version: Version) -> None:
    """As every server's JSON library has it: the hashes must be of the same event."""
    once = bytes_of(sealed(message_fields(version), version))
    twice = b'{"sender":"@eve:evil.test","content":{"body":"bye"},' + once.removeprefix(b"{")
    pdu = parse(twice, version)
    assert pdu.event.sender == ANN
    assert pdu.event.content == {"body": "hello"}
    assert pdu.content_hash_matches
    assert pdu.event == parse(once, version).event


def _nested(version: Version, levels: int) -> bytes:
    """An event with that many lists in each other, in a content that a redaction keeps."""
    content = {"membership": "MARK"}
    raw = bytes_of(message_fields(version, type="m.room.member", content=content))
    return raw.replace(b'"MARK"', b"[" * levels + b"]" * levels)


@ALL
@pytest.mark.parametrize("levels", [120, 260, 500])
def test_deep_events(version: Version, levels: int) -> None:
    """From 254 levels on orjson refuses to write."""
    pdu = parse(_nested(version, levels), version)
    assert parse(redacted(pdu.event).json, version).event == pdu.event


@ALL
@pytest.mark.parametrize("levels", [1_100, 30_000])
def test_bottomless_events(version: Version, levels: int) -> None:
    assert refusal(_nested(version, levels), version) is CanonicalJSONError


@pytest.mark.parametrize("version", [V3, V10], ids=["lenient", "strict"])
@pytest.mark.parametrize("levels", [800, 950])
def test_what_was_an_event_once_stays_one(version: Version, levels: int) -> None:
    """Whether an event is too deep must not depend on how deep the caller stands in calls."""
    raw = _nested(version, levels)
    assert _at_depth(300, lambda: refusal(raw, version)) == refusal(raw, version)


def _at_depth(calls: int, function: Callable[[], object]) -> object:
    return _at_depth(calls - 1, function) if calls else function()


# What is kept


@ALL
def test_bytes_are_kept_as_they_came(version: Version) -> None:
    fields = sealed(message_fields(version, extra={"unknown": [1]}), version, "one.test")
    raw = json.dumps(dict(reversed(fields.items())), indent=3).encode()
    pdu = parse(raw, version)
    assert pdu.event.json == raw
    assert pdu.event == parse(bytes_of(fields), version).event
    assert pdu.content_hash_matches


@ALL
def test_unknown_fields_are_covered_by_the_content_hash_alone(version: Version) -> None:
    fields = sealed(message_fields(version, extra="as sent"), version, "one.test")
    sent = parse(bytes_of(fields), version)
    changed = parse(bytes_of({**fields, "extra": "changed"}), version)
    assert sent.content_hash_matches
    assert not changed.content_hash_matches
    assert sent.event == changed.event
    assert sent.signed == changed.signed
    assert b"as sent" in sent.event.json


@ALL
def test_each_hash_is_computed_once(version: Version, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = sealed(message_fields(version), version, "one.test")
    computed = []
    sha256 = hashlib.sha256

    def counted(data: bytes) -> Any:
        computed.append(data)
        return sha256(data)

    monkeypatch.setattr(hashlib, "sha256", counted)
    pdu = parse(bytes_of(fields), version)
    assert len(computed) == (1 if version in WITH_SENT_IDS else 2)
    load(pdu.event.json, pdu.event.event_id, version)
    redacted(pdu.event)
    assert len(computed) == (1 if version in WITH_SENT_IDS else 2)


@ALL
def test_load_is_parse_without_questions(version: Version) -> None:
    for event in Room(version).events.values():
        loaded = load(event.json, event.event_id, version)
        for name in Event.__struct_fields__:
            assert getattr(loaded, name) == getattr(event, name), name


@ALL
@pytest.mark.parametrize("value", ["$old", None, 1, ["$old"]])
def test_where_redacts_stands(version: Version, value: Any) -> None:
    """At the top level up to version 10, in `content` since; `None` where it is no string."""
    outside = message_fields(version, type="m.room.redaction", redacts=value)
    inside = message_fields(version, type="m.room.redaction", content={"redacts": value})
    expected = value if isinstance(value, str) else None
    by_place = {False: outside, True: inside}
    read = {k: parse(bytes_of(f), version).event.redacts for k, f in by_place.items()}
    since_11 = version in (V11, V12)
    assert read == {since_11: expected, not since_11: None}


@pytest.mark.parametrize(
    ("state_key", "is_state"), [(..., False), ("", True), ("@bob:two.test", True)]
)
def test_state_key(state_key: Any, is_state: bool) -> None:
    event = parse(bytes_of(message_fields(V10, state_key=state_key)), V10).event
    assert event.state_key == (None if state_key is ... else state_key)
    assert event.is_state is is_state


@pytest.mark.parametrize(
    ("content", "membership"),
    [({"membership": "join"}, "join"), ({"membership": ["join"]}, None), ({}, None)],
)
def test_membership(content: JsonObject, membership: str | None) -> None:
    fields = message_fields(V10, type="m.room.member", state_key=ANN, content=content)
    assert parse(bytes_of(fields), V10).event.membership == membership


# Identity


def test_events_are_the_same_if_their_ids_are() -> None:
    fields = message_fields(V6, unsigned={"age": 1})
    one = parse(bytes_of(fields), V6).event
    older = parse(bytes_of({**fields, "unsigned": {"age": 2}}), V6).event
    other = parse(bytes_of({**fields, "depth": 8}), V6).event
    assert one == older
    assert hash(one) == hash(older)
    assert len({one, older, other}) == 2
    assert one != other
    assert one != one.event_id


def test_events_of_version_2_are_what_they_say_they_are() -> None:
    """Two different events can claim one ID there; whoever keeps events has to settle that."""
    one = parse(bytes_of(message_fields(V2)), V2).event
    other = parse(bytes_of(message_fields(V2, depth=8)), V2).event
    assert one == other


def test_events_do_not_change() -> None:
    event = parse(bytes_of(message_fields(V3)), V3).event
    with pytest.raises(AttributeError):
        event.depth = 8  # type: ignore[misc]
    assert repr(event) == f"Event({event.event_id}, m.room.message)"


def test_what_is_kept_takes_little_more_memory_than_its_bytes() -> None:
    """Hundreds of thousands of events are held while a large room is joined."""
    raw = json.dumps(message_fields(V11)).encode()
    tracemalloc.start()
    try:
        kept = [parse_any(raw, V11).event.json for _ in range(100)]
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 2 * sum(map(len, kept))
