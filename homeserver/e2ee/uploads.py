"""Keys that devices publish.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysupload
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from federation.errors import FederationError
from federation.identifiers import UserID
from federation.signing import decode_verify_key, is_signed_json
from homeserver.errors import InvalidParam, TooLarge
from homeserver.storage import device_keys
from homeserver.storage.device_keys import KeyRow
from homeserver.storage.log import Entry, Kind
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process

MOST_KEYS = 1000
"""One-time keys in one request."""
LARGEST = 16 * 1024
"""Bytes of one key."""
_REMEMBERED = 100_000

Counts = tuple[Mapping[str, int], Sequence[str]]


class Uploads:
    """Takes keys, and knows how many are left."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._counts: OrderedDict[int, Counts] = OrderedDict()
        self._drops = 0
        """Counts what was dropped, so that nothing older is remembered after it."""
        process.tail.feed(self._apply)

    async def put_device(
        self, user: UserNid, user_id: UserID, device: int, device_id: str, keys: Mapping[str, Any]
    ) -> None:
        """Store a device's identity keys, which it must have signed itself."""
        raw = checked_device_keys(user_id, device_id, keys)
        async with self._process.database.reader() as conn:
            self._process.committed(await device_keys.put(conn, device, user, raw))

    async def add(
        self,
        user: UserNid,
        device: int,
        one_time: Mapping[str, Any],
        fallback: Mapping[str, Any],
    ) -> None:
        """Store one-time keys and fallback keys.

        Raises:
            InvalidParam: another key has one of the IDs, or a key is none.
            TooLarge: there are too many.

        """
        rows, spares = key_rows(one_time, fallback)
        async with self._process.database.reader() as conn:
            wanted = [(row.algorithm, row.key_id) for row in rows]
            known = await device_keys.one_time_keys(conn, device, wanted) if wanted else {}
            for row in rows:
                before = known.get((row.algorithm, row.key_id))
                if before is not None and not _is_same(before, row.json):
                    raise InvalidParam(f"another key has the ID {row.algorithm}:{row.key_id}")
            self._process.committed(await device_keys.add_keys(conn, device, user, rows, spares))

    async def counts(self, device: int) -> Counts:
        """How many one-time keys a device has left, and of which algorithms an unused fallback."""
        await self._process.tail.catch_up()
        known = self._counts.get(device)
        if known is not None:
            self._counts.move_to_end(device)
            return known
        drops = self._drops
        async with self._process.database.reader() as conn:
            left, spares = await device_keys.counts(conn, device)
        # Clients tell "none" from "not said" by this one.
        found = {"signed_curve25519": 0, **left}, spares
        if drops == self._drops:
            self._counts[device] = found
            if len(self._counts) > _REMEMBERED:
                self._counts.popitem(last=False)
        return found

    async def has_keys(self, device: int) -> bool:
        """Whether the device has published its keys, so that it can encrypt."""
        async with self._process.database.reader() as conn:
            return await device_keys.find(conn, device) is not None

    def _apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.kind in {Kind.ONE_TIME_KEYS, Kind.DEVICE_GONE} and entry.item is not None:
                self._drops += 1
                self._counts.pop(entry.item, None)


def checked_device_keys(user_id: UserID, device_id: str, keys: Mapping[str, Any]) -> bytes:
    """The identity keys of a device, which it must have signed itself, as they are stored.

    Raises:
        InvalidParam: they are another device's, or not signed.
        TooLarge: they have more bytes than are kept.

    """
    if keys.get("user_id") != user_id or keys.get("device_id") != device_id:
        raise InvalidParam("the keys are of another device")
    named = keys.get("keys")
    if not isinstance(named, dict) or not isinstance(keys.get("algorithms"), list):
        raise InvalidParam("device_keys must have keys and algorithms")
    key_id = f"ed25519:{device_id}"
    try:
        verify_key = decode_verify_key(named[key_id])
        is_signed = is_signed_json(keys, user_id, {key_id: verify_key})
    except (FederationError, KeyError, TypeError, AttributeError) as error:
        raise InvalidParam("device_keys have no usable ed25519 key") from error
    if not is_signed:
        raise InvalidParam("device_keys are not signed by the device")
    return _packed({key: value for key, value in keys.items() if key != "unsigned"})


def key_rows(
    one_time: Mapping[str, Any], fallback: Mapping[str, Any]
) -> tuple[list[KeyRow], list[KeyRow]]:
    """One-time keys and fallback keys as they are stored.

    Raises:
        InvalidParam: a key is none.
        TooLarge: there are too many.

    """
    if len(one_time) + len(fallback) > MOST_KEYS:
        raise TooLarge(f"at most {MOST_KEYS} keys are taken at a time")
    return _rows(one_time), _rows(fallback)


def _rows(keys: Mapping[str, Any]) -> list[KeyRow]:
    rows = []
    for name, key in keys.items():
        algorithm, colon, key_id = name.partition(":")
        if not (algorithm and colon and key_id) or "\0" in name or len(name) > 255:
            raise InvalidParam("a key's name is an algorithm and an ID")
        if not isinstance(key, str | dict):
            raise InvalidParam("a key is a string or an object")
        rows.append(KeyRow(algorithm, key_id, _packed(key)))
    return rows


def _packed(value: Any) -> bytes:
    try:
        raw = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise InvalidParam("a key cannot be stored") from error
    if len(raw) > LARGEST:
        raise TooLarge(f"a key has at most {LARGEST} bytes")
    return raw


def _is_same(before: bytes, after: bytes) -> bool:
    """Signatures of the same key may differ."""
    old, new = orjson.loads(before), orjson.loads(after)
    if isinstance(old, dict) and isinstance(new, dict):
        return bool(old.get("key") == new.get("key") and old.get("fallback") == new.get("fallback"))
    return bool(old == new)
