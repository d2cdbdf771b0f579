"""How many of somebody's requests are worked on at once."""

import asyncio

import pytest

from homeserver.config.settings import RateLimits
from homeserver.errors import LimitExceeded
from homeserver.http import dispatch
from homeserver.http.turns import Turns
from tests.http.rig import served


async def test_each_waits_for_their_own_only() -> None:
    turns, release, running = Turns(2, 1), asyncio.Event(), list[str]()

    async def work(caller: str) -> None:
        async with turns.of(caller):
            running.append(caller)
            await release.wait()
            running.remove(caller)

    mine = [asyncio.create_task(work("a")) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(LimitExceeded):
        await work("a")
    other = asyncio.create_task(work("b"))
    await asyncio.sleep(0)
    assert sorted(running) == ["a", "a", "b"]
    mine[2].cancel()  # who waits may give up
    await asyncio.wait(mine[2:])
    fourth = asyncio.create_task(work("a"))
    release.set()
    await asyncio.gather(*mine[:2], other, fourth)
    assert len(turns) == 0


async def test_requests_of_one_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transactions are not among them: they may wait for answers of those."""
    monkeypatch.setattr(dispatch, "SERVER_AT_ONCE", 2)
    monkeypatch.setattr(dispatch, "SERVER_WAITING", 1)
    async with served(rates=RateLimits(enabled=False)) as rig:
        target = "/_matrix/federation/v1/waits"
        wires = [await rig.connect() for _ in range(4)]
        for wire in wires:
            wire.send("GET", target, Authorization=f"X-Matrix {len(target)}")
        answers = [asyncio.create_task(wire.receive()) for wire in wires]
        done, waiting = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
        (refused,) = done
        assert (refused.result().status, refused.result().errcode) == (429, "M_LIMIT_EXCEEDED")
        rig.house.release.set()
        assert [(await answer).status for answer in waiting] == [200] * 3
