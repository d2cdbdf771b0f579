"""Waking those who wait for `/sync` when somebody's presence changes.

https://spec.matrix.org/v1.19/client-server-api/#presence
"""

import asyncio

from federation.identifiers import UserID
from homeserver.rooms.presence import Presence
from homeserver.storage import memberships
from homeserver.storage.pool import DatabaseError
from homeserver.storage.process import Process
from homeserver.sync.activity import Activity

_TOGETHER = 0.1
"""Seconds for which changes are gathered: people come and go in crowds."""


class Rousing:
    """Wakes whoever waits for a room of somebody whose presence changed."""

    def __init__(self, process: Process, activity: Activity, presence: Presence) -> None:
        self._process = process
        self._activity = activity
        self._changed: set[UserID] = set()
        self._task: asyncio.Task[None] | None = None
        presence.on_change(self._note)

    def _note(self, user_id: UserID) -> None:
        self._changed.add(user_id)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._rouse())

    async def _rouse(self) -> None:
        while self._changed:
            await asyncio.sleep(_TOGETHER)
            changed, self._changed = self._changed, set()
            try:
                async with self._process.database.reader() as conn:
                    users = await self._process.numbers.users.find(conn, changed)
                    rooms = await memberships.rooms_of_any(conn, users.values())
            except DatabaseError:
                return  # nobody can be told anything now, and presence is told anew with each sync
            self._activity.wake(rooms)
