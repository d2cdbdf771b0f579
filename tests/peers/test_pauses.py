"""Leaving servers alone until they show life."""

import asyncio
from typing import Any, cast

from homeserver.peers.pauses import Pauses
from homeserver.storage.numbers import ServerNid

ONE, OTHER = ServerNid(1), ServerNid(2)


def _pauses() -> Pauses:
    return Pauses(cast("Any", None))  # it is only asked who is back by `watch`


async def test_life_before_one_waits() -> None:
    """While it was written down that the server does not answer, it did."""
    pauses = _pauses()
    pauses.begin(ONE)
    pauses.note_life(ONE)
    async with asyncio.timeout(10):
        assert await pauses.leave_alone(ONE, 3600)
    # That was then: after the next failure it is waited again.
    pauses.begin(ONE)
    assert not await pauses.leave_alone(ONE, 0.01)


async def test_life_while_one_waits() -> None:
    pauses = _pauses()
    waiting = asyncio.create_task(pauses.leave_alone(ONE, 3600))
    await asyncio.sleep(0)
    pauses.note_life(OTHER)
    await asyncio.sleep(0)
    assert not waiting.done()
    pauses.note_life(ONE)
    async with asyncio.timeout(10):
        assert await waiting


async def test_life_of_who_was_not_left_alone_is_not_remembered() -> None:
    pauses = _pauses()
    pauses.note_life(ONE)
    assert not await pauses.leave_alone(ONE, 0.01)


async def test_an_old_sign_of_life_is_none_after_another_failure() -> None:
    pauses = _pauses()
    pauses.begin(ONE)
    pauses.note_life(ONE)
    pauses.begin(ONE)
    assert not await pauses.leave_alone(ONE, 0.01)
