"""Making events: put together, hashed, signed.

Which parents, auth events and depth an event gets is the caller's knowledge; here is only how they
become bytes that every server accepts.

https://spec.matrix.org/v1.19/server-server-api/#adding-hashes-and-signatures-to-outgoing-events
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from federation import canonical_json
from federation.canonical_json import MAX_INTEGER, JsonObject, without
from federation.errors import EventFormatError
from federation.events import STICKY, Event, assemble, check_format, check_size
from federation.hashing import content_hash, essential_bytes, reference_hash
from federation.identifiers import EventID, RoomID, ServerName, UserID
from federation.room_versions import EventIDFormat, RoomVersion
from federation.signing import SigningKey, encode_base64


@dataclass(frozen=True, slots=True)
class Draft:
    """What somebody wants to say, before it has a place in the graph."""

    type: str
    sender: UserID
    content: Mapping[str, Any]
    state_key: str | None = None
    room_id: RoomID | None = None
    """`None` only for the create event of a room whose ID is that event's."""
    redacts: EventID | None = None
    sticky: int | None = None
    """For how many milliseconds it sticks; see `federation.sticky`."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the graph an event goes."""

    prev_events: Sequence[Event] = ()
    auth_events: Sequence[Event] = ()

    @property
    def depth(self) -> int:
        """One more than the deepest parent's, up to the limit.

        "If the room's depth is already at the limit, the depth must be set to the limit."
        COMPAT(Synapse): it knows one limit for all room versions, that of canonical JSON.
        """
        return min(1 + max((e.depth for e in self.prev_events), default=0), MAX_INTEGER)


@dataclass(frozen=True, slots=True)
class Signer:
    """Our name and key."""

    server: ServerName
    key: SigningKey


def build(
    draft: Draft,
    place: Place,
    version: RoomVersion,
    signer: Signer,
    *,
    now: int,
    opaque_id: str = "",
) -> Event:
    """Make the event.

    Args:
        draft: what it says.
        place: its parents and its auth events, as `auth_events.select` picks them.
        version: of the room.
        signer: who signs.
        now: `origin_server_ts`, in milliseconds.
        opaque_id: a string no other event of ours has; needed in room versions 1 and 2 only.

    Raises:
        CanonicalJSONError, EventFormatError, EventSizeError: as `events.parse`.

    """
    fields = _fields(draft, place, version, now)
    if version.event_ids is EventIDFormat.SENT:
        if not opaque_id:
            raise EventFormatError("in this room version an event needs an opaque_id")
        fields["event_id"] = f"${opaque_id}:{signer.server}"
    return sign_event(fields, version, signer)


def sign_event(fields: JsonObject, version: RoomVersion, signer: Signer) -> Event:
    """Hash and sign an event given as its fields; the result's `json` is what to send.

    The fields may be somebody else's `template`; errors as `events.parse`.
    """
    if version.strict_json:
        canonical_json.check_strict(fields)
    hashes = {"sha256": encode_base64(content_hash(fields, version))}
    return add_signature({"signatures": {}, **fields, "hashes": hashes}, version, signer)


def add_signature(fields: JsonObject, version: RoomVersion, signer: Signer) -> Event:
    """Sign an event that carries its hash already, keeping the signatures it has.

    For servers that vouch for somebody else's event: an invited user's, or the authoriser's of a
    restricted join. Errors as `events.parse`.
    """
    check_format(fields, version)
    essential = essential_bytes(fields, version)
    signatures = {name: dict(by_key) for name, by_key in fields["signatures"].items()}
    signatures.setdefault(signer.server, {})[signer.key.key_id] = signer.key.sign(essential)
    signed = {**fields, "signatures": signatures}
    raw = canonical_json.encode_to_keep(signed, strict=version.strict_json)
    check_size(signed, raw, version)
    return assemble(signed, raw, essential, version)


def template(draft: Draft, place: Place, version: RoomVersion, now: int) -> JsonObject:
    """The unsigned event that `make_join` and its likes hand out for another server to sign.

    https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
    """
    return without(_fields(draft, place, version, now), "signatures")


def _fields(draft: Draft, place: Place, version: RoomVersion, now: int) -> JsonObject:
    fields: JsonObject = {
        "type": draft.type,
        "sender": draft.sender,
        "content": dict(draft.content),
        "origin_server_ts": now,
        "depth": place.depth,
        "prev_events": _references(place.prev_events, version),
        "auth_events": _references(place.auth_events, version),
        "signatures": {},
    }
    if draft.room_id is not None:
        fields["room_id"] = draft.room_id
    if draft.state_key is not None:
        fields["state_key"] = draft.state_key
    if draft.sticky is not None:
        fields[STICKY] = {"duration_ms": draft.sticky}
    if draft.redacts is not None:
        _set_redacts(fields, draft, version)
    return fields


def _set_redacts(fields: JsonObject, draft: Draft, version: RoomVersion) -> None:
    if version.redacts_in_content:
        fields["content"] = {**draft.content, "redacts": draft.redacts}
    else:
        fields["redacts"] = draft.redacts


def _references(events: Sequence[Event], version: RoomVersion) -> list[Any]:
    if version.event_ids is EventIDFormat.SENT:
        return [[e.event_id, {"sha256": _reference_hash(e)}] for e in events]
    return [e.event_id for e in events]


def _reference_hash(event: Event) -> str:
    strict = event.version.strict_json
    fields = canonical_json.decode_object(event.json, strict=strict)
    return encode_base64(reference_hash(essential_bytes(fields, event.version)))
