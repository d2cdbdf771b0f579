"""Keys as clients make them."""

import hashlib
from dataclasses import dataclass
from typing import Any, NamedTuple

from federation.signing import SigningKey, encode_base64, signable
from tests.servers import Client


class OneTimeKey(NamedTuple):
    """A key with its name, as it is uploaded."""

    name: str
    value: Any


def key_of(*names: str) -> SigningKey:
    """Always the same for the same names."""
    return SigningKey.from_seed("ed25519:k", hashlib.sha256(repr(names).encode()).digest())


def public(key: SigningKey) -> str:
    """The public half, in unpadded base64."""
    return encode_base64(key.verify_key)


def signed(content: dict[str, Any], user_id: str, name: str, key: SigningKey) -> dict[str, Any]:
    """The content, with a signature of one of somebody's keys added."""
    signatures = {user: dict(made) for user, made in content.get("signatures", {}).items()}
    signatures.setdefault(user_id, {})[f"ed25519:{name}"] = key.sign(signable(content))
    return {**content, "signatures": signatures}


@dataclass(frozen=True)
class Device:
    """A device with its Ed25519 key; its Curve25519 keys are anything of the right length."""

    user_id: str
    device_id: str
    key: SigningKey

    @classmethod
    def of(cls, client: Client) -> "Device":
        """The device that a client is logged in with."""
        return cls(client.user_id, client.device_id, key_of(client.user_id, client.device_id))

    def keys(self) -> dict[str, Any]:
        """As uploaded."""
        content = {
            "user_id": self.user_id,
            "device_id": self.device_id,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "keys": {
                f"ed25519:{self.device_id}": public(self.key),
                f"curve25519:{self.device_id}": public(key_of(self.device_id, "identity")),
            },
        }
        return signed(content, self.user_id, self.device_id, self.key)

    def one_time_key(self, name: str, *, is_fallback: bool = False) -> OneTimeKey:
        """A signed one."""
        content: dict[str, Any] = {"key": public(key_of(self.device_id, name))}
        if is_fallback:
            content["fallback"] = True
        return OneTimeKey(
            f"signed_curve25519:{name}", signed(content, self.user_id, self.device_id, self.key)
        )


class CrossSigning(NamedTuple):
    """Somebody's three keys."""

    user_id: str
    master: SigningKey
    self_signing: SigningKey
    user_signing: SigningKey

    def upload(self) -> dict[str, Any]:
        """As uploaded."""
        return {
            "master_key": self._shown("master", self.master),
            "self_signing_key": self._vouched("self_signing", self.self_signing),
            "user_signing_key": self._vouched("user_signing", self.user_signing),
        }

    @property
    def self_signing_name(self) -> str:
        """The ID of the key that signs devices."""
        return f"ed25519:{public(self.self_signing)}"

    def sign(self, device_keys: dict[str, Any]) -> dict[str, Any]:
        """Device keys, signed as the owner's."""
        return signed(device_keys, self.user_id, public(self.self_signing), self.self_signing)

    def _shown(self, usage: str, key: SigningKey) -> dict[str, Any]:
        name = public(key)
        return {"user_id": self.user_id, "usage": [usage], "keys": {f"ed25519:{name}": name}}

    def _vouched(self, usage: str, key: SigningKey) -> dict[str, Any]:
        return signed(self._shown(usage, key), self.user_id, public(self.master), self.master)


def cross_signing_keys(user_id: str, salt: str = "") -> CrossSigning:
    """Somebody's keys; others for another salt."""
    return CrossSigning(
        user_id, *(key_of(user_id, salt, usage) for usage in ("master", "self", "user"))
    )
