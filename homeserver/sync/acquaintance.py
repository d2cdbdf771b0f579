"""Who shares a room with whom, in memory of those who are asked about; following the log.

When many come online at once everybody is to be told of everybody else: the rooms of each are read
once, not for each who is told.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from federation.identifiers import UserID
from homeserver.storage import memberships
from homeserver.storage.batch import Membership
from homeserver.storage.log import Entry, Kind
from homeserver.storage.memberships import RoomOf
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.process import Process
from homeserver.sync.activity import Activity

_MOST_ROOMS = 500_000
"""Rooms of all users together that are remembered, at some 70 bytes each."""
_CONCERNING = frozenset({Kind.EVENT, Kind.STATE, Kind.FORGOTTEN})


class Acquaintance:
    """Knows in which rooms people are."""

    def __init__(self, process: Process, activity: Activity) -> None:
        self._process = process
        self._known: OrderedDict[UserNid, frozenset[RoomNid]] = OrderedDict()
        self._used = 0
        self._drops = 0
        """Counts what was dropped, so that nothing older is remembered after it."""
        self._reading = asyncio.Lock()
        activity.feed(self._apply)

    async def among(self, rooms: Iterable[RoomOf], users: Sequence[UserID]) -> list[UserID]:
        """Those of the users who are in any of the rooms that somebody is in.

        Args:
            rooms: that somebody has something to do with.
            users: of whatever server; the caller has caught up with the log.

        """
        if not users:
            return []
        async with self._process.database.perhaps() as conn:
            nids = await self._process.numbers.users.find(conn, users)
        mine = {room.room for room in rooms if room.membership is Membership.JOIN}
        theirs = await self._rooms_of(nids.values())
        return [u for u in users if u in nids and not mine.isdisjoint(theirs[nids[u]])]

    async def _rooms_of(self, users: Iterable[UserNid]) -> dict[UserNid, frozenset[RoomNid]]:
        wanted = list(users)
        found = self._recall(wanted)
        if len(found) < len(wanted):
            async with self._reading:
                # Whoever waited for this wants the same, mostly.
                found |= self._recall(wanted)
                found |= await self._read([user for user in wanted if user not in found])
        return found

    def _recall(self, users: Iterable[UserNid]) -> dict[UserNid, frozenset[RoomNid]]:
        found = {user: self._known[user] for user in users if user in self._known}
        for user in found:
            self._known.move_to_end(user)
        return found

    async def _read(self, users: Sequence[UserNid]) -> dict[UserNid, frozenset[RoomNid]]:
        if not users:
            return {}
        drops = self._drops
        async with self._process.database.reader() as conn:
            found = await memberships.joined_rooms_of(conn, users)
        for user in users if drops == self._drops else ():
            self._known[user] = found[user]
            self._used += len(found[user]) + 1
        while self._used > _MOST_ROOMS:
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
