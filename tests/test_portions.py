"""Letting many go on some at a time."""

import asyncio
from itertools import pairwise

from homeserver.portions import Portions


async def test_many_go_on_in_their_order_some_in_each_turn_of_the_loop() -> None:
    portions, gone, looked = Portions(3), list[int](), list[int]()

    async def go(number: int) -> None:
        await portions.turn()
        gone.append(number)

    def look() -> None:
        looked.append(len(gone))
        if len(gone) < 10:
            asyncio.get_running_loop().call_soon(look)

    asyncio.get_running_loop().call_soon(look)
    await asyncio.gather(*(go(number) for number in range(10)))
    assert gone == list(range(10))
    assert max(b - a for a, b in pairwise(looked)) <= 3


async def test_who_is_gone_takes_nobodys_turn() -> None:
    portions, loop = Portions(1), asyncio.get_running_loop()
    waiting = [loop.create_future() for _ in range(3)]
    for one in waiting:
        portions.release(one)
    waiting[1].cancel()
    assert waiting[0].done()
    async with asyncio.timeout(5):
        await waiting[2]
