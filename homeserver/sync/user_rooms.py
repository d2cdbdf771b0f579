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
        self._activity = activity
        self._known: Remembered[UserNid, Sequence[RoomOf]] = Remembered(
            _MOST_ROOMS, lambda rooms: len(rooms) + 1
        )
        activity.feed(self._apply)

    async def of(self, user: UserNid) -> Sequence[RoomOf]:
        """All rooms that the user has or had something to do with, where anything came last, last.

        The caller has caught up.
        """

        async def read() -> Sequence[RoomOf]:
            async with self._process.database.reader() as conn:
                return await memberships.rooms_of(conn, user)

        return await self._known.of(user, read)

    async def caught_up(self, user: UserNid) -> tuple[Sequence[RoomOf], int]:
        """All rooms of the user, and a position: they are as they were there."""
        while True:
            up_to = self._activity.position
            rooms = await self.of(user)
            newest = rooms[-1].pos if rooms else 0
            if newest <= up_to:
                return rooms, up_to
            # They were read just now, and something came in between.
            await self._activity.catch_up(newest)

    def _apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.user is not None and entry.kind in MOVES:
                self._known.drop(entry.user)
