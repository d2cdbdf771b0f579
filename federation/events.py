"""Events: from bytes to a value, and no further.

`parse` is check 1 on receipt of a PDU: the bytes are an event of the room version's format. It
knows no keys and no rules. What it returns is a `Pdu`: an event whose signatures and content hash
are still to be judged (`federation.signatures`). An `Event` is what everything else works with.

https://spec.matrix.org/v1.19/server-server-api/#pdus
https://spec.matrix.org/v1.19/client-server-api/#size-limits
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from federation import canonical_json
from federation.canonical_json import JsonObject
from federation.errors import (
    CanonicalJSONError,
    EventFormatError,
    EventSizeError,
    IdentifierError,
    KeyFormatError,
)
from federation.hashing import content_hash, essential_bytes, event_id_of
from federation.identifiers import (
    MAX_BYTES,
    EventID,
    RoomID,
    UserID,
    parse_event_id,
    parse_room_id,
    parse_user_id,
)
from federation.redaction import redact
from federation.room_versions import EventIDFormat, RoomVersion
from federation.signing import decode_base64

MAX_EVENT_BYTES = 65_536
MAX_PREV_EVENTS = 20
MAX_AUTH_EVENTS = 10
_MAX_INT64 = 2**63 - 1

StateKey = tuple[str, str]
"""Event type and state key: what an entry of the room state is found by."""

StateMap = Mapping[StateKey, "Event"]

Signatures = Mapping[str, Mapping[str, str]]
"""Server name to key ID to signature in base64."""


STICKY = "msc4354_sticky"
"""Where an event says how it sticks: beside its content."""


class Event(msgspec.Struct, frozen=True, eq=False, dict=False, gc=False):
    """One event of a room, immutable; two are the same if their IDs are.

    `content` is a plain dict that nobody may change.
    """

    version: RoomVersion
    event_id: EventID
    room_id: RoomID
    """Of a version 12 create event: made from its own ID."""
    type: str
    state_key: str | None
    """`None`: not a state event."""
    sender: UserID
    content: JsonObject
    origin_server_ts: int
    """Milliseconds since the epoch, as the sender's server claims."""
    depth: int
    prev_events: tuple[EventID, ...]
    auth_events: tuple[EventID, ...]
    redacts: EventID | None
    """What a redaction is about, from where this room version keeps it."""
    json: bytes
    """The event in federation format, as it was received or made."""
    sticky: JsonObject | None = None
    """What it says of how it sticks, right or not; see `federation.sticky`."""

    @property
    def membership(self) -> str | None:
        """`content.membership` where it is a string."""
        found = self.content.get("membership")
        return found if isinstance(found, str) else None

    @property
    def is_state(self) -> bool:
        """Whether the event has a state key, be it empty."""
        return self.state_key is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and self.event_id == other.event_id

    def __hash__(self) -> int:
        return hash(self.event_id)

    def __repr__(self) -> str:
        return f"Event({self.event_id}, {self.type})"


class Pdu(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A well-formed event that nobody vouches for yet."""

    event: Event
    signed: bytes
    """What its signatures cover."""
    signatures: Signatures
    content_hash_matches: bool


def parse(raw: bytes, version: RoomVersion) -> Pdu:
    """Read an event in the federation format of its room version.

    Raises:
        CanonicalJSONError: not JSON, or not JSON that this room version allows.
        EventFormatError: a field is missing, has another type, or is no identifier.
        EventSizeError: the event or one of its keys is too large.

    """
    fields = canonical_json.decode_object(raw, strict=version.strict_json)
    return _parsed(fields, raw, version)


def parse_any(raw: bytes, version: RoomVersion) -> Pdu:
    """Read an event that need not be written canonically; its `json` is then. Errors as `parse`."""
    fields = canonical_json.decode_object(raw, strict=version.strict_json)
    canonical = canonical_json.encode_to_keep(fields, strict=version.strict_json)
    return _parsed(fields, canonical, version)


def parse_object(fields: JsonObject, version: RoomVersion) -> Pdu:
    """Read an event that was decoded already; its `json` is canonical then. Errors as `parse`."""
    if version.strict_json:
        canonical_json.check_strict(fields)
    canonical = canonical_json.encode_to_keep(fields, strict=version.strict_json)
    return _parsed(fields, canonical, version)


def _parsed(fields: JsonObject, raw: bytes, version: RoomVersion) -> Pdu:
    check_format(fields, version)
    check_size(fields, raw, version)
    signed = essential_bytes(fields, version)
    event = assemble(fields, raw, signed, version)
    return Pdu(event, signed, fields["signatures"], _hash_matches(fields, version))


def assemble(fields: JsonObject, raw: bytes, signed: bytes, version: RoomVersion) -> Event:
    """The event of fields that passed `check_format`; `signed` is their `essential_bytes`."""
    sent = version.event_ids is EventIDFormat.SENT
    event_id = EventID(fields["event_id"]) if sent else event_id_of(signed, version)
    return _event(fields, raw, version, event_id)


def load(raw: bytes, event_id: EventID, version: RoomVersion) -> Event:
    """Read an event that was checked before it was stored; no hash is computed."""
    fields = canonical_json.decode_checked(raw, strict=version.strict_json)
    return _event(fields, raw, version, event_id)


def redacted(event: Event) -> Event:
    """The event as a redaction leaves it, under its old ID."""
    fields = canonical_json.decode_object(event.json, strict=event.version.strict_json)
    kept = redact(fields, event.version)
    raw = canonical_json.encode_to_keep(kept, strict=event.version.strict_json)
    return _event(kept, raw, event.version, event.event_id)


def _event(fields: JsonObject, raw: bytes, version: RoomVersion, event_id: EventID) -> Event:
    room_id = fields.get("room_id")
    content = fields["content"]
    redacts = content.get("redacts") if version.redacts_in_content else fields.get("redacts")
    with_hashes = version.event_ids is EventIDFormat.SENT
    return Event(
        version,
        event_id,
        RoomID(room_id if room_id is not None else "!" + event_id[1:]),
        fields["type"],
        fields.get("state_key"),
        UserID(fields["sender"]),
        content,
        fields["origin_server_ts"],
        fields["depth"],
        _ids(fields["prev_events"], with_hashes),
        _ids(fields["auth_events"], with_hashes),
        EventID(redacts) if isinstance(redacts, str) and "\0" not in redacts else None,
        raw,
        sticky if isinstance(sticky := fields.get(STICKY), dict) else None,
    )


def _ids(references: list[Any], with_hashes: bool) -> tuple[EventID, ...]:
    return tuple([r[0] for r in references] if with_hashes else references)


def _hash_matches(fields: JsonObject, version: RoomVersion) -> bool:
    try:
        return decode_base64(fields["hashes"]["sha256"]) == content_hash(fields, version)
    except KeyFormatError:
        return False


_REQUIRED: tuple[tuple[str, type], ...] = (
    ("type", str),
    ("sender", str),
    ("content", dict),
    ("origin_server_ts", int),
    ("depth", int),
    ("prev_events", list),
    ("auth_events", list),
    ("hashes", dict),
    ("signatures", dict),
)


def check_format(fields: JsonObject, version: RoomVersion) -> None:
    """Refuse fields that are no event of this room version; errors as `parse`.

    https://spec.matrix.org/v1.19/rooms/v12/#event-format and its likes
    """
    for key, kind in _REQUIRED:
        if type(fields.get(key)) is not kind:
            raise EventFormatError(f"{key} is missing or not of the right type")
    if "state_key" in fields and type(fields["state_key"]) is not str:
        raise EventFormatError("state_key is not a string")
    # Nobody with an SQL database could look the entry up; there it was refused always.
    if "state_key" in fields and "\0" in fields["type"] + fields["state_key"]:
        raise EventFormatError("NUL in what names an entry of the state")
    if "unsigned" in fields and type(fields["unsigned"]) is not dict:
        raise EventFormatError("unsigned is not an object")
    # "Must be less than the maximum value for an integer"; strict JSON has its own limit.
    if not 0 <= fields["depth"] <= _MAX_INT64:
        raise EventFormatError("depth is out of range")
    # "format: int64"
    if not -_MAX_INT64 - 1 <= fields["origin_server_ts"] <= _MAX_INT64:
        raise EventFormatError("origin_server_ts is out of range")
    if type(fields["hashes"].get("sha256")) is not str:
        raise EventFormatError("hashes has no sha256")
    _check_signatures(fields["signatures"])
    _check_references(fields["prev_events"], MAX_PREV_EVENTS, version)
    _check_references(fields["auth_events"], MAX_AUTH_EVENTS, version)
    _check_key_sizes(fields)
    _check_identifiers(fields, version)


def _check_signatures(signatures: JsonObject) -> None:
    for by_key in signatures.values():
        if type(by_key) is not dict or not all(type(s) is str for s in by_key.values()):
            raise EventFormatError("signatures is not an object of objects of strings")


def _check_references(references: list[Any], most: int, version: RoomVersion) -> None:
    if len(references) > most:
        raise EventFormatError(f"{len(references)} references, at most {most} are allowed")
    if version.event_ids is EventIDFormat.SENT:
        # "items: minItems: 2, maxItems: 2": event ID and hashes
        if not all(type(r) is list and len(r) == 2 for r in references):
            raise EventFormatError("a reference is not a pair of event ID and hashes")
        references = [r[0] for r in references]
    # No event can have such an ID; and NUL could not be looked up.
    if not all(type(r) is str and "\0" not in r for r in references):
        raise EventFormatError("a reference is not an event ID")


def _check_key_sizes(fields: JsonObject) -> None:
    for key in ("type", "state_key"):
        value = fields.get(key)
        if value is not None and len(value) * 4 > MAX_BYTES and _size(value) > MAX_BYTES:
            raise EventSizeError(f"{key} exceeds {MAX_BYTES} bytes")


def _size(text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise CanonicalJSONError("a lone surrogate") from error


def _check_identifiers(fields: JsonObject, version: RoomVersion) -> None:
    try:
        parse_user_id(fields["sender"])
        if not (version.room_id_is_create_id and _is_create_without_room_id(fields)):
            parse_room_id(_string(fields, "room_id"))
        if version.event_ids is EventIDFormat.SENT:
            parse_event_id(_string(fields, "event_id"))
        # "When events are sent over federation, the event_id field is no longer included." One that
        # is would be part of the hash that makes the ID; other servers refuse it.
        elif "event_id" in fields:
            raise EventFormatError("an event_id, where IDs are hashes")
    except IdentifierError as error:
        raise EventFormatError(str(error)) from error


def _is_create_without_room_id(fields: JsonObject) -> bool:
    is_create = fields["type"] == "m.room.create" and fields.get("state_key") == ""
    return is_create and "room_id" not in fields


def _string(fields: JsonObject, key: str) -> str:
    value = fields.get(key)
    if type(value) is not str:
        raise EventFormatError(f"{key} is missing or not a string")
    return value


def check_size(fields: JsonObject, raw: bytes, version: RoomVersion) -> None:
    """Refuse an event that is too large; `raw` is how it came, or is to be sent.

    Raises:
        EventSizeError: its canonical form exceeds `MAX_EVENT_BYTES`.

    """
    # Strict canonical JSON is never longer than what was sent; floats may be.
    if len(raw) <= MAX_EVENT_BYTES and version.strict_json:
        return
    size = len(canonical_json.encode(fields, strict=version.strict_json))
    if size > MAX_EVENT_BYTES:
        raise EventSizeError(f"the event exceeds {MAX_EVENT_BYTES} bytes: {size}")
