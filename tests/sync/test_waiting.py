"""Waiting for news, in memory."""

import asyncio

from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.sync.waiting import Waiters

ANN, ROOM = UserNid(1), RoomNid(1)


async def wait(waiters: Waiters, seconds: float) -> float:
    """For how long one waits."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    waiter = waiters.begin(ANN, [ROOM])
    await waiters.wait(waiter, seconds)
    waiters.end(waiter, ANN, [ROOM])
    return loop.time() - began


async def test_nobody_waits_for_less_than_they_want() -> None:
    waiters = Waiters()
    wanted = [0.0, 0.01, 0.15, 0.3, 0.3]
    waited = await asyncio.gather(*(wait(waiters, seconds) for seconds in wanted))
    assert all(long >= short for long, short in zip(waited, wanted, strict=True))
    assert not waiters.somebody.is_set()


async def test_who_is_woken_waits_no_more() -> None:
    waiters = Waiters()
    waiting = [asyncio.create_task(wait(waiters, 600)) for _ in range(3)]
    await waiters.somebody.wait()
    waiters.wake_room(ROOM)
    async with asyncio.timeout(10):
        assert max(await asyncio.gather(*waiting)) < 10
