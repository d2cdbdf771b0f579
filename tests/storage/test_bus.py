import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from homeserver.storage.bus import Bus, Message
from homeserver.storage.pool import Database


@asynccontextmanager
async def connected(database: Database, *buses: Bus) -> AsyncIterator[None]:
    conns = [await database.connect() for _ in buses]
    tasks = [asyncio.create_task(b.run(c)) for b, c in zip(buses, conns, strict=True)]
    # Each has to listen before anything is told.
    while any(not conn._listeners for conn in conns):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for conn in conns:
        await conn.close()


class Ear:
    def __init__(self, bus: Bus, kind: str) -> None:
        self.heard: list[Message] = []
        self._more = asyncio.Event()
        bus.hear(kind, self._hear)

    def _hear(self, message: Message) -> None:
        self.heard.append(message)
        self._more.set()

    async def has(self, count: int) -> list[Message]:
        async with asyncio.timeout(5):
            while len(self.heard) < count:
                self._more.clear()
                await self._more.wait()
        return self.heard


async def test_all_processes_hear_it_once(database: Database) -> None:
    one, two = Bus(), Bus()
    ears = [Ear(one, "typing"), Ear(two, "typing")]
    other = Ear(two, "presence")
    async with connected(database, one, two):
        one.tell("typing", {"room": 1})
        assert ears[0].heard == [{"room": 1}]  # at once
        two.tell("typing", {"room": 2})
        for ear in ears:
            await ear.has(2)
    assert sorted(message["room"] for message in ears[0].heard) == [1, 2]
    assert sorted(message["room"] for message in ears[1].heard) == [1, 2]
    assert other.heard == []


async def test_many_go_out_in_pieces_and_in_order(database: Database) -> None:
    one, two = Bus(), Bus()
    ear = Ear(two, "typing")
    async with connected(database, one, two):
        for number in range(2000):
            one.tell("typing", {"number": number, "text": "\N{SNOWMAN}" * 10})
        heard = await ear.has(2000)
    assert [message["number"] for message in heard] == list(range(2000))


async def test_what_is_too_large_stays_here(database: Database) -> None:
    one, two = Bus(), Bus()
    here, there = Ear(one, "typing"), Ear(two, "typing")
    async with connected(database, one, two):
        one.tell("typing", {"text": "x" * 8000})
        one.tell("typing", {"text": "short"})
        assert await there.has(1) == [{"text": "short"}]
    assert len(here.heard) == 2
