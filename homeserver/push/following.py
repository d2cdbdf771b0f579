"""Following the log for those who have pushers: what their rules want told is queued.

One process at a time has this duty, and sends what waits as well.

https://spec.matrix.org/v1.19/client-server-api/#push-notifications
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from homeserver.push.delivering import LASTS, Delivering
from homeserver.push.selecting import Selecting
from homeserver.storage import push_queue
from homeserver.storage.holding import Duty, Lost
from homeserver.storage.log import MOST_AT_ONCE, Entry, Kind
from homeserver.storage.process import Process

DUTY = "tell push gateways"
_UNHURRIED = 0.25
"""Seconds between two looks for pushers while nobody has any."""


class _Read(NamedTuple):
    """A stretch of the log."""

    entries: Sequence[Entry]
    reached: int


class Following:
    """Has the duty, or waits for it. `run` has to run.

    Args:
        process: the one that this is part of.
        selecting: finds what is to be told.
        delivering: tells it.

    """

    def __init__(self, process: Process, selecting: Selecting, delivering: Delivering) -> None:
        self._process = process
        self._selecting = selecting
        self._delivering = delivering
        self._duty = Duty(process, DUTY)

    async def run(self) -> None:
        """Have the duty for as long as it is ours, again and again."""
        await self._duty.run(self._work)

    async def _work(self) -> None:
        try:
            await self._begin()
            while True:
                target = self._process.clock.position
                while self._duty.pos < target:
                    await self._read_on(target)
                await self._process.clock.wait_beyond(self._duty.pos)
                if not self._selecting.has_any:
                    await asyncio.sleep(_UNHURRIED)
        finally:
            await self._delivering.end()

    async def _begin(self) -> None:
        await self._selecting.begin()
        self._delivering.begin()
        async with self._process.database.reader() as conn:
            await push_queue.drop_stale(conn, self._process.now() - LASTS)
            self._delivering.wake(await push_queue.waiting(conn))

    async def _read_on(self, target: int) -> None:
        """Queue what is to be told of the next stretch of the log."""
        read = await self._next(target)
        changed = await self._selecting.follow(read.entries)
        notices = await self._selecting.select(read.entries) if self._selecting.has_any else []
        if notices or changed:
            async with self._process.database.reader() as conn:
                woken = await push_queue.waiting(conn, changed) if changed else []
                if notices:
                    now = self._process.now()
                    told = await push_queue.add(
                        conn, notices, DUTY, self._duty.holder, read.reached, now
                    )
                    if told is None:
                        raise Lost
                    woken += told
            self._delivering.wake(woken)
        self._duty.pos = read.reached

    async def _next(self, target: int) -> _Read:
        """The next rows; of events only if somebody may be told of them."""
        rows = await self._process.tail.log.after(self._duty.pos)
        if self._selecting.has_any:
            return _Read(rows, _reached(rows, target))
        first = next((n for n, e in enumerate(rows) if e.kind == Kind.PUSHER), None)
        if first is None:
            return _Read((), _reached(rows, target))
        # What happened after the first pusher was set is read again, with events.
        before = [row for row in rows[: first + 1] if row.kind != Kind.EVENT]
        return _Read(before, rows[first].pos)


def _reached(entries: Sequence[Entry], target: int) -> int:
    """Up to where rows were read: the log has no gaps."""
    if len(entries) == MOST_AT_ONCE:
        return entries[-1].pos
    return max([target, *(entry.pos for entry in entries[-1:])])
