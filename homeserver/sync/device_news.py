"""Waking those who wait for a sync when devices change of somebody with whom they share a room.

https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user
"""

import asyncio
from collections.abc import Sequence

from homeserver.storage import device_lists
from homeserver.storage.log import Entry, Kind
from homeserver.storage.numbers import UserNid
from homeserver.storage.pool import DatabaseError
from homeserver.storage.process import Process
from homeserver.sync.activity import Activity

_TOGETHER = 0.05
"""Seconds for which changes are gathered: a new device changes several things."""

_KINDS = frozenset({Kind.DEVICE_KEYS, Kind.DEVICE_GONE})


class DeviceNews:
    """Wakes whoever waits for a room of somebody whose devices changed."""

    def __init__(self, process: Process, activity: Activity) -> None:
        self._process = process
        self._activity = activity
        self._changed: set[UserNid] = set()
        self._task: asyncio.Task[None] | None = None
        activity.feed(self._apply)

    def _apply(self, entries: Sequence[Entry]) -> None:
        found = {e.user for e in entries if e.kind in _KINDS and e.user is not None}
        if not found or not self._activity.has_waiters:
            return
        self._changed |= found
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._wake())

    async def _wake(self) -> None:
        while self._changed:
            await asyncio.sleep(_TOGETHER)
            changed, self._changed = self._changed, set()
            try:
                async with self._process.database.reader() as conn:
                    rooms = await device_lists.rooms_of(conn, changed)
            except DatabaseError:
                return  # whoever waits is told when their time is over
            self._activity.wake(rooms)
