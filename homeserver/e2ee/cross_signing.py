"""Keys with which people sign devices and each other.

https://spec.matrix.org/v1.19/client-server-api/#cross-signing
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from federation.errors import FederationError
from federation.identifiers import UserID
from federation.signing import decode_verify_key, is_signed_json
from homeserver.errors import InvalidParam, InvalidSignature, MissingParam
from homeserver.storage import cross_signing, device_keys
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process

USAGES = ("master", "self_signing", "user_signing")
MOST_SIGNATURES = 1000


class _Own(NamedTuple):
    """What somebody has published, by which they sign."""

    user_id: UserID
    keys: Mapping[str, Mapping[str, Any]]
    """By usage."""
    devices: Mapping[str, Mapping[str, Any]]

    def signatures_on(self, target_id: str, target: str, key: object) -> list[tuple[str, str]]:
        """Their valid signatures on a key that is as we know it."""
        if not isinstance(key, dict) or not self._is_known(target_id, target, key):
            return []
        signatures = key.get("signatures")
        by_user = signatures.get(self.user_id) if isinstance(signatures, dict) else None
        return [
            (key_id, signature)
            for key_id, signature in (by_user.items() if isinstance(by_user, dict) else ())
            if isinstance(signature, str)
            and (signer := self._signer(key_id))
            and _verifies(key, self.user_id, key_id, signer)
        ]

    def _is_known(self, target_id: str, target: str, key: Mapping[str, Any]) -> bool:
        """One's own devices and keys must be those that are stored; of others' we cannot tell."""
        if target_id != self.user_id:
            return True
        known = [k for k in self.keys.values() if target in k["keys"].values()]
        known += [self.devices[target]] if target in self.devices else []
        return any(_bare(key) == _bare(one) for one in known)

    def _signer(self, key_id: str) -> str | None:
        """The public key of this ID: a cross-signing key, or a device's."""
        for key in self.keys.values():
            if key_id in key["keys"]:
                return str(key["keys"][key_id])
        device_id = key_id.removeprefix("ed25519:")
        if key_id == device_id or device_id not in self.devices:
            return None
        public = self.devices[device_id]["keys"].get(key_id)
        return None if public is None else str(public)


class CrossSigning:
    """Takes keys and signatures."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def keys_of(self, user_id: UserID) -> dict[str, dict[str, Any]]:
        """A user's keys by usage."""
        async with self._process.database.reader() as conn:
            rows = await cross_signing.find(conn, [user_id])
        return {row.usage: orjson.loads(row.json) for row in rows}

    async def put(
        self, user: UserNid, user_id: UserID, given: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Store keys by usage.

        Raises:
            MissingParam: there is no master key, neither given nor known.
            InvalidParam: a key is none.
            InvalidSignature: a key is not signed by the master key.

        """
        known = await self.keys_of(user_id)
        new = {usage: _checked(usage, user_id, key) for usage, key in given.items()}
        master = new.get("master") or known.get("master")
        if new and master is None:
            raise MissingParam("there is no master key")
        for usage, key in new.items():
            if usage != "master" and not _is_signed_by(key, user_id, master or {}):
                raise InvalidSignature(f"the {usage} key is not signed by the master key")
        packed = {usage: orjson.dumps(key) for usage, key in new.items()}
        if packed:
            async with self._process.database.reader() as conn:
                self._process.committed(await cross_signing.put(conn, user, packed))

    async def sign(
        self, user: UserNid, user_id: UserID, given: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Store signatures that somebody made; answers what was not taken, by user and key.

        https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keyssignaturesupload
        """
        own = await self._own(user_id)
        failures: dict[str, Any] = {}
        rows: list[tuple[str, str, str, str]] = []
        for target_id, keys in given.items():
            for target, key in keys.items() if isinstance(keys, dict) else ():
                taken = own.signatures_on(target_id, target, key)
                if taken:
                    rows += [(target_id, target, *signature) for signature in taken]
                else:
                    failures.setdefault(target_id, {})[target] = {
                        "errcode": InvalidSignature.errcode,
                        "error": "there is no valid signature of yours on this key",
                    }
        await self._store(user, rows[:MOST_SIGNATURES])
        return failures

    async def _own(self, user_id: UserID) -> "_Own":
        keys = await self.keys_of(user_id)
        async with self._process.database.reader() as conn:
            devices = await device_keys.devices_of(conn, [user_id])
        return _Own(user_id, keys, {d.device_id: orjson.loads(d.json) for d in devices})

    async def _store(self, user: UserNid, rows: list[tuple[str, str, str, str]]) -> None:
        if not rows:
            return
        async with self._process.database.reader() as conn:
            users = await self._process.numbers.users.find(conn, {row[0] for row in rows})
            known = [(users[row[0]], *row[1:]) for row in rows if row[0] in users]
            pos = await cross_signing.add_signatures(conn, user, known)
        self._process.committed(pos)


def _checked(usage: str, user_id: UserID, key: Mapping[str, Any]) -> dict[str, Any]:
    named, uses = key.get("keys"), key.get("usage")
    if key.get("user_id") != user_id or not isinstance(uses, list) or usage not in uses:
        raise InvalidParam(f"the {usage} key is somebody else's, or for something else")
    if not isinstance(named, dict) or len(named) != 1:
        raise InvalidParam(f"the {usage} key must hold one key")
    key_id, public = next(iter(named.items()))
    if not isinstance(public, str) or key_id != f"ed25519:{public}":
        raise InvalidParam("a key's ID is its own public key")
    try:
        decode_verify_key(public)
    except FederationError as error:
        raise InvalidParam(f"the {usage} key is not an ed25519 key") from error
    return {name: value for name, value in key.items() if name != "unsigned"}


def _is_signed_by(key: Mapping[str, Any], user_id: UserID, by: Mapping[str, Any]) -> bool:
    return any(_verifies(key, user_id, key_id, str(k)) for key_id, k in by["keys"].items())


def _verifies(key: Mapping[str, Any], user_id: str, key_id: str, public: str) -> bool:
    try:
        return is_signed_json(key, user_id, {key_id: decode_verify_key(public)})
    except FederationError:
        return False


def _bare(key: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in key.items() if name not in {"signatures", "unsigned"}}
