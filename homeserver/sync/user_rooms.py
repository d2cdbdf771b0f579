"""The rooms of users, in memory while they are used; following the log."""

from collections import OrderedDict
from collections.abc import Sequence

from homeserver.storage import memberships
from homeserver.storage.log import Entry, Kind
from homeserver.storage.memberships import RoomOf
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process
from homeserver.sync.activity import Activity

_MOST_ROOMS = 1_000_000
"""Rooms of all users together that are remembered, at some 150 bytes each."""

_CONCERNING = frozenset({Kind.EVENT, Kind.STATE, Kind.FORGOTTEN})


class UserRooms:
    """Knows who is, and was, in which rooms."""

    def __init__(self, process: Process, activity: Activity) -> None:
        self._process = process
        self._known: OrderedDict[UserNid, Sequence[RoomOf]] = OrderedDict()
        self._used = 0
        self._drops = 0
        """Counts what was dropped, so that nothing older is remembered after it."""
        activity.feed(self._apply)

    async def of(self, user: UserNid) -> Sequence[RoomOf]:
        """All rooms that the user has or had something to do with; the caller has caught up."""
        known = self._known.get(user)
        if known is not None:
            self._known.move_to_end(user)
            return known
        drops = self._drops
        async with self._process.database.reader() as conn:
            found = await memberships.rooms_of(conn, user)
        if drops == self._drops:
            self._known[user] = found
            self._used += len(found) + 1
            while self._used > _MOST_ROOMS and len(self._known) > 1:
                self._drop(next(iter(self._known)))
        return found

    def _apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.user is not None and entry.kind in _CONCERNING:
                self._drops += 1
                self._drop(entry.user)

    def _drop(self, user: UserNid) -> None:
        gone = self._known.pop(user, None)
        if gone is not None:
            self._used -= len(gone) + 1
