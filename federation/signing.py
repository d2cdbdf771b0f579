"""Ed25519 keys, and signatures over JSON objects.

https://spec.matrix.org/v1.19/appendices/#signing-json
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NewType

import nacl.bindings
import nacl.signing
from nacl.exceptions import CryptoError

from federation import canonical_json
from federation.canonical_json import JsonObject
from federation.errors import KeyFormatError
from federation.identifiers import KeyID, ServerName, parse_key_id

VerifyKey = NewType("VerifyKey", bytes)
"""The 32 bytes of a public Ed25519 key."""

ED25519 = "ed25519:"
"""How the identifiers of all keys that we understand begin."""

_KEY_BYTES = nacl.bindings.crypto_sign_PUBLICKEYBYTES
_SIGNATURE_BYTES = nacl.bindings.crypto_sign_BYTES


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A server's private key with its identifier."""

    key_id: KeyID
    secret: bytes
    """Seed and public key, as libsodium wants them; 64 bytes."""

    @classmethod
    def from_seed(cls, key_id: str, seed: bytes) -> "SigningKey":
        """Make the key from its 32-byte seed."""
        if not key_id.startswith(ED25519):
            raise KeyFormatError(f"not an ed25519 key ID: {key_id}")
        if len(seed) != nacl.bindings.crypto_sign_SEEDBYTES:
            raise KeyFormatError("an ed25519 seed has 32 bytes")
        _, secret = nacl.bindings.crypto_sign_seed_keypair(seed)
        return cls(parse_key_id(key_id), secret)

    @property
    def verify_key(self) -> VerifyKey:
        """The public half."""
        return VerifyKey(self.secret[32:])

    def sign(self, message: bytes) -> str:
        """The signature over `message`, in unpadded base64."""
        return encode_base64(nacl.bindings.crypto_sign(message, self.secret)[:_SIGNATURE_BYTES])

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id})"


def encode_base64(data: bytes) -> str:
    """https://spec.matrix.org/v1.19/appendices/#unpadded-base64"""
    return binascii.b2a_base64(data, newline=False).rstrip(b"=").decode()


def encode_base64_url(data: bytes) -> str:
    """https://spec.matrix.org/v1.19/appendices/#url-safe-unpadded-base64"""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode_base64(text: str) -> bytes:
    """Read base64 with or without padding, of the standard or the URL-safe alphabet.

    Raises:
        KeyFormatError: it is neither.

    """
    try:
        data = text.encode("ascii").rstrip(b"=").translate(_FROM_URL_SAFE)
        return binascii.a2b_base64(data + b"=" * (-len(data) % 4), strict_mode=True)
    except ValueError as error:  # binascii.Error and UnicodeEncodeError are of this kind
        raise KeyFormatError("not base64") from error


_FROM_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def decode_verify_key(text: str) -> VerifyKey:
    """Read a public key from base64."""
    key = decode_base64(text)
    if len(key) != _KEY_BYTES:
        raise KeyFormatError("an ed25519 public key has 32 bytes")
    return VerifyKey(key)


def is_signature(message: bytes, signature: str, key: VerifyKey) -> bool:
    """Whether `signature` (base64) is `key`'s over `message`. libsodium releases the GIL."""
    try:
        raw = decode_base64(signature)
        if len(raw) != _SIGNATURE_BYTES:
            return False
        nacl.bindings.crypto_sign_open(raw + message, key)
    except (CryptoError, KeyFormatError):
        return False
    return True


def signable(fields: Mapping[str, Any]) -> bytes:
    """The bytes that signatures over a JSON object cover: all but `signatures` and `unsigned`."""
    return canonical_json.encode(canonical_json.without(fields, "signatures", "unsigned"))


def sign_json(fields: Mapping[str, Any], server: ServerName, key: SigningKey) -> JsonObject:
    """A copy of the object with our signature added to those it has."""
    signatures = {name: dict(by_key) for name, by_key in fields.get("signatures", {}).items()}
    signatures.setdefault(server, {})[key.key_id] = key.sign(signable(fields))
    return {**fields, "signatures": signatures}


def signatures_of(fields: Mapping[str, Any], entity: str) -> dict[str, str]:
    """The entity's well-formed Ed25519 signatures in `fields["signatures"]`, by key ID."""
    signatures = fields.get("signatures")
    by_key = signatures.get(entity) if isinstance(signatures, dict) else None
    if not isinstance(by_key, dict):
        return {}
    return {
        key_id: signature
        for key_id, signature in by_key.items()
        if key_id.startswith(ED25519) and isinstance(signature, str)
    }


def is_signed_json(fields: Mapping[str, Any], entity: str, keys: Mapping[str, VerifyKey]) -> bool:
    """Whether `entity` signed the object with a key that we hold.

    Signatures by unknown keys are skipped; of those by known ones there must be at least one, and
    each must be good.
    https://spec.matrix.org/v1.19/appendices/#checking-for-a-signature
    """
    known = {k: s for k, s in signatures_of(fields, entity).items() if k in keys}
    if not known:
        return False
    message = signable(fields)
    return all(is_signature(message, signature, keys[k]) for k, signature in known.items())
