"""When something last happened in a room or to a user, in memory; and waiting for it to happen.

One reader per process follows the log. What happened before it began is not known: there the
answer is always "perhaps", and the database tells.
"""

import asyncio
from collections.abc import Collection, Iterable
from contextlib import suppress

from homeserver.storage.clock import read_position
from homeserver.storage.log import MOST_AT_ONCE, Entry, Kind
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.process import Process
from homeserver.storage.tail import Apply
from homeserver.sync.waiting import Waiters

_MOST = 500_000
"""Rooms and users that are remembered, at some 100 bytes each."""

_UNHURRIED = 0.25
"""Seconds for which the log may move on while nobody waits."""
_DEVICES = frozenset({Kind.DEVICE, Kind.DEVICE_GONE, Kind.DEVICE_KEYS})


class Activity:
    """Follows the log; `run` has to run for anybody to be woken."""

    def __init__(self, process: Process, position: int) -> None:
        self._process = process
        self.position = position
        """Everything up to here is known."""
        self._floor = position
        """Nothing is known of what happened up to here."""
        self._events: dict[RoomNid, int] = {}
        self._receipts: dict[RoomNid, int] = {}
        self._members: dict[RoomNid, int] = {}
        self._users: dict[UserNid, int] = {}
        self._devices = position
        self._latest_event = self._latest_receipt = position
        """In any room."""
        self._reading = asyncio.Lock()
        self._waiters = Waiters()
        self._appliers: list[Apply] = []

    def feed(self, apply: Apply) -> None:
        """Call `apply` with all rows that are read from now on."""
        self._appliers.append(apply)

    async def run(self) -> None:
        """Follow the log for ever."""
        while True:
            await self._process.clock.wait_beyond(self.position)
            somebody = self._waiters.somebody
            if not somebody.is_set():
                # Whoever asks catches up first: nobody need be woken, so many rows can be read
                # together.
                with suppress(TimeoutError):
                    async with asyncio.timeout(_UNHURRIED):
                        await somebody.wait()
            await self.catch_up()

    async def catch_up(self, at_least: int = 0) -> None:
        """Know all that was committed before this call, and the position `at_least`."""
        if max(at_least, self._process.clock.position) <= self.position:
            return
        async with self._reading:
            target = self._process.clock.position
            if at_least > target:
                async with self._process.database.reader() as conn:
                    target = await read_position(conn)
                self._process.clock.advance(target)
            if target > self.position:
                await self._read_to(target)

    def changed(self, rooms: Iterable[RoomNid], since: int) -> list[RoomNid]:
        """Those of the rooms in which there may be events from after a position."""
        if since < self._floor:
            return list(rooms)
        if since >= self._latest_event:
            return []
        return [room for room in rooms if self._events.get(room, 0) > since]

    def with_receipts(self, rooms: Iterable[RoomNid], since: int) -> list[RoomNid]:
        """Those of the rooms in which somebody may have read on after a position."""
        if since < self._floor:
            return list(rooms)
        if since >= self._latest_receipt:
            return []
        return [room for room in rooms if self._receipts.get(room, 0) > since]

    def members_moved(self, rooms: Iterable[RoomNid], since: int) -> bool:
        """Whether anybody may have come into one of the rooms, or left it, after a position."""
        if since < self._floor or since >= self._latest_event:
            return since < self._floor
        return any(self._members.get(room, 0) > since for room in rooms)

    def user_changed(self, user: UserNid, since: int) -> bool:
        """Whether something that is the user's own may have changed after a position."""
        return since < self._floor or self._users.get(user, 0) > since

    def devices_changed(self, since: int) -> bool:
        """Whether anybody's device may have changed after a position."""
        return since < self._floor or self._devices > since

    @property
    def has_waiters(self) -> bool:
        """Whether anybody waits for a room."""
        return self._waiters.has_rooms

    async def wait(
        self, user: UserNid, rooms: Collection[RoomNid], since: int, seconds: float
    ) -> None:
        """Wait until something happens in the rooms or to the user, but not for ever."""
        waiter = self._waiters.begin(user, rooms)
        try:
            if self.position <= since or not (
                self.changed(rooms, since) or self.user_changed(user, since)
            ):
                await self._waiters.wait(waiter, seconds)
        finally:
            self._waiters.end(waiter, user, rooms)

    def wake(self, rooms: Iterable[RoomNid]) -> None:
        """Wake all who wait for these rooms, for something that is not in the log."""
        for room in rooms:
            self._waiters.wake_room(room)

    def end_waiting(self) -> None:
        """Wake all who wait; nobody waits any more from now on: the process ends."""
        self._waiters.wake_all()

    async def _read_to(self, target: int) -> None:
        while self.position < target:
            entries = await self._process.tail.log.after(self.position)
            if not entries:
                self.position = target
                return
            self._apply(entries)
            full = len(entries) == MOST_AT_ONCE
            self.position = entries[-1].pos if full else max(target, entries[-1].pos)

    def _apply(self, entries: list[Entry]) -> None:
        for apply in self._appliers:
            apply(entries)
        for pos, kind, room, user, _ in entries:
            if room is not None:
                self._note(kind, room, pos)
                self._waiters.wake_room(room)
            if room is not None and (
                kind == Kind.STATE or (user is not None and kind == Kind.EVENT)
            ):
                self._members[room] = pos
            if user is not None and kind != Kind.RECEIPT:
                self._users[user] = pos
                self._waiters.wake_user(user)
            if kind in _DEVICES:
                self._devices = pos
        remembered = len(self._events) + len(self._receipts) + len(self._members)
        if remembered + len(self._users) > _MOST:
            self._forget(entries[-1].pos)

    def _note(self, kind: int, room: RoomNid, pos: int) -> None:
        if kind == Kind.RECEIPT:
            self._receipts[room] = self._latest_receipt = pos
        else:
            self._events[room] = self._latest_event = pos

    def _forget(self, position: int) -> None:
        self._events.clear()
        self._receipts.clear()
        self._members.clear()
        self._users.clear()
        self._floor = position
