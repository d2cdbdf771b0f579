"""Ending tasks for certain."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

_AGAIN = 1.0
"""Seconds after which a task that goes on in spite of it is cancelled once more."""


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks, and wait until they have ended.

    Once is not always enough: up to Python 3.11 `asyncio.wait_for`, which asyncpg is built on,
    forgets that it was cancelled if what it waits for comes at the same moment.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_AGAIN)


class Errands:
    """Small things that are done behind everybody's back, and may be left undone.

    Args:
        losses: errors by which they may come to nothing.

    """

    def __init__(self, *losses: type[Exception]) -> None:
        self._losses = losses
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, errand: Coroutine[Any, Any, None]) -> None:
        """Do one."""
        task = asyncio.get_running_loop().create_task(self._done(errand))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _done(self, errand: Coroutine[Any, Any, None]) -> None:
        with suppress(*self._losses):
            await errand
