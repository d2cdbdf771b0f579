"""The event loop is watched."""

import asyncio
import time

import pytest

from homeserver.app import lag


@pytest.mark.alone
async def test_work_in_one_piece_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr(
        lag.log, "warning", lambda _, milliseconds: told.append(milliseconds), raising=False
    )
    watching = asyncio.create_task(lag.watch())
    await asyncio.sleep(lag.TOO_LONG)
    # Whoever waits, or works in pieces, keeps nobody waiting.
    await asyncio.sleep(2 * lag.TOO_LONG)
    assert told == []
    until = time.thread_time() + 3 * lag.TOO_LONG
    while time.thread_time() < until:
        pass
    await asyncio.sleep(lag.TOO_LONG)
    watching.cancel()
    assert len(told) == 1
    assert told[0] >= 1000 * lag.TOO_LONG
