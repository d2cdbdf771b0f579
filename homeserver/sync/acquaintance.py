"""Who shares a room with whom, in memory of those who are asked about; following the log.

When many come online at once everybody is to be told of everybody else: the rooms of each are read
once, not for each who is told.
"""

import asyncio
from collections.abc import Iterable, Sequence

from federation.identifiers import UserID
from homeserver.storage import memberships
from homeserver.storage.batch import Membership
from homeserver.storage.log import MOVES, Entry
from homeserver.storage.memberships import RoomOf
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.process import Process
from homeserver.sync.activity import Activity
from homeserver.sync.remembered import Remembered

_MOST_ROOMS = 500_000
"""Rooms of all users together that are remembered, at some 70 bytes each."""


class Acquaintance:
    """Knows in which rooms people are."""

    def __init__(self, process: Process, activity: Activity) -> None:
        self._process = process
        self._known: Remembered[UserNid, frozenset[RoomNid]] = Remembered(
            _MOST_ROOMS, lambda rooms: len(rooms) + 1
        )
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
        found = {user: self._known.get(user) for user in users}
        return {user: rooms for user, rooms in found.items() if rooms is not None}

    async def _read(self, users: Sequence[UserNid]) -> dict[UserNid, frozenset[RoomNid]]:
        if not users:
            return {}
        drops = self._known.drops
        async with self._process.database.reader() as conn:
            found = await memberships.joined_rooms_of(conn, users)
        for user in users:
            self._known.keep(user, found[user], drops)
        return found

    def _apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.user is not None and entry.kind in MOVES:
                self._known.drop(entry.user)
