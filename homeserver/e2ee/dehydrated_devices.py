"""Dehydrated devices: somebody's last device is gone, and messages for them are kept all the same.

MSC3814: a client makes a device with which nobody is logged in, and leaves it here. What is sent
to it waits until another client makes the device again of what only its user can read.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from federation.identifiers import UserID
from homeserver.accounts.device_names import check_device_id, first_name
from homeserver.accounts.tokens import new_session
from homeserver.e2ee.uploads import checked_device_keys, key_rows
from homeserver.errors import BadJson, Forbidden, InvalidParam, NotFound, TooLarge
from homeserver.storage import dehydrated_devices, devices, to_device
from homeserver.storage.dehydrated_devices import Dehydrated, Keys
from homeserver.storage.devices import NewDevice
from homeserver.storage.numbers import UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process
from homeserver.storage.to_device import Pending

LARGEST = 64 * 1024
"""Bytes of what a device is made of."""
PAGE = 100
"""Messages."""
_LATEST = 2**63 - 1


class Offer(NamedTuple):
    """A device as a client leaves it here."""

    device_id: str
    data: Mapping[str, Any]
    display_name: str | None
    device_keys: Mapping[str, Any]
    one_time_keys: Mapping[str, Any]
    fallback_keys: Mapping[str, Any]


class Page(NamedTuple):
    """The first messages for a device after a position."""

    messages: list[Pending]
    has_more: bool


class DehydratedDevices:
    """The dehydrated devices of all users."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def put(self, user: UserNid, user_id: UserID, offer: Offer) -> None:
        """Keep a device, in the place of the one before.

        Raises:
            BadJson, InvalidParam, TooLarge: it cannot be one.
            InvalidParam: somebody is logged in with a device of this ID.

        """
        check_device_id(offer.device_id)
        keys = Keys(
            checked_device_keys(user_id, offer.device_id, offer.device_keys),
            *key_rows(offer.one_time_keys, offer.fallback_keys),
        )
        name = first_name(offer.display_name)
        new = NewDevice(user, offer.device_id, name, new_session(), self._process.today)
        async with self._process.database.reader() as conn:
            pos = await dehydrated_devices.put(conn, new, _packed(offer.data), keys)
        if not self._process.committed(pos):
            raise InvalidParam("you are logged in with a device of this ID")

    async def get(self, user: UserNid) -> Dehydrated:
        """The user's, or raise `NotFound`."""
        async with self._process.database.reader() as conn:
            return await self._find(conn, user)

    async def delete(self, user: UserNid) -> str:
        """Delete the user's, with all that waits for it; its ID, or raise `NotFound`."""
        async with self._process.database.reader() as conn:
            found = await self._find(conn, user)
            self._process.committed(await devices.delete(conn, user, [found.device_id]))
        return found.device_id

    async def messages(self, user: UserNid, device_id: str, after: int) -> Page:
        """What waits for the user's, beyond a position; it stays.

        "the server should not delete any to-device messages delivered in previous batches"

        Raises:
            Forbidden: the device is none, or another.

        """
        async with self._process.database.reader() as conn:
            found = await dehydrated_devices.find(conn, user)
            if found is None or found.device_id != device_id:
                raise Forbidden("this is not your dehydrated device")
            waiting = await to_device.pending(conn, found.device, after, _LATEST, PAGE + 1)
        return Page(waiting[:PAGE], len(waiting) > PAGE)

    async def _find(self, conn: Connection, user: UserNid) -> Dehydrated:
        found = await dehydrated_devices.find(conn, user)
        if found is None:
            raise NotFound("you have no dehydrated device")
        return found


def _packed(data: Mapping[str, Any]) -> bytes:
    if not isinstance(data.get("algorithm"), str):
        raise BadJson("device_data must have an algorithm")
    try:
        raw = orjson.dumps(data)
    except TypeError as error:
        raise BadJson("device_data cannot be kept") from error
    if len(raw) > LARGEST:
        raise TooLarge(f"device_data has at most {LARGEST} bytes")
    return raw
