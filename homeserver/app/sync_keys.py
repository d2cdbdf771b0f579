"""What `/sync` asks of end-to-end encryption, put together for it."""

from homeserver.e2ee.device_lists import DeviceLists
from homeserver.e2ee.uploads import Uploads
from homeserver.storage import to_device
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process
from homeserver.sync.keys import DeviceChanges, KeyCounts, Message


class SyncKeys:
    """See `homeserver.sync.keys.Keys`."""

    def __init__(self, process: Process, uploads: Uploads, lists: DeviceLists) -> None:
        self._process = process
        self._uploads = uploads
        self._lists = lists

    async def counts(self, device: int) -> KeyCounts:
        """What is left of the device's one-time keys."""
        left, spares = await self._uploads.counts(device)
        return KeyCounts(left, tuple(spares))

    async def changed_since(self, user: UserNid, after: int, up_to: int) -> DeviceChanges:
        """What changed between two positions."""
        return DeviceChanges(*await self._lists.changed_since(user, after, up_to))

    async def pending(self, device: int, after: int, up_to: int) -> list[Message]:
        """The first messages for a device, a page of them."""
        async with self._process.database.reader() as conn:
            found = await to_device.pending(conn, device, after, up_to)
        return [Message(*row) for row in found]

    async def acknowledge(self, device: int, up_to: int) -> None:
        """The device has the messages up to a position: they can go."""
        async with self._process.database.reader() as conn:
            await to_device.delete_up_to(conn, device, up_to)
