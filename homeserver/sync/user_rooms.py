"""The rooms of users, in memory while they are used; following the log."""

from collections.abc import Sequence

from homeserver.storage import memberships
from homeserver.storage.log import MOVES, Entry
from homeserver.storage.memberships import RoomOf
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process
from homeserver.sync.activity import Activity
from homeserver.sync.remembered import Remembered

_MOST_ROOMS = 1_000_000
"""Rooms of all users together that are remembered, at some 150 bytes each."""


class UserRooms:
    """Knows who is, and was, in which rooms."""

    def __init__(self, process: Process, activity: Activity) -> None:
        self._process = process
        self._known: Remembered[UserNid, Sequence[RoomOf]] = Remembered(
            _MOST_ROOMS, lambda rooms: len(rooms) + 1
        )
        activity.feed(self._apply)

    async def of(self, user: UserNid) -> Sequence[RoomOf]:
        """All rooms that the user has or had something to do with; the caller has caught up."""

        async def read() -> Sequence[RoomOf]:
            async with self._process.database.reader() as conn:
                return await memberships.rooms_of(conn, user)

        return await self._known.of(user, read)

    def _apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.user is not None and entry.kind in MOVES:
                self._known.drop(entry.user)
