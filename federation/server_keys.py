"""The documents in which servers publish their keys, and how far a key is to be trusted.

Reading and checking other servers' documents, also those that a notary passes on; writing our
own; being a notary; and which of two claims about one key counts. Whom to ask, and when, is
`federation.net.key_ring`'s matter; what an event's signatures must be, `federation.signatures`'.

https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, NamedTuple

from federation import canonical_json
from federation.canonical_json import MAX_INTEGER, JsonObject
from federation.errors import CanonicalJSONError, IdentifierError, KeyFormatError
from federation.identifiers import KeyID, ServerName, parse_key_id, parse_server_name
from federation.signing import (
    ED25519,
    SigningKey,
    VerifyKey,
    decode_verify_key,
    encode_base64,
    is_signed_json,
    sign_json,
    signatures_of,
)

MAX_VALIDITY = 7 * 24 * 60 * 60 * 1000
"""How far into the future a document is believed, in milliseconds."""

MAX_KEYS = 128
"""The most keys, old ones included, that a document may list."""

MAX_SIGNERS = 32
"""The most servers whose signatures a document may carry: its own and its notaries'."""


@dataclass(frozen=True, slots=True)
class ServerKey:
    """A server's public key and how long it vouches for it."""

    key: VerifyKey
    valid_until: int
    """In milliseconds, inclusive; of an old key, when the server stopped using it."""
    is_old: bool = False
    """Old keys are good for events of their time, never for requests."""

    def is_valid_at(self, timestamp: int) -> bool:
        """Whether what was signed at `timestamp` (milliseconds) may be signed by this key."""
        return timestamp <= self.valid_until


KeyName = tuple[ServerName, KeyID]

Keys = Mapping[ServerName, Mapping[KeyID, ServerKey]]
"""What the verification of signatures is handed."""


@dataclass(frozen=True, slots=True)
class KeyDocument:
    """A server's published keys, checked to be signed by one of them."""

    server: ServerName
    keys: Mapping[KeyID, ServerKey]
    """The current and the old ones that we can read."""
    valid_until: int
    """When to ask again, in milliseconds; at most `MAX_VALIDITY` after `received_at`."""
    received_at: int
    published: JsonObject = field(repr=False)
    """As it was received, for notaries to sign and serve again."""


class OldKey(NamedTuple):
    """A key of ours that signs nothing any more."""

    key_id: KeyID
    key: VerifyKey
    expired_ts: int
    """When it signed for the last time, in milliseconds."""


class Source(IntEnum):
    """Who told us of a key; the greater is believed rather than the lesser."""

    HEARSAY = 0
    """A server that we happened to ask, such as the one we join a room through."""
    NOTARY = 1
    """A notary that the configuration names."""
    ORIGIN = 2
    """The server whose key it is."""


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key as it is remembered."""

    server: ServerName
    key_id: KeyID
    key: ServerKey
    source: Source
    """The best source that told of these very bytes."""

    @property
    def name(self) -> KeyName:
        """What it is asked for by."""
        return self.server, self.key_id


def is_usable(key: ServerKey, origin_server_ts: int, *, enforce_validity: bool) -> bool:
    """Whether the key may have signed an event of that time.

    Room versions 1 to 4 look at no time; since 5, `enforce_validity` is set.
    https://spec.matrix.org/v1.19/rooms/v5/#signing-key-validity-period
    """
    # "servers MUST enforce the valid_until_ts property from a key request is at least as large
    # as the origin_server_ts for the event being validated."
    return not enforce_validity or key.is_valid_at(origin_server_ts)


def request_keys(keys: Mapping[KeyID, ServerKey], now: int) -> dict[KeyID, VerifyKey]:
    """The keys that may sign requests now.

    https://spec.matrix.org/v1.19/server-server-api/#publishing-keys
    """
    # "It contains a list of old_verify_keys which are only valid for signing events."
    return {
        key_id: key.key for key_id, key in keys.items() if not key.is_old and key.is_valid_at(now)
    }


def parse_document(fields: JsonObject, server: ServerName, now: int) -> KeyDocument:
    """Check the answer of `GET /_matrix/key/v2/server`, `server` being the one that was asked.

    Keys that are malformed, or of another algorithm than Ed25519, are skipped.

    Raises:
        KeyFormatError: another server's document, malformed, or not signed by a key it lists.

    """
    _check_shape(fields)
    # orjson would not refuse a float; a document that holds one has no canonical form.
    try:
        canonical_json.check_strict(fields)
        return _checked_document(fields, server, now)
    except CanonicalJSONError as error:
        raise KeyFormatError(f"a key document without a canonical form: {error}") from error


def parse_notarised(
    fields: JsonObject, notary: ServerName, notary_keys: Mapping[KeyID, VerifyKey], now: int
) -> KeyDocument:
    """Check one document of a notary's answer: signed by the notary and by its own server.

    `notary_keys` are those valid now. Whether anybody asked for this server is for the caller to
    see. Errors as `parse_document`.
    https://spec.matrix.org/v1.19/server-server-api/#querying-keys-through-another-server
    """
    document = parse_document(fields, server_of(fields), now)
    if not is_signed_json(fields, notary, dict[str, VerifyKey](notary_keys.items())):
        raise KeyFormatError(f"a key document that {notary} did not sign")
    return document


def server_of(fields: JsonObject) -> ServerName:
    """The server that a document claims to be of."""
    name = fields.get("server_name")
    if not isinstance(name, str):
        raise KeyFormatError("server_name is not a string")
    try:
        return parse_server_name(name)
    except IdentifierError as error:
        raise KeyFormatError(str(error)) from error


def signing_keys_of(fields: JsonObject, notary: ServerName) -> list[KeyID]:
    """The keys by which `notary` says to have signed a document."""
    found = []
    for key_id in signatures_of(fields, notary):
        try:
            found.append(parse_key_id(key_id))
        except IdentifierError:
            continue
    return found


def build_document(
    server: ServerName, current: Sequence[SigningKey], old: Iterable[OldKey], valid_until: int
) -> JsonObject:
    """Our own document, signed by all current keys.

    `valid_until` (milliseconds) should lie at least an hour ahead, so that nobody has to ask
    again at once; others believe at most `MAX_VALIDITY`.
    https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server
    """
    document: JsonObject = {
        "server_name": server,
        "verify_keys": {key.key_id: {"key": encode_base64(key.verify_key)} for key in current},
        "old_verify_keys": {
            gone.key_id: {"key": encode_base64(gone.key), "expired_ts": gone.expired_ts}
            for gone in old
        },
        "valid_until_ts": valid_until,
    }
    for key in current:
        document = sign_json(document, server, key)
    return document


def own_keys(current: Iterable[SigningKey], old: Iterable[OldKey]) -> dict[KeyID, ServerKey]:
    """Our keys as they verify what we signed: the current ones without end."""
    retired = {gone.key_id: ServerKey(gone.key, gone.expired_ts, is_old=True) for gone in old}
    return retired | {key.key_id: ServerKey(key.verify_key, MAX_INTEGER) for key in current}


def notarise(document: KeyDocument, notary: ServerName, keys: Iterable[SigningKey]) -> JsonObject:
    """The document with the notary's signatures beside those that it came with.

    https://spec.matrix.org/v1.19/server-server-api/#querying-keys-through-another-server
    """
    # "The notary server will additionally sign the response from the queried server before
    # returning the results."
    signed = document.published
    for key in keys:
        signed = sign_json(signed, notary, key)
    return signed


def merged(held: KnownKey | None, claim: KnownKey, now: int) -> KnownKey:
    """What to remember of a key after one more source has told of it; whose word counts.

    - Other bytes under the same ID are believed of a better source; of an equal one, hearsay
      excepted, only once the held key is not valid any more.
    - Of the same bytes, a better source, and always the key's own server, says anew how long
      they are valid.
    - Others may only prolong a key that has not been retired: they tell of a later document of
      its server, which is what notaries are for.
    """
    if held is None:
        return claim
    if held.key.key != claim.key.key:
        return claim if _may_replace(held, claim, now) else held
    if claim.source > held.source or claim.source is Source.ORIGIN:
        return claim
    is_later = claim.key.valid_until > held.key.valid_until
    if is_later and not held.key.is_old and not claim.key.is_old:
        return replace(claim, source=held.source)
    return held


def _may_replace(held: KnownKey, claim: KnownKey, now: int) -> bool:
    if claim.source != held.source:
        return claim.source > held.source
    return claim.source is not Source.HEARSAY and not held.key.is_valid_at(now)


def _checked_document(fields: JsonObject, server: ServerName, now: int) -> KeyDocument:
    if server_of(fields) != server:
        raise KeyFormatError(f"not the key document of {server}")
    # "Servers MUST use the lesser of this field and 7 days into the future when determining if a
    # key is valid."
    valid_until = min(_timestamp(fields, "valid_until_ts"), now + MAX_VALIDITY)
    current = _current_keys(fields, valid_until)
    if not is_signed_json(fields, server, {key_id: key.key for key_id, key in current.items()}):
        raise KeyFormatError("a key document that none of its keys signed")
    # A key that is listed as both has been retired.
    keys = current | _old_keys(fields, valid_until)
    return KeyDocument(server, keys, valid_until, now, fields)


def _current_keys(fields: JsonObject, valid_until: int) -> dict[KeyID, ServerKey]:
    found = {}
    for key_id, entry in fields["verify_keys"].items():
        try:
            found[_ed25519(key_id)] = ServerKey(_verify_key(entry), valid_until)
        except (IdentifierError, KeyFormatError):
            continue
    return found


def _old_keys(fields: JsonObject, valid_until: int) -> dict[KeyID, ServerKey]:
    found = {}
    for key_id, entry in fields.get("old_verify_keys", {}).items():
        try:
            # A key that has yet to expire is believed no longer than a current one.
            expired = min(_timestamp(entry, "expired_ts"), valid_until)
            found[_ed25519(key_id)] = ServerKey(_verify_key(entry), expired, is_old=True)
        except (IdentifierError, KeyFormatError):
            continue
    return found


def _check_shape(fields: JsonObject) -> None:
    """Refuse what is too large, or nested otherwise than a key document."""
    listed = 0
    for name in ("verify_keys", "old_verify_keys"):
        entries = fields.get(name, {})
        if not isinstance(entries, dict):
            raise KeyFormatError(f"{name} is not an object")
        listed += len(entries)
    if "verify_keys" not in fields:
        raise KeyFormatError("verify_keys is missing")
    if listed > MAX_KEYS:
        raise KeyFormatError(f"more than {MAX_KEYS} keys")
    signatures = fields.get("signatures")
    if not isinstance(signatures, dict) or len(signatures) > MAX_SIGNERS:
        raise KeyFormatError(f"signatures is not an object of at most {MAX_SIGNERS} signers")
    if not all(isinstance(by_key, dict) for by_key in signatures.values()):
        raise KeyFormatError("the signatures of a server are not an object")


def _ed25519(key_id: str) -> KeyID:
    if not key_id.startswith(ED25519):
        raise KeyFormatError("not an ed25519 key")
    return parse_key_id(key_id)


def _verify_key(entry: Any) -> VerifyKey:
    text = entry.get("key") if isinstance(entry, dict) else None
    if not isinstance(text, str):
        raise KeyFormatError("a key that is not a string")
    return decode_verify_key(text)


def _timestamp(entry: Any, name: str) -> int:
    found = entry.get(name) if isinstance(entry, dict) else None
    if type(found) is not int:
        raise KeyFormatError(f"{name} is not an integer")
    return found
