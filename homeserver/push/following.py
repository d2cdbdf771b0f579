"""Following the log for those who have pushers: what their rules want told is queued.

One process at a time has this duty, and sends what waits as well.

https://spec.matrix.org/v1.19/client-server-api/#push-notifications
"""

import asyncio
import secrets
from collections.abc import Sequence
from typing import NamedTuple

from homeserver.push.delivering import LASTS, Delivering
from homeserver.push.selecting import Selecting
from homeserver.storage import duties, push_queue
from homeserver.storage.log import (
    MOST_AT_ONCE,
    Entry,
    Kind,
    read_log,
    read_log_without_events,
)
from homeserver.storage.process import Process

DUTY = "tell push gateways"
LEASE = 6_000
"""Milliseconds after which another process takes over from one that says nothing."""
_RENEW = 2.0
"""Seconds between two signs of life."""
_UNHURRIED = 0.25
"""Seconds between two looks for pushers while nobody has any."""


class _Lost(Exception):  # noqa: N818 - not an error: somebody else has the duty
    pass


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
        self._me = secrets.token_hex(8)
        self._pos = 0

    async def run(self) -> None:
        """Have the duty for as long as it is ours, again and again."""
        while True:
            held = await self._hold()
            if held is None:
                await asyncio.sleep(_RENEW)
                continue
            self._pos = held.pos
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._keep_holding())
                    group.create_task(self._work())
            except* _Lost:
                pass
            finally:
                await self._delivering.end()
                await self._let_go()

    async def _hold(self) -> duties.Held | None:
        now, begin = self._process.now(), self._process.clock.position
        async with self._process.database.reader() as conn:
            return await duties.hold(conn, DUTY, self._me, now, now + LEASE, begin)

    async def _keep_holding(self) -> None:
        while True:
            await asyncio.sleep(_RENEW)
            until = self._process.now() + LEASE
            async with self._process.database.reader() as conn:
                if not await duties.keep(conn, DUTY, self._me, until, self._pos):
                    raise _Lost

    async def _let_go(self) -> None:
        async with self._process.database.reader() as conn:
            await duties.let_go(conn, DUTY, self._me)

    async def _work(self) -> None:
        await self._selecting.begin()
        self._delivering.begin()
        async with self._process.database.reader() as conn:
            await push_queue.drop_stale(conn, self._process.now() - LASTS)
            self._delivering.wake(await push_queue.waiting(conn))
        while True:
            target = self._process.clock.position
            while self._pos < target:
                await self._read_on(target)
            await self._process.clock.wait_beyond(self._pos)
            if not self._selecting.has_any:
                await asyncio.sleep(_UNHURRIED)

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
                    told = await push_queue.add(conn, notices, DUTY, self._me, read.reached, now)
                    if told is None:
                        raise _Lost
                    woken += told
            self._delivering.wake(woken)
        self._pos = read.reached

    async def _next(self, target: int) -> _Read:
        """The next rows; of events only if somebody may be told of them."""
        async with self._process.database.reader() as conn:
            if self._selecting.has_any:
                entries = await read_log(conn, self._pos)
                return _Read(entries, _reached(entries, target))
            entries = await read_log_without_events(conn, self._pos)
        first = next((n for n, e in enumerate(entries) if e.kind == Kind.PUSHER), None)
        if first is None:
            return _Read((), _reached(entries, target))
        # What happened after the first pusher was set is read again, with events.
        return _Read(entries[: first + 1], entries[first].pos)


def _reached(entries: Sequence[Entry], target: int) -> int:
    """Up to where rows were read: the log has no gaps."""
    if len(entries) == MOST_AT_ONCE:
        return entries[-1].pos
    return max([target, *(entry.pos for entry in entries[-1:])])
