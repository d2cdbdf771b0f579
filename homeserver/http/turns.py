"""Taking turns: how many of somebody's requests are worked on at the same time, and how many wait.

Unlike a rate, it bounds what is under way, however long that takes.
"""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from homeserver.errors import LimitExceeded

_TRY_AGAIN = 5000
"""Milliseconds after which somebody who is sent away may come again."""


class Turns:
    """Turns of many callers, none of whom waits for another.

    Args:
        at_once: requests of one caller that are worked on.
        waiting: of one caller that wait for that; more are sent away.

    """

    def __init__(self, at_once: int, waiting: int) -> None:
        self._at_once = at_once
        self._most = at_once + waiting
        self._here: dict[Hashable, int] = {}
        self._slots: dict[Hashable, asyncio.Semaphore] = {}

    def __len__(self) -> int:
        """How many callers have or await one."""
        return len(self._here)

    @asynccontextmanager
    async def of(self, caller: Hashable) -> AsyncIterator[None]:
        """Wait for a turn, and have it for the block.

        Raises:
            LimitExceeded: too many wait already.

        """
        here = self._here.get(caller, 0)
        if here >= self._most:
            raise LimitExceeded(_TRY_AGAIN)
        self._here[caller] = here + 1
        try:
            async with self._slots.setdefault(caller, asyncio.Semaphore(self._at_once)):
                yield
        finally:
            self._here[caller] -= 1
            if not self._here[caller]:
                del self._here[caller], self._slots[caller]
