"""Having a duty, or waiting for it: one process at a time does it, others go on where it ended."""

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from typing import Any

from homeserver.ending import end
from homeserver.logs import get_logger
from homeserver.storage import duties
from homeserver.storage.process import Process

log = get_logger(__name__)

LEASE = 6_000
"""Milliseconds after which another process takes over from one that says nothing."""
RENEW = 2.0
"""Seconds between two signs of life."""
_UNHURRIED = 0.25
"""Seconds for which the log may move on before it is read."""
_STRETCH = 10_000
"""Positions of the log that are looked at together."""


class Lost(Exception):  # noqa: N818 - not an error: somebody else has the duty
    """The duty is another process's by now; whoever notices it raises this."""


class Duty:
    """A duty of all processes, as one of them sees it. `run` has to run.

    Args:
        process: the one that this is part of.
        name: of the duty.
        begin: where in the log it begins if nobody ever had it; now, if nothing else is said.

    """

    def __init__(self, process: Process, name: str, begin: int | None = None) -> None:
        self.name = name
        self.holder = secrets.token_hex(8)
        self.pos = 0
        """Up to here in the log it is done, while it is ours."""
        self._process = process
        self._begin = begin

    async def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do the work, which never ends by itself, whenever the duty is ours.

        The work moves `pos` on. It is cancelled when the duty is lost, and may raise `Lost` itself.
        """
        while True:
            if not await self._hold():
                await asyncio.sleep(RENEW)
                continue
            working = asyncio.create_task(work())
            try:
                await self._keep(working)
            except Lost:
                log.info("another process has the duty now", duty=self.name)
            finally:
                await end(working)
                await self._let_go()

    async def follow(self, look: Callable[[int, int], Coroutine[Any, Any, None]]) -> None:
        """While the duty is ours, look at each stretch of the log, unhurried, as it is written.

        `look` is given the position before the stretch, and its last.
        """

        async def follow() -> None:
            clock = self._process.clock
            while True:
                await clock.wait_beyond(self.pos)
                if clock.position < self.pos + _STRETCH:
                    await asyncio.sleep(_UNHURRIED)
                upto = min(clock.position, self.pos + _STRETCH)
                await look(self.pos, upto)
                self.pos = upto

        await self.run(follow)

    async def _hold(self) -> bool:
        now = self._process.now()
        begin = self._process.clock.position if self._begin is None else self._begin
        async with self._process.database.reader() as conn:
            held = await duties.hold(conn, self.name, self.holder, now, now + LEASE, begin)
        if held is not None:
            self.pos = held.pos
        return held is not None

    async def _keep(self, working: asyncio.Task[None]) -> None:
        """Say that we are alive until the work ends; however it does, that is raised."""
        while True:
            await asyncio.wait([working], timeout=RENEW)
            if working.done():
                return working.result()
            until = self._process.now() + LEASE
            async with self._process.database.reader() as conn:
                if not await duties.keep(conn, self.name, self.holder, until, self.pos):
                    raise Lost

    async def _let_go(self) -> None:
        async with self._process.database.reader() as conn:
            await duties.let_go(conn, self.name, self.holder)
