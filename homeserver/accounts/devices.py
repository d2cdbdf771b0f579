"""A user's devices: listing, naming, deleting; and logging out, which is deleting.

https://spec.matrix.org/v1.19/client-server-api/#device-management
"""

from collections.abc import Collection
from typing import NamedTuple

from homeserver.accounts.device_names import check_device_id, first_name, is_possible, new_name
from homeserver.accounts.tokens import new_session
from homeserver.errors import NotFound
from homeserver.storage import devices
from homeserver.storage.devices import Device, NewDevice
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import DAY, Process
from homeserver.storage.tokens import DeviceNid


class ShownDevice(NamedTuple):
    """A device as its user sees it."""

    device: DeviceNid
    device_id: str
    display_name: str | None
    last_seen_ts: int
    """The beginning of the day, UTC: more is not known."""


class Devices:
    """The devices of all users of this server."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def read(self, user: UserNid) -> list[ShownDevice]:
        """All devices of a user."""
        async with self._process.database.reader() as conn:
            return [_shown(device) for device in await devices.read(conn, user)]

    async def get(self, user: UserNid, device_id: str) -> ShownDevice:
        """One device, or raise `NotFound`."""
        async with self._process.database.reader() as conn:
            device = await devices.find(conn, user, device_id) if is_possible(device_id) else None
        if device is None:
            raise NotFound("no such device")
        return _shown(device)

    async def rename(self, user: UserNid, device_id: str, display_name: str) -> None:
        """Name a device.

        Raises:
            NotFound: the user has no such device.
            TooLarge: the name is too long.

        """
        name = new_name(display_name)
        if not is_possible(device_id):
            raise NotFound("no such device")
        async with self._process.database.reader() as conn:
            pos = await devices.rename(conn, user, device_id, name)
        if not self._process.committed(pos):
            raise NotFound("no such device")

    async def add(self, user: UserNid, device_id: str, display_name: str | None) -> bool:
        """Make a device without logging it in, for application services; false if it is there.

        Raises:
            InvalidParam: no device can have this id.

        """
        check_device_id(device_id)
        new = NewDevice(
            user, device_id, first_name(display_name), new_session(), self._process.today
        )
        async with self._process.database.reader() as conn:
            return self._process.committed(await devices.add(conn, new))

    async def delete(self, user: UserNid, device_ids: Collection[str]) -> None:
        """Log out these devices, of whatever ids; those that are not there are gone already."""
        wanted = [device_id for device_id in device_ids if is_possible(device_id)]
        async with self._process.database.reader() as conn:
            self._process.committed(await devices.delete(conn, user, wanted))

    async def delete_all(self, user: UserNid, keep: DeviceNid | None = None) -> None:
        """Log out all devices, but `keep` if it is given."""
        async with self._process.database.reader() as conn:
            self._process.committed(await devices.delete_others(conn, user, keep))


def _shown(device: Device) -> ShownDevice:
    return ShownDevice(
        device.device, device.device_id, device.display_name, device.last_seen_day * DAY
    )
