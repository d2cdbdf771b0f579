"""Following what becomes of devices and of who shares rooms with whom, behind everybody's back.

One process at a time has this duty. It reads the log, so nothing is missed, whoever changed it and
whatever crashed.

https://spec.matrix.org/v1.19/server-server-api/#device-management
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress

from federation.identifiers import domain_of
from homeserver.e2ee.device_lists import is_joined
from homeserver.e2ee.refreshing import Refreshing
from homeserver.e2ee.telling import Telling
from homeserver.ending import end
from homeserver.peers.sending import ANSWERS, BACK
from homeserver.storage import device_updates, remote_devices
from homeserver.storage.bus import Bus, Message
from homeserver.storage.destinations import FOLLOW_DEVICES
from homeserver.storage.device_updates import Change, Move
from homeserver.storage.holding import Duty
from homeserver.storage.log import Kind
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process

_READ = 1000
"""Positions at a time."""
_LOOK_AGAIN = 60.0
"""Seconds after which it is looked for servers that answer again, should nobody have said so."""
_TOGETHER = 0.05
"""Seconds for which changes are gathered: a new device changes several things."""
_LONG = 3_600_000
"""Milliseconds between two attempts to reach a server after which we may have missed updates."""
_OF_DEVICES = frozenset({Kind.DEVICE_GONE, Kind.DEVICE_KEYS})


class Following:
    """Has the duty, or waits for it. `run` has to run."""

    def __init__(
        self, process: Process, bus: Bus, telling: Telling, refreshing: Refreshing
    ) -> None:
        self._process = process
        self._telling = telling
        self._refreshing = refreshing
        self._is_mine = False
        self._doubting: set[asyncio.Task[None]] = set()
        self._duty = Duty(process, FOLLOW_DEVICES)
        self._telling_now = asyncio.Lock()
        """Whoever has it tells: what one does not tell a server, the other does."""
        self._answers = asyncio.Event()
        bus.hear(BACK, self._hear_back)
        bus.hear(ANSWERS, lambda _: self._answers.set())

    async def run(self) -> None:
        """Have the duty for as long as it is ours, again and again."""
        await self._duty.run(self._work)

    async def _work(self) -> None:
        refreshing = asyncio.create_task(self._refreshing.run())
        following = asyncio.create_task(self._follow())
        catching_up = asyncio.create_task(self._catch_up())
        tasks = (refreshing, following, catching_up)
        self._is_mine = True
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            self._is_mine = False
            await end(*tasks, *self._doubting)

    async def _catch_up(self) -> None:
        """Tell servers that were away what they were not told, for ever."""
        while True:
            self._answers.clear()
            async with self._telling_now:
                await self._telling.catch_up(self._duty.holder)
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_AGAIN):
                    await self._answers.wait()

    async def _follow(self) -> None:
        while True:
            await self._read_on()
            await self._process.clock.wait_beyond(self._duty.pos)
            await asyncio.sleep(_TOGETHER)

    async def _read_on(self) -> None:
        target, duty = self._process.clock.position, self._duty
        while duty.pos < target:
            up_to = min(target, duty.pos + _READ)
            async with self._process.database.reader() as conn:
                changes = await device_updates.changes(conn, duty.pos, up_to)
                await self._drop(conn, await device_updates.moves(conn, duty.pos, up_to))
            await self._take(changes)
            duty.pos = up_to

    async def _drop(self, conn: Connection, moves: Iterable[Move]) -> None:
        """Forget the devices of people with whom nobody here shares a room any more."""
        gone = [move for move in moves if is_joined(move.before) and not is_joined(move.after)]
        if not gone:
            return
        name = self._process.server
        me = (await self._process.numbers.servers.intern(conn, [name]))[name]
        left = [(m.user_id, m.room) for m in gone if domain_of(m.user_id) != name]
        rooms = {move.room for move in gone if domain_of(move.user_id) == name}
        await remote_devices.drop_unshared(conn, left, rooms, me)

    async def _take(self, changes: Iterable[Change]) -> None:
        ours = [c for c in changes if c.user_id and domain_of(c.user_id) == self._process.server]
        if any(c.kind == Kind.DEVICE_KEYS and c not in ours for c in changes):
            self._refreshing.rouse()
        joins = [c for c in ours if is_joined(c.after) and not is_joined(c.before)]
        async with self._telling_now:
            await self._telling.tell([c for c in ours if c.kind in _OF_DEVICES], joins)

    def _hear_back(self, message: Message) -> None:
        """A server shows life that did not answer."""
        if self._is_mine:
            was_long = message["pause"] >= _LONG
            doubting = asyncio.create_task(
                self._refreshing.doubt(message["server"], everything=was_long)
            )
            self._doubting.add(doubting)
            doubting.add_done_callback(self._doubting.discard)
