"""The two hashes of an event.

The *content hash* covers the whole event and stands inside it; the *reference hash* covers what a
redaction leaves, and is the event's ID since room version 3. Signatures cover the very bytes that
the reference hash does, so those are made once.

https://spec.matrix.org/v1.19/server-server-api/#calculating-the-content-hash-for-an-event
https://spec.matrix.org/v1.19/server-server-api/#calculating-the-reference-hash-for-an-event
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from federation import canonical_json
from federation.identifiers import EventID
from federation.redaction import redact
from federation.room_versions import EventIDFormat, RoomVersion
from federation.signing import encode_base64, encode_base64_url


def content_hash(fields: Mapping[str, Any], version: RoomVersion) -> bytes:
    """The 32 bytes to compare with `hashes.sha256`."""
    covered = canonical_json.without(fields, "unsigned", "signatures", "hashes")
    return hashlib.sha256(canonical_json.encode(covered, strict=version.strict_json)).digest()


def essential_bytes(fields: Mapping[str, Any], version: RoomVersion) -> bytes:
    """What signatures and the reference hash cover: the redacted event without signatures."""
    essential = redact(fields, version)
    essential.pop("signatures", None)
    essential.pop("unsigned", None)
    return canonical_json.encode(essential, strict=version.strict_json)


def reference_hash(essential: bytes) -> bytes:
    """The 32 bytes of the reference hash, from `essential_bytes`."""
    return hashlib.sha256(essential).digest()


def event_id_of(essential: bytes, version: RoomVersion) -> EventID:
    """The ID that an event's essential bytes give it, where IDs are hashes.

    https://spec.matrix.org/v1.19/rooms/v4/#event-ids
    """
    digest = reference_hash(essential)
    if version.event_ids is EventIDFormat.HASH:
        return EventID("$" + encode_base64(digest))
    return EventID("$" + encode_base64_url(digest))
