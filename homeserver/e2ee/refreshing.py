"""Fetching device lists that became stale, behind everybody's back and a few at a time.

Only those that somebody asked for since they were fetched: an update that nobody is interested in
costs no request, however often it comes.

https://spec.matrix.org/v1.19/server-server-api/#device-management
"""

import asyncio
from collections.abc import Sequence

from federation.identifiers import ServerName, UserID
from homeserver.e2ee.fetching import Fetching
from homeserver.storage import remote_devices
from homeserver.storage.numbers import ServerNid
from homeserver.storage.process import Process

_SERVERS_AT_ONCE = 4
_READ = 500
_ONE_BY_ONE = 10
"""Lists of a server that are asked for one by one, so that updates can follow on them."""
_LONGEST_WAIT = 60.0
"""Seconds after which it is looked for work, should nobody have said that there is any."""
_LEAST_WAIT = 0.1


class Refreshing:
    """Fetches them. `run` has to run, in one process."""

    def __init__(self, process: Process, fetching: Fetching) -> None:
        self._process = process
        self._fetching = fetching
        self._roused = asyncio.Event()
        self._servers = asyncio.Semaphore(_SERVERS_AT_ONCE)

    def rouse(self) -> None:
        """There may be work."""
        self._roused.set()

    async def doubt(self, server: ServerNid, *, everything: bool) -> None:
        """A server is back: ask it at once for what could not be had, or for everything."""
        async with self._process.database.reader() as conn:
            await remote_devices.doubt_server(conn, server, everything=everything)
        self.rouse()

    async def run(self) -> None:
        """Fetch whatever is due, for ever."""
        while True:
            self._roused.clear()
            async with self._process.database.reader() as conn:
                due = await remote_devices.due(conn, self._process.now(), _READ)
                next_ts = await remote_devices.next_due(conn)
            by_server: dict[ServerName, list[UserID]] = {}
            for one in due:
                by_server.setdefault(one.server, []).append(one.user_id)
            await asyncio.gather(*(self._fetch(s, users) for s, users in by_server.items()))
            if not due:
                await self._wait(next_ts)

    async def _wait(self, next_ts: int | None) -> None:
        seconds = _LONGEST_WAIT
        if next_ts is not None:
            left = (next_ts - self._process.now()) / 1000
            seconds = min(max(left, _LEAST_WAIT), _LONGEST_WAIT)
        try:
            async with asyncio.timeout(seconds):
                await self._roused.wait()
        except TimeoutError:
            pass

    async def _fetch(self, server: ServerName, users: Sequence[UserID]) -> None:
        async with self._servers:
            if len(users) > _ONE_BY_ONE:
                await asyncio.wait(set(self._fetching.many(server, users, wanted=False).values()))
                return
            for user in users:
                # The rest of them is put off too.
                if await asyncio.shield(self._fetching.one(server, user)) is None:
                    return
