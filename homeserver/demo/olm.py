"""A device that encrypts: Olm to other devices, Megolm into rooms, cross-signed.

https://spec.matrix.org/v1.19/client-server-api/#end-to-end-encryption
"""

import base64
import json
import secrets
from collections.abc import Mapping
from typing import Any

from vodozemac import (
    Account,
    AnyOlmMessage,
    Curve25519PublicKey,
    Ed25519PublicKey,
    Ed25519Signature,
    GroupSession,
    InboundGroupSession,
    MegolmMessage,
    Session,
    SessionKey,
)

from federation.canonical_json import encode
from federation.signing import SigningKey, encode_base64

OLM = "m.olm.v1.curve25519-aes-sha2"
MEGOLM = "m.megolm.v1.aes-sha2"
ONE_TIME_KEYS = 10

Json = dict[str, Any]


class CannotDecryptError(Exception):
    """The session of a message is not known here."""


class Device:
    """The secrets of one device and its user."""

    def __init__(self, user_id: str, device_id: str) -> None:
        self.user_id = user_id
        self.device_id = device_id
        self._account = Account()
        self._sessions: dict[str, Session] = {}
        """Olm, by the other's curve25519 key."""
        self._inbound: dict[str, InboundGroupSession] = {}
        self.outbound: GroupSession | None = None
        """Megolm, of the room that we speak in."""
        self._master = _CrossSigningKey()
        self._self_signing = _CrossSigningKey()

    @property
    def curve25519(self) -> str:
        """Identifies the device to others."""
        return self._account.curve25519_key.to_base64()

    def device_keys(self) -> Json:
        """What `keys/upload` takes as `device_keys`."""
        keys: Json = {
            "user_id": self.user_id,
            "device_id": self.device_id,
            "algorithms": [OLM, MEGOLM],
            "keys": {
                f"curve25519:{self.device_id}": self.curve25519,
                f"ed25519:{self.device_id}": self._account.ed25519_key.to_base64(),
            },
        }
        return self._signed(keys)

    def one_time_keys(self) -> Json:
        """New one-time keys, as `keys/upload` takes them."""
        self._account.generate_one_time_keys(ONE_TIME_KEYS)
        new = {
            f"signed_curve25519:{key_id}": self._signed({"key": key.to_base64()})
            for key_id, key in self._account.one_time_keys.items()
        }
        self._account.mark_keys_as_published()
        return new

    def cross_signing_keys(self) -> Json:
        """What `device_signing/upload` takes."""
        master = {"user_id": self.user_id, "usage": ["master"], "keys": self._master.keys}
        own = {"user_id": self.user_id, "usage": ["self_signing"], "keys": self._self_signing.keys}
        return {
            "master_key": self._signed(master),
            "self_signing_key": self._master.signed(own, self.user_id),
        }

    def own_signature(self) -> Json:
        """What `keys/signatures/upload` takes: this device, signed by its user."""
        keys = self._self_signing.signed(self.device_keys(), self.user_id)
        return {self.user_id: {self.device_id: keys}}

    def encrypt_olm(self, keys: Json, one_time_key: str | None, kind: str, content: Json) -> Json:
        """A to-device message for the device of these keys."""
        theirs = keys["keys"][f"curve25519:{keys['device_id']}"]
        if theirs not in self._sessions:
            if one_time_key is None:
                raise CannotDecryptError("no one-time key was to be had")
            self._sessions[theirs] = self._account.create_outbound_session(
                Curve25519PublicKey.from_base64(theirs),
                Curve25519PublicKey.from_base64(one_time_key),
            )
        payload = {
            "type": kind,
            "content": content,
            "sender": self.user_id,
            "recipient": keys["user_id"],
            "recipient_keys": {"ed25519": keys["keys"][f"ed25519:{keys['device_id']}"]},
            "keys": {"ed25519": self._account.ed25519_key.to_base64()},
        }
        message = self._sessions[theirs].encrypt(json.dumps(payload).encode())
        number, body = message.to_parts()
        ciphertext = {theirs: {"type": number, "body": encode_base64(body)}}
        return {"algorithm": OLM, "sender_key": self.curve25519, "ciphertext": ciphertext}

    def has_session(self, keys: Json) -> bool:
        """Whether an Olm session with the device of these keys exists."""
        return keys["keys"][f"curve25519:{keys['device_id']}"] in self._sessions

    def receive_olm(self, content: Json) -> None:
        """Take in a to-device message; room keys are kept."""
        theirs = content["sender_key"]
        part = content["ciphertext"][self.curve25519]
        body = base64.b64decode(part["body"] + "==")
        message = AnyOlmMessage.from_parts(part["type"], body)
        if theirs in self._sessions:
            plain = self._sessions[theirs].decrypt(message)
        else:
            first = message.to_pre_key()
            if first is None:
                raise CannotDecryptError("an Olm message of no session")
            key = Curve25519PublicKey.from_base64(theirs)
            self._sessions[theirs], plain = self._account.create_inbound_session(key, first)
        payload = json.loads(plain)
        if payload["type"] == "m.room_key":
            session = InboundGroupSession(SessionKey(payload["content"]["session_key"]))
            self._inbound[session.session_id] = session

    def new_room_key(self, room_id: str) -> Json:
        """Begin a Megolm session; the content of `m.room_key` for everybody in the room."""
        self.outbound = GroupSession()
        key = self.outbound.session_key
        self._inbound[self.outbound.session_id] = InboundGroupSession(key)
        return {
            "algorithm": MEGOLM,
            "room_id": room_id,
            "session_id": self.outbound.session_id,
            "session_key": key.to_base64(),
        }

    def encrypt(self, room_id: str, kind: str, content: Json) -> Json:
        """The content of `m.room.encrypted`."""
        if self.outbound is None:
            raise CannotDecryptError("there is no session to speak in")
        payload = {"type": kind, "content": content, "room_id": room_id}
        sent: Json = {
            "algorithm": MEGOLM,
            "sender_key": self.curve25519,
            "device_id": self.device_id,
            "session_id": self.outbound.session_id,
            "ciphertext": self.outbound.encrypt(json.dumps(payload).encode()).to_base64(),
        }
        if "m.relates_to" in content:
            # "the m.relates_to property MUST be in the unencrypted content"
            sent["m.relates_to"] = content["m.relates_to"]
        return sent

    def decrypt(self, content: Json) -> Json:
        """What is in an `m.room.encrypted`."""
        session = self._inbound.get(content["session_id"])
        if session is None:
            raise CannotDecryptError("the key was not sent to this device")
        found: Json = json.loads(
            session.decrypt(MegolmMessage.from_base64(content["ciphertext"])).plaintext
        )
        return found

    def _signed(self, value: Json) -> Json:
        signature = self._account.sign(encode(value)).to_base64()
        return {**value, "signatures": {self.user_id: {f"ed25519:{self.device_id}": signature}}}


class _CrossSigningKey:
    def __init__(self) -> None:
        self._key = SigningKey.from_seed("ed25519:key", secrets.token_bytes(32))
        self.public = encode_base64(self._key.verify_key)
        self.keys = {f"ed25519:{self.public}": self.public}

    def signed(self, value: Mapping[str, Any], user_id: str) -> Json:
        plain = {key: part for key, part in value.items() if key not in {"signatures", "unsigned"}}
        signature = self._key.sign(encode(plain))
        return {**plain, "signatures": {user_id: {f"ed25519:{self.public}": signature}}}


def is_cross_signed(keys: Json, master: Json, self_signing: Json) -> bool:
    """Whether a user's device is vouched for by the user's own keys."""
    user_id = keys["user_id"]
    chain = ((self_signing, master), (keys, self_signing))
    return all(_is_signed(value, next(iter(by["keys"].values())), user_id) for value, by in chain)


def _is_signed(value: Json, key: str, user_id: str) -> bool:
    signature = value.get("signatures", {}).get(user_id, {}).get(f"ed25519:{key}")
    if signature is None:
        return False
    plain = {name: part for name, part in value.items() if name not in {"signatures", "unsigned"}}
    try:
        Ed25519PublicKey.from_base64(key).verify_signature(
            encode(plain), Ed25519Signature.from_base64(signature)
        )
    except ValueError:
        return False
    return True
