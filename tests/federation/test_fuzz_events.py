"""Whatever comes in: it is an event or a `FederationError`, and an event stays one.

The bytes are random, or those of an event in which one thing is not as it should be.
"""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from federation.building import add_signature
from federation.canonical_json import JsonObject
from federation.decision import Denied
from federation.errors import FederationError
from federation.events import Event, Pdu, load, parse, redacted
from federation.identifiers import KeyID, ServerName
from federation.room_versions import RoomVersion
from federation.server_keys import Keys, ServerKey
from federation.signatures import required_signers, verified, wanted_keys
from federation.signing import VerifyKey
from tests.federation.rooms import (
    ALL_VERSIONS,
    ANN,
    BOB,
    bytes_of,
    fields_of,
    keys_of,
    message_fields,
    sealed,
    signer,
)

VERSIONS = st.sampled_from(ALL_VERSIONS)

_SIGNED = {"mxid": BOB, "token": "t", "signatures": {"id.test": {"ed25519:0": "A" * 86}}}
_EVENTS: tuple[JsonObject, ...] = (
    {"unsigned": {"age": 1}, "origin": "one.test"},
    {
        "type": "m.room.member",
        "state_key": BOB,
        "content": {
            "membership": "invite",
            "third_party_invite": {"display_name": "b", "signed": _SIGNED},
        },
    },
    {
        "type": "m.room.member",
        "state_key": ANN,
        "content": {"membership": "join", "join_authorised_via_users_server": BOB},
    },
    {"type": "m.room.redaction", "redacts": "$old", "content": {"redacts": "$old", "reason": "r"}},
    {
        "type": "m.room.power_levels",
        "state_key": "",
        "content": {"users": {ANN: 100}, "ban": "50", "invite": 0, "notifications": {"room": 50}},
    },
    {
        "type": "m.room.create",
        "state_key": "",
        "content": {"creator": ANN, "room_version": "1", "predecessor": {"room_id": "!r"}},
        "prev_events": [],
        "auth_events": [],
    },
)

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**53, -(2**53), 2**63 - 1, 2**63, -(2**63), 2**64, 10**400])
    | st.floats()
    | st.text(st.characters(), max_size=10)  # lone surrogates too
    | st.sampled_from([ANN, "@:", "!r:one.test", "$e", "m.room.create", "m.room.member", "\0"])
    | st.integers(250, 260).map(lambda size: "@" + "é" * (size // 2))
)
JSON = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def events(draw: st.DrawFn, version: RoomVersion) -> JsonObject:
    """A good event, signed by two servers."""
    changed = draw(st.sampled_from(_EVENTS))
    fields = message_fields(version, **changed)
    if version.room_id_is_create_id and fields["type"] == "m.room.create":
        del fields["room_id"]
    return sealed(fields, version, "one.test", "two.test")


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a JSON value with each of its keys or indices."""
    keys = value if isinstance(value, dict) else range(len(value) if type(value) is list else 0)
    for key in list(keys):
        yield value, key
        yield from _places(value[key])


@st.composite
def mutants(draw: st.DrawFn, version: RoomVersion) -> JsonObject:
    """An event with one thing in it dropped, replaced, wrapped, repeated or renamed."""
    fields = deepcopy(draw(events(version)))
    container, key = draw(st.sampled_from(list(_places(fields))))
    value = container[key]
    match draw(st.sampled_from(["drop", "replace", "wrap", "name", "repeat", "rename", "add"])):
        case "drop":
            del container[key]
        case "replace":
            container[key] = draw(JSON)
        case "wrap":
            container[key] = [value]
        case "name":
            container[key] = {"sha256": value}
        case "repeat":
            container[key] = [value] * draw(st.integers(0, 22))
        case "rename" if isinstance(container, dict):
            container[draw(st.text(st.characters(), max_size=5))] = container.pop(key)
        case _:
            fields[draw(st.text(max_size=5) | st.sampled_from(_TOP_LEVEL))] = draw(JSON)
    return fields


_TOP_LEVEL = ("event_id", "room_id", "state_key", "redacts", "membership", "unsigned", "prev_state")


@st.composite
def keys(draw: st.DrawFn) -> Keys:
    """The right keys or any; a public key need not be a point of the curve."""
    if draw(st.booleans()):
        return keys_of("one.test", "two.test")
    key = st.builds(
        ServerKey, st.binary(min_size=32, max_size=32).map(VerifyKey), st.integers(), st.booleans()
    )
    ids = st.sampled_from([KeyID("ed25519:1"), KeyID("ed25519:0"), KeyID("")])
    servers = st.sampled_from([ServerName("one.test"), ServerName("two.test"), ServerName("")])
    return draw(st.dictionaries(servers, st.dictionaries(ids, key, max_size=2), max_size=2))


def parsed(raw: bytes, version: RoomVersion) -> Pdu | None:
    """The event, or `None` where there is none; anything but our errors escapes."""
    try:
        return parse(raw, version)
    except FederationError:
        return None


def as_sent(fields: JsonObject) -> bytes:
    """JSON in the library's own way: NaN, floats and lone surrogates included."""
    return json.dumps(fields).encode()


@given(VERSIONS, st.binary(max_size=200))
def test_random_bytes_are_no_event(version: RoomVersion, raw: bytes) -> None:
    assert parsed(raw, version) is None


@given(VERSIONS, st.dictionaries(st.sampled_from([*message_fields(ALL_VERSIONS[0])]), JSON))
def test_random_objects(version: RoomVersion, fields: JsonObject) -> None:
    _check_what_parses(as_sent(fields), version, {})


@given(st.data(), VERSIONS, st.integers(0), st.integers(0, 3), st.binary(max_size=3))
def test_damaged_bytes(
    data: st.DataObject, version: RoomVersion, at: int, drop: int, insert: bytes
) -> None:
    """An event some bytes of which were lost or replaced underway."""
    raw = bytes_of(data.draw(events(version)))
    at %= len(raw)
    damaged = raw[:at] + insert + raw[at + drop :]
    _check_what_parses(damaged, version, keys_of("one.test", "two.test"))


@given(st.data(), VERSIONS)
def test_mutants(data: st.DataObject, version: RoomVersion) -> None:
    raw = as_sent(data.draw(mutants(version)))
    _check_what_parses(raw, version, data.draw(keys()))


@given(st.data(), VERSIONS)
def test_mutants_that_are_signed(data: st.DataObject, version: RoomVersion) -> None:
    """The same, but somebody signs what they send: more of it gets through."""
    mutant = data.draw(mutants(version))
    pdu = parsed(as_sent(mutant), version)
    if pdu is None:
        return
    signed = add_signature(fields_of(pdu.event), version, signer("one.test"))
    assert signed == pdu.event
    _check_what_parses(signed.json, version, keys_of("one.test", "two.test"))


@given(st.data(), VERSIONS)
def test_what_the_mutants_were(data: st.DataObject, version: RoomVersion) -> None:
    """Without a mutation they are good, so that it is the mutation that the others try."""
    pdu = parse(bytes_of(data.draw(events(version))), version)
    assert verified(pdu, keys_of("one.test", "two.test")) is pdu.event


def _check_what_parses(raw: bytes, version: RoomVersion, known: Keys) -> None:
    pdu = parsed(raw, version)
    if pdu is None:
        return
    event = pdu.event
    assert event.json == raw
    assert load(raw, event.event_id, version).content == event.content
    _check_redacted(pdu)
    signers = required_signers(event) | required_signers(redacted(event))
    assert {server for server, _ in wanted_keys(pdu)} <= signers
    found = verified(pdu, known)
    assert isinstance(found, Denied) or found == event
    assert repr(event)


def _check_redacted(pdu: Pdu) -> None:
    """Redacted and written again it is the same event, and its signatures are as good."""
    event = pdu.event
    stripped = redacted(event)
    again = parse(stripped.json, event.version)
    assert again.event == stripped == event
    assert again.signed == pdu.signed
    assert again.signatures == pdu.signatures
    for name in Event.__struct_fields__:
        assert getattr(again.event, name) == getattr(stripped, name)
    canonical = parse(bytes_of(fields_of(event)), event.version)
    assert canonical.event == event
    assert canonical.content_hash_matches is pdu.content_hash_matches
