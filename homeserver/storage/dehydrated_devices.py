"""Devices with which nobody is logged in, of which each user has one at most (MSC3814).

Such a device is a row of `devices` like others, with keys and messages of its own.
"""

from collections.abc import Sequence
from typing import NamedTuple

from homeserver.storage.device_keys import KeyRow, key_columns
from homeserver.storage.devices import NewDevice
from homeserver.storage.log import Kind
from homeserver.storage.numbers import UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.tokens import DeviceNid


class Dehydrated(NamedTuple):
    """A row of `dehydrated_devices`."""

    device: DeviceNid
    device_id: str
    data: bytes
    """JSON, which the user's clients can make the device of."""


class Keys(NamedTuple):
    """All keys of a device."""

    device: bytes
    one_time: Sequence[KeyRow]
    fallback: Sequence[KeyRow]


async def find(conn: Connection, user: UserNid) -> Dehydrated | None:
    """The user's, if there is one."""
    row = await conn.fetchrow(
        """
        SELECT d.device_nid, d.device_id, h.data
          FROM dehydrated_devices h JOIN devices d ON d.device_nid = h.device_nid
         WHERE h.user_nid = $1
        """,
        user,
    )
    return Dehydrated(*row) if row else None


async def put(conn: Connection, new: NewDevice, data: bytes, keys: Keys) -> int | None:
    """Put a device in the place of the one before.

    Answers the last position; `None`: a device with which one logs in has the ID, or there is no
    such account.
    """
    pos: int | None = await conn.fetchval(
        """
        SELECT put_dehydrated_device($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
        """,
        *new,
        data,
        keys.device,
        *key_columns(keys.one_time),
        *key_columns(keys.fallback),
        [Kind.DEVICE_GONE, Kind.DEVICE, Kind.DEVICE_KEYS, Kind.ONE_TIME_KEYS],
    )
    return pos
