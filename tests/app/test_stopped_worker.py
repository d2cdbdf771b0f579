"""A worker that stands still, as one does whose machine swaps: the others go on as before."""

import asyncio
import os
import signal
import time
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest

from tests.app.processes import serving
from tests.app.test_hot_room import V3, Somebody

STILL = float(os.environ.get("HEARTH_STILL_SECONDS", "6"))
WORST = 2.0
"""Seconds that anything may take meanwhile, on a busy machine."""
TALKERS = 8


@pytest.mark.alone
async def test_the_others_keep_their_latency(tmp_path: Path) -> None:
    async with serving(tmp_path, workers=2) as server:
        # Each request over a connection of its own: who stands still accepts none.
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            ann = await Somebody(server, session).register("ann")
            hot = (await ann.ask("POST", f"{V3}/createRoom", {}))["room_id"]
            own = [(await ann.ask("POST", f"{V3}/createRoom", {}))["room_id"] for _ in range(3)]
            took: list[tuple[float, float]] = []
            over = asyncio.Event()
            talkers = [
                asyncio.create_task(talk(ann, [hot, *own], name, took, over))
                for name in range(TALKERS)
            ]
            await asyncio.sleep(1)
            still = server.processes()[1]
            os.kill(still, signal.SIGSTOP)
            stopped = time.monotonic()
            await asyncio.sleep(STILL)
            goes_on = time.monotonic()
            os.kill(still, signal.SIGCONT)
            await asyncio.sleep(1)
            over.set()
            sent = [event for talker in talkers for event in await talker]
            assert len(set(sent)) == len(sent)
            meanwhile = [s for began, s in took if stopped + 0.1 < began < goes_on - WORST]
            assert len(meanwhile) > 20 * STILL
            assert max(meanwhile) < WORST, sorted(meanwhile)[-5:]


async def talk(
    person: Somebody,
    rooms: list[str],
    name: int,
    took: list[tuple[float, float]],
    over: asyncio.Event,
) -> list[str]:
    """Send into the rooms in turn, one after the other; when each began, and what it took.

    What was under way in the worker that stands still is answered once that goes on: others
    talk meanwhile.
    """
    sent: list[str] = []
    waiting: list[asyncio.Task[str]] = []
    number = 0
    while not over.is_set():
        path = f"{V3}/rooms/{quote(rooms[number % len(rooms)])}/send/m.room.message/{name}-{number}"
        task = asyncio.create_task(send(person, path, took))
        number += 1
        done, _ = await asyncio.wait([task], timeout=WORST * 2)
        if done:
            sent.append(task.result())
        else:
            waiting.append(task)
    return sent + list(await asyncio.gather(*waiting))


async def send(person: Somebody, path: str, took: list[tuple[float, float]]) -> str:
    began = time.monotonic()
    answer = await person.ask("PUT", path, {"msgtype": "m.text", "body": "hello"})
    took.append((began, time.monotonic() - began))
    return str(answer["event_id"])
