import asyncio

import pytest

from homeserver.app.supervision import Supervisor


async def test_work_that_fails_or_ends_begins_again(caplog: pytest.LogCaptureFixture) -> None:
    supervisor, times, lasting = Supervisor(), 0, asyncio.Event()

    async def work() -> None:
        nonlocal times
        times += 1
        if times == 1:
            raise ConnectionError
        if times > 2:
            lasting.set()
            await asyncio.Event().wait()

    supervisor.keep("work", work)
    async with asyncio.timeout(5):
        await lasting.wait()
    await supervisor.stop()
    assert times == 3


async def test_what_began_last_ends_first() -> None:
    supervisor, ended = Supervisor(), []

    def lasting(name: str) -> None:
        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(name)

        supervisor.keep(name, work)

    lasting("first")
    lasting("second")
    await asyncio.sleep(0)
    await supervisor.stop()
    assert ended == ["second", "first"]
