"""Work that goes on in the background: started again when it fails, ended in order."""

import asyncio
from collections.abc import Awaitable, Callable

from homeserver.ending import end
from homeserver.logs import get_logger
from homeserver.storage.pool import passes

log = get_logger(__name__)

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
"""Seconds between a failure and the next try."""

Work = Callable[[], Awaitable[None]]


class Supervisor:
    """Keeps work going until it is told to stop."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def keep(self, name: str, work: Work) -> None:
        """Run `work` for ever: whenever it ends, by itself or by an error, run it again."""
        self._tasks[name] = asyncio.create_task(_again_and_again(name, work), name=name)

    async def end(self, name: str) -> None:
        """End what was kept going under a name."""
        await end(self._tasks.pop(name))

    async def stop(self) -> None:
        """End all of it, what was started last first."""
        for task in reversed(self._tasks.values()):
            await end(task)
        self._tasks.clear()


async def _again_and_again(name: str, work: Work) -> None:
    pause = _FIRST_PAUSE
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - whatever it is, the work has to go on
            if passes(error):
                log.warning("background work has no database", work=name, reason=str(error))
            else:
                log.warning("background work failed, it begins again", work=name, exc_info=error)
        if loop.time() - began > _LONGEST_PAUSE:
            pause = _FIRST_PAUSE
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
