"""Ending tasks for certain."""

import asyncio
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
