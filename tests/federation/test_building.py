"""Making events that every server accepts.

https://spec.matrix.org/v1.19/server-server-api/#adding-hashes-and-signatures-to-outgoing-events
"""

import base64
import hashlib
import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import canonicaljson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.building import Draft, Place, Signer, add_signature, build, sign_event, template
from federation.canonical_json import JsonObject, encode, without
from federation.errors import CanonicalJSONError, EventFormatError, EventSizeError, FederationError
from federation.events import MAX_EVENT_BYTES, Event, load, parse
from federation.hashing import essential_bytes
from federation.identifiers import EventID, RoomID, ServerName
from federation.redaction import redact
from federation.room_versions import (
    ROOM_VERSIONS,
    V2,
    V3,
    V6,
    V8,
    V10,
    V11,
    V12,
    EventIDFormat,
    RoomVersion,
)
from federation.signatures import verified
from federation.signing import SigningKey, decode_base64
from tests.federation.rooms import (
    ALL_VERSIONS,
    ANN,
    BOB,
    Room,
    bytes_of,
    fields_of,
    keys_of,
    message_fields,
    signer,
)

ALL = pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda v: f"v{v.name}")
WITH_SENT_IDS = [v for v in ALL_VERSIONS if v.event_ids is EventIDFormat.SENT]
LENIENT = [v for v in ALL_VERSIONS if not v.strict_json]
STRICT = [v for v in ALL_VERSIONS if v.strict_json]

ROOM = RoomID("!room:one.test")
ONE, TWO = signer("one.test"), signer("two.test")
KEYS = keys_of("one.test", "two.test")


def draft(content: Any = None, **changed: Any) -> Draft:
    plain = Draft("m.room.message", ANN, {"body": "hi"} if content is None else content, None, ROOM)
    return replace(plain, **changed)


def made(what: Draft, version: RoomVersion, place: Place | None = None) -> Event:
    return build(what, place or Place(), version, ONE, now=5, opaque_id="o")


# The specification's vectors

DOMAIN = Signer(
    ServerName("domain"),
    SigningKey.from_seed("ed25519:1", decode_base64("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1")),
)


@pytest.mark.parametrize("name", ["3", "4", "5", "6", "7", "8", "9", "10"])
def test_the_specifications_minimal_event(name: str) -> None:
    """Without an ID of its own it is an event since version 3; version 11 forgets its `origin`."""
    fields: JsonObject = {
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
    signature = (
        "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg"
    )
    assert fields_of(sign_event(fields, ROOM_VERSIONS[name], DOMAIN)) == {
        **fields,
        "hashes": {"sha256": "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos"},
        "signatures": {"domain": {"ed25519:1": signature}},
    }


@pytest.mark.parametrize("name", ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"])
def test_the_specifications_redactable_event(name: str) -> None:
    """Without `depth` and parents it is no event of any version, but signed it can be."""
    fields: JsonObject = {
        "content": {"body": "Here is the message content"},
        "event_id": "$0:domain",
        "hashes": {"sha256": "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g"},
        "origin": "domain",
        "origin_server_ts": 1000000,
        "type": "m.room.message",
        "room_id": "!r:domain",
        "sender": "@u:domain",
        "signatures": {},
        "unsigned": {"age_ts": 1000000},
    }
    version = ROOM_VERSIONS[name]
    assert DOMAIN.key.sign(essential_bytes(fields, version)) == (
        "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA"
    )
    with pytest.raises(EventFormatError):
        sign_event(fields, version, DOMAIN)


# There and back


@ALL
def test_what_is_built_is_an_event(version: RoomVersion) -> None:
    room = Room(version)
    room.join(BOB)
    room.send("m.room.message", BOB, {"body": "hé\0 😀"})
    room.send("m.room.redaction", ANN, {"reason": "r"}, redacts=room.tips[0].event_id)
    for event in room.events.values():
        pdu = parse(event.json, version)
        found = verified(pdu, KEYS)
        assert isinstance(found, Event)
        assert pdu.content_hash_matches
        for name in Event.__struct_fields__:
            assert getattr(found, name) == getattr(event, name), name
        assert event.json == encode(fields_of(event), strict=version.strict_json)


@ALL
def test_what_a_draft_becomes(version: RoomVersion) -> None:
    room = Room(version)
    place = Place([room.create, *room.tips], [room.create])
    member = draft({"membership": "join"}, type="m.room.member", sender=BOB, state_key=BOB)
    event = build(
        replace(member, room_id=room.room_id), place, version, TWO, now=123, opaque_id="o"
    )
    assert (event.type, event.sender, event.state_key) == ("m.room.member", BOB, BOB)
    assert (event.room_id, event.content) == (room.room_id, {"membership": "join"})
    assert event.origin_server_ts == 123
    assert event.prev_events == (room.create.event_id, room.tips[0].event_id)
    assert event.auth_events == (room.create.event_id,)
    assert event.depth == room.tips[0].depth + 1
    assert fields_of(event).keys() == {
        *("type", "sender", "state_key", "room_id", "content", "origin_server_ts", "depth"),
        *("prev_events", "auth_events", "hashes", "signatures"),
        *(["event_id"] if version in WITH_SENT_IDS else []),
    }


@ALL
def test_a_message_has_no_state_key(version: RoomVersion) -> None:
    assert "state_key" not in fields_of(made(draft(), version))


@ALL
def test_what_a_redaction_names_stands_where_the_version_has_it(version: RoomVersion) -> None:
    content = {"reason": "r"}
    fields = fields_of(made(draft(content, redacts=EventID("$old")), version))
    assert content == {"reason": "r"}
    if version in (V11, V12):
        assert "redacts" not in fields
        assert fields["content"] == {"reason": "r", "redacts": "$old"}
    else:
        assert fields["redacts"] == "$old"
        assert fields["content"] == {"reason": "r"}


@ALL
def test_only_a_create_event_of_version_12_may_lack_the_room(version: RoomVersion) -> None:
    create = draft({}, type="m.room.create", state_key="", room_id=None)
    if version is V12:
        assert made(create, version).room_id == "!" + made(create, version).event_id[1:]
    else:
        with pytest.raises(EventFormatError):
            made(create, version)
    with pytest.raises(EventFormatError):
        made(draft(room_id=None), version)


@ALL
def test_content_may_be_any_mapping(version: RoomVersion) -> None:
    assert made(draft(MappingProxyType({"body": "hi"})), version).content == {"body": "hi"}


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
)


@given(
    version=st.sampled_from(ALL_VERSIONS),
    kind=st.sampled_from(["m.room.message", "m.room.member", "m.room.create", "m.room.redaction"]),
    content=st.dictionaries(_TEXT, _JSON, max_size=4),
    # What names an entry of the state holds no NUL.
    state_key=st.none() | _TEXT.filter(lambda text: "\0" not in text),
    now=st.integers(0, 2**53 - 1),
)
def test_any_content_comes_back(
    version: RoomVersion, kind: str, content: JsonObject, state_key: str | None, now: int
) -> None:
    what = draft(content, type=kind, state_key=state_key)
    event = build(what, Place(), version, ONE, now=now, opaque_id="o")
    pdu = parse(event.json, version)
    assert pdu.content_hash_matches
    assert pdu.event == event
    assert pdu.event.content == content
    assert event.json == canonicaljson.encode_canonical_json(fields_of(event))


# The graph


@pytest.mark.parametrize("version", WITH_SENT_IDS, ids=lambda v: f"v{v.name}")
def test_parents_of_versions_1_and_2_are_cited_with_their_hashes(version: RoomVersion) -> None:
    room = Room(version)
    [parent] = room.tips
    event = room.send("m.room.topic", ANN, {"topic": "t"}, "")
    covered = without(redact(fields_of(parent), version), "signatures")
    digest = hashlib.sha256(canonicaljson.encode_canonical_json(covered)).digest()
    sha256 = base64.b64encode(digest).decode().rstrip("=")
    fields = fields_of(event)
    assert fields["prev_events"] == [[parent.event_id, {"sha256": sha256}]]
    assert [e for e, _ in fields["auth_events"]] == list(event.auth_events)
    assert event.auth_events


@pytest.mark.parametrize(
    "version", [v for v in ALL_VERSIONS if v not in WITH_SENT_IDS], ids=lambda v: f"v{v.name}"
)
def test_parents_since_version_3_are_cited_by_id(version: RoomVersion) -> None:
    room = Room(version)
    [parent] = room.tips
    event = room.send("m.room.topic", ANN, {"topic": "t"}, "")
    assert fields_of(event)["prev_events"] == [parent.event_id]


def _at_depth(version: RoomVersion, depth: int) -> Event:
    return parse(bytes_of(message_fields(version, depth=depth)), version).event


@ALL
@pytest.mark.parametrize(
    ("parents", "depth"), [([], 1), ([0], 1), ([1], 2), ([7, 3], 8), ([2**53 - 2], 2**53 - 1)]
)
def test_depth_is_one_more_than_the_deepest_parents(
    version: RoomVersion, parents: list[int], depth: int
) -> None:
    place = Place([_at_depth(version, parent) for parent in parents])
    assert place.depth == depth
    assert made(draft(), version, place).depth == depth


@pytest.mark.parametrize("version", STRICT, ids=lambda v: f"v{v.name}")
def test_depth_stays_at_its_limit(version: RoomVersion) -> None:
    """ "If the room's depth is already at the limit, the depth must be set to the limit."."""
    place = Place([_at_depth(version, 2**53 - 1), _at_depth(version, 3)])
    assert made(draft(), version, place).depth == 2**53 - 1


@pytest.mark.parametrize("version", LENIENT, ids=lambda v: f"v{v.name}")
@pytest.mark.parametrize(
    ("parent", "depth"),
    [(2**53 - 2, 2**53 - 1), (2**53 - 1, 2**53 - 1), (2**63 - 1, 2**53 - 1)],
)
def test_depth_of_old_rooms_has_the_limit_of_new_ones(
    version: RoomVersion, parent: int, depth: int
) -> None:
    """Up to version 5 the format would allow more, but Synapse does not take it."""
    assert made(draft(), version, Place([_at_depth(version, parent)])).depth == depth


@ALL
def test_too_many_parents(version: RoomVersion) -> None:
    events = [_at_depth(version, depth) for depth in range(21)]
    assert len(made(draft(), version, Place(events[:20], events[:10])).prev_events) == 20
    for place in (Place(events), Place([], events[:11])):
        with pytest.raises(EventFormatError):
            made(draft(), version, place)


# IDs


@pytest.mark.parametrize("version", WITH_SENT_IDS, ids=lambda v: f"v{v.name}")
def test_versions_1_and_2_need_a_string_of_ours(version: RoomVersion) -> None:
    assert made(draft(), version).event_id == "$o:one.test"
    with pytest.raises(EventFormatError):
        build(draft(), Place(), version, ONE, now=5)


@pytest.mark.parametrize(
    "version", [v for v in ALL_VERSIONS if v not in WITH_SENT_IDS], ids=lambda v: f"v{v.name}"
)
def test_later_versions_need_none(version: RoomVersion) -> None:
    assert build(draft(), Place(), version, ONE, now=5) == made(draft(), version)


# What cannot be sent


@ALL
@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"a": math.nan}, CanonicalJSONError),
        ({"a": math.inf}, CanonicalJSONError),
        ({"a": ["\ud800"]}, CanonicalJSONError),
        ({"\udfff": 1}, CanonicalJSONError),
        ({"a": object()}, CanonicalJSONError),
        ({"a": {1, 2}}, CanonicalJSONError),
        ({"a": "x" * MAX_EVENT_BYTES}, EventSizeError),
        ({"a": ["x" * 1000] * 66}, EventSizeError),
    ],
    ids=["nan", "infinity", "surrogate", "surrogate key", "object", "set", "long", "many"],
)
def test_contents_that_cannot_be_sent(
    version: RoomVersion, content: JsonObject, error: type[FederationError]
) -> None:
    with pytest.raises(error):
        made(draft(content), version)


@pytest.mark.parametrize("value", [1.5, 1.0, 2**53, -(2**53), 10**30], ids=repr)
@pytest.mark.parametrize("where", [lambda v: {"a": v}, lambda v: {"a": [{"b": [v]}]}])
def test_numbers_beyond_canonical_json(value: Any, where: Callable[[Any], JsonObject]) -> None:
    for version in STRICT:
        with pytest.raises(CanonicalJSONError):
            made(draft(where(value)), version)
    for version in LENIENT:
        assert parse(made(draft(where(value)), version).json, version).content_hash_matches


@ALL
@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"type": "x" * 256}, EventSizeError),
        ({"state_key": "é" * 128}, EventSizeError),
        ({"sender": "ann"}, EventFormatError),
        ({"sender": "@" + "a" * 255 + ":one.test"}, EventFormatError),
        ({"room_id": "room"}, EventFormatError),
    ],
    ids=["type", "state_key", "sender", "long sender", "room_id"],
)
def test_fields_that_cannot_be_sent(
    version: RoomVersion, changed: JsonObject, error: type[FederationError]
) -> None:
    with pytest.raises(error):
        made(draft(**changed), version)


@ALL
def test_the_largest_event_is_sent(version: RoomVersion) -> None:
    """The limit is met with hash and signature; the next byte is too much."""
    spare = MAX_EVENT_BYTES - len(made(draft({"body": ""}), version).json)
    assert len(made(draft({"body": "x" * spare}), version).json) == MAX_EVENT_BYTES
    with pytest.raises(EventSizeError):
        made(draft({"body": "x" * (spare + 1)}), version)


# Signing what others began


@ALL
def test_adding_a_signature_changes_nothing_else(version: RoomVersion) -> None:
    """As a server does that is asked to vouch for an event: with no hash of its own."""
    theirs = made(draft(), version)
    before = {**fields_of(theirs), "unsigned": {"invite_room_state": []}}
    event = add_signature(before, version, TWO)
    after = fields_of(event)
    assert event.event_id == theirs.event_id
    assert after["signatures"].keys() == {"one.test", "two.test"}
    assert after["signatures"]["one.test"] == before["signatures"]["one.test"]
    assert without(after, "signatures") == without(before, "signatures")
    assert before["signatures"].keys() == {"one.test"}
    assert parse(event.json, version).content_hash_matches


@ALL
def test_a_server_may_sign_with_two_keys(version: RoomVersion) -> None:
    second = Signer(ONE.server, SigningKey.from_seed("ed25519:2", bytes(32)))
    first = fields_of(made(draft(), version))
    before = deepcopy(first)
    both = fields_of(add_signature(first, version, second))["signatures"]["one.test"]
    assert both.keys() == {"ed25519:1", "ed25519:2"}
    assert both["ed25519:1"] == before["signatures"]["one.test"]["ed25519:1"]
    assert first == before


def test_the_authoriser_of_a_restricted_join_signs_too() -> None:
    content = {"membership": "join", "join_authorised_via_users_server": BOB}
    for version in ALL_VERSIONS[ALL_VERSIONS.index(V8) :]:
        joining = made(draft(content, type="m.room.member", state_key=ANN), version)
        assert not isinstance(verified(parse(joining.json, version), KEYS), Event)
        vouched = add_signature(fields_of(joining), version, TWO)
        assert isinstance(verified(parse(vouched.json, version), KEYS), Event)


@ALL
def test_a_signature_does_not_mend_an_event(version: RoomVersion) -> None:
    with pytest.raises(EventFormatError):
        add_signature({**fields_of(made(draft(), version)), "depth": -1}, version, TWO)
    wrong = {**fields_of(made(draft(), version)), "content": {"body": "changed"}}
    assert not parse(add_signature(wrong, version, TWO).json, version).content_hash_matches


@ALL
def test_sign_event_replaces_the_hash(version: RoomVersion) -> None:
    fields = {**fields_of(made(draft(), version)), "content": {"body": "changed"}}
    fields["signatures"] = {}
    pdu = parse(sign_event(fields, version, ONE).json, version)
    assert pdu.content_hash_matches
    assert isinstance(verified(pdu, KEYS), Event)


def _template(version: RoomVersion) -> JsonObject:
    content = {"membership": "join"}
    joining = draft(content, type="m.room.member", sender=BOB, state_key=BOB)
    room = Room(version)
    return template(
        replace(joining, room_id=room.room_id), Place(room.tips, [room.create]), version, 7
    )


@ALL
def test_templates_are_events_but_for_hash_and_signature(version: RoomVersion) -> None:
    room = Room(version)
    place = Place(room.tips, [room.create])
    what = draft({"membership": "knock"}, type="m.room.member", sender=BOB, state_key=BOB)
    event = build(what, place, version, TWO, now=7, opaque_id="o")
    found = template(what, place, version, 7)
    assert found == without(fields_of(event), "hashes", "signatures", "event_id")


@ALL
def test_the_joining_server_signs_a_template(version: RoomVersion) -> None:
    """What `make_join` answers, once it is signed, is what `send_join` sends."""
    fields = _template(version)
    if version in WITH_SENT_IDS:
        fields["event_id"] = "$join:two.test"
    event = sign_event(fields, version, TWO)
    pdu = parse(event.json, version)
    assert pdu.content_hash_matches
    assert isinstance(verified(pdu, keys_of("two.test")), Event)


@pytest.mark.parametrize(
    "changed",
    [
        {"signatures": []},
        {"signatures": None},
        {"signatures": {"one.test": "x"}},
        {"signatures": {"one.test": [1]}},
        {"signatures": {"two.test": {"ed25519:2": 1}}},
        {"content": ["membership"]},
        {"content": "membership"},
        {"content": None},
        {"type": None},
        {"depth": "7"},
        {"prev_events": None},
    ],
    ids=repr,
)
def test_templates_that_are_none(changed: JsonObject) -> None:
    """They come from the server that is asked to let us in, which can be any."""
    for version in ALL_VERSIONS:
        fields = {**_template(version), "signatures": {}}
        if version in WITH_SENT_IDS:
            fields["event_id"] = "$join:two.test"
        sign_event(fields, version, TWO)
        with pytest.raises(FederationError):
            sign_event({**fields, **changed}, version, TWO)


def test_events_are_loaded_as_they_were_built() -> None:
    for version in (V2, V3, V6, V10):
        event = made(draft(), version)
        assert load(event.json, event.event_id, version).content == event.content
