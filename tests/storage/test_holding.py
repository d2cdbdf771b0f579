"""A duty is one process's at a time, and done where the other left it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from homeserver.ending import end
from homeserver.storage import holding
from homeserver.storage.holding import Duty, Lost
from tests.servers import Hearth, eventually


class Worker:
    """Does a duty that counts on as often as it is told."""

    def __init__(self, hearth: Hearth) -> None:
        self.process = hearth.parts.base.process
        self.duty = Duty(self.process, "count", begin=0)
        self.times = 0
        self.is_at_it = False
        self.gives_up = asyncio.Event()

    async def work(self) -> None:
        self.times += 1
        self.is_at_it = True
        try:
            await self.gives_up.wait()
            self.gives_up.clear()
            raise Lost
        finally:
            self.is_at_it = False

    async def begun(self, times: int) -> bool:
        return self.is_at_it and self.times == times

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.duty.run(self.work))
        yield
        await end(task)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "RENEW", 0.05)


async def test_whoever_waits_goes_on_where_it_ended(hearth: Hearth) -> None:
    one, other = Worker(hearth), Worker(hearth)
    async with other.running():
        async with one.running():
            await eventually(lambda: _either(one, other))
            first, second = (one, other) if one.is_at_it else (other, one)
            first.duty.pos = 7
            await asyncio.sleep(0.2)
            assert (first.times, second.times) == (1, 0)
            # It ends by itself, and either has it next.
            first.gives_up.set()
            await eventually(lambda: _either(one, other))
            assert {one.duty.pos, other.duty.pos} >= {7}
        await eventually(lambda: other.begun(other.times))
        assert other.duty.pos == 7


async def _either(one: Worker, other: Worker) -> bool:
    return one.is_at_it or other.is_at_it


async def test_whoever_lost_it_stops(hearth: Hearth) -> None:
    """As one that stood still for longer than its lease."""
    worker = Worker(hearth)
    async with worker.running():
        await eventually(lambda: worker.begun(1))
        async with worker.process.database.reader() as conn:
            await conn.execute("UPDATE duties SET holder = 'x' WHERE name = 'count'")
        await eventually(lambda: _stopped(worker))
        async with worker.process.database.reader() as conn:
            # What it leaves is the other's.
            assert await conn.fetchval("SELECT until_ts > 0 FROM duties WHERE name = 'count'")
            await conn.execute("UPDATE duties SET until_ts = 0 WHERE name = 'count'")
        await eventually(lambda: worker.begun(2))


async def _stopped(worker: Worker) -> bool:
    return not worker.is_at_it
