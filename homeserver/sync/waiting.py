"""Those who wait for something to happen in rooms or to users, in memory."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from math import ceil

from homeserver.portions import Portions
from homeserver.storage.numbers import RoomNid, UserNid

_AT_ONCE = 30
"""Who wakes in one turn of the event loop: each has some half a millisecond to do."""

_STEP = 0.1
"""Seconds within which ends of waiting come together."""

Waiter = asyncio.Future[None]


class Ends:
    """When waiting ends: one timer for all who wait until about the same moment.

    Timers take a fifth of what somebody who waits takes in memory.
    """

    def __init__(self, end: Callable[[Waiter], None]) -> None:
        self._end = end
        self._waiting: dict[int, set[Waiter]] = {}
        """By the moment, in steps."""

    def add(self, waiter: Waiter, seconds: float) -> int:
        """Let the waiting end after so many seconds, or a little later; names the moment."""
        loop = asyncio.get_running_loop()
        moment = ceil((loop.time() + seconds) / _STEP)
        if moment not in self._waiting:
            self._waiting[moment] = set()
            loop.call_at(moment * _STEP, self._come, moment)
        self._waiting[moment].add(waiter)
        return moment

    def remove(self, waiter: Waiter, moment: int) -> None:
        """It has ended."""
        if moment in self._waiting:
            self._waiting[moment].discard(waiter)

    def _come(self, moment: int) -> None:
        for waiter in self._waiting.pop(moment):
            self._end(waiter)


class Waiters:
    """Knows who waits for what, and wakes them."""

    def __init__(self) -> None:
        self._rooms: dict[int, set[Waiter]] = {}
        self._users: dict[int, set[Waiter]] = {}
        self._portions = Portions(_AT_ONCE)
        self._ends = Ends(self._portions.release)
        self._is_over = False
        self.somebody = asyncio.Event()
        """Set while anybody waits."""

    @property
    def has_rooms(self) -> bool:
        """Whether anybody waits for a room."""
        return bool(self._rooms)

    def begin(self, user: UserNid, rooms: Iterable[RoomNid]) -> Waiter:
        """Somebody of whom `wait` and `end` are to be told begins to wait."""
        waiter: Waiter = asyncio.get_running_loop().create_future()
        self._users.setdefault(user, set()).add(waiter)
        for room in rooms:
            self._rooms.setdefault(room, set()).add(waiter)
        self.somebody.set()
        return waiter

    async def wait(self, waiter: Waiter, seconds: float) -> None:
        """Wait until woken, or for so many seconds, or until all waiting is over."""
        if self._is_over:
            return
        moment = self._ends.add(waiter, seconds)
        try:
            await waiter
        finally:
            self._ends.remove(waiter, moment)

    def end(self, waiter: Waiter, user: UserNid, rooms: Iterable[RoomNid]) -> None:
        """Who waited for this does not any more, woken or not."""
        _discard(self._users, user, waiter)
        for room in rooms:
            _discard(self._rooms, room, waiter)
        if not self._users:
            self.somebody.clear()

    def wake_room(self, room: RoomNid) -> None:
        """Wake all who wait for a room."""
        self._wake(self._rooms.pop(room, ()))

    def wake_user(self, user: UserNid) -> None:
        """Wake all who wait for a user."""
        self._wake(self._users.pop(user, ()))

    def wake_all(self) -> None:
        """Wake everybody, for ever."""
        self._is_over = True
        for waiters in self._users.values():
            self._wake(waiters)

    def _wake(self, waiters: Collection[Waiter]) -> None:
        for waiter in waiters:
            self._portions.release(waiter)


def _discard(waiting: dict[int, set[Waiter]], key: int, waiter: Waiter) -> None:
    with suppress(KeyError):
        waiting[key].discard(waiter)
        if not waiting[key]:
            del waiting[key]
