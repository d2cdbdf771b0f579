"""Letting many go on some at a time, so that the event loop looks at everything else between them.

What is ready runs to its next waiting before the loop looks at connections and timers again: of
thousands that become ready in one moment, all others would wait for all.
"""

import asyncio
from collections import deque


class Portions:
    """Lets so many go on in each turn of the event loop.

    Args:
        size: how many.

    """

    def __init__(self, size: int) -> None:
        self._size = self._left = size
        self._queue: deque[asyncio.Future[None]] = deque()
        self._is_counting = False

    async def turn(self) -> None:
        """Wait until it is one's turn: at once, unless many want to go on at the same time."""
        if self._may_go():
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(waiting)
        await waiting

    def release(self, waiting: "asyncio.Future[None]") -> None:
        """Let one go on who waits, when it is their turn."""
        if not waiting.done():
            if self._may_go():
                waiting.set_result(None)
            else:
                self._queue.append(waiting)

    def _may_go(self) -> bool:
        if not self._is_counting:
            self._is_counting = True
            asyncio.get_running_loop().call_soon(self._next)
        if not self._left or self._queue:
            return False
        self._left -= 1
        return True

    def _next(self) -> None:
        """A new turn of the loop."""
        self._left = self._size
        while self._left and self._queue:
            waiting = self._queue.popleft()
            if not waiting.done():
                waiting.set_result(None)
                self._left -= 1
        self._is_counting = self._left < self._size
        if self._is_counting:
            asyncio.get_running_loop().call_soon(self._next)
