"""Servers killed while somebody comes into rooms of another one, or turns them down."""

import asyncio
import random
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from tests.app.processes import Serving, serving
from tests.app.test_crashes import SETTLES_WITHIN, V3, Talker, register
from tests.federation.net.loopback import Authority
from tests.servers import eventually

ROUNDS = 4


class _Killing:
    """Kills a server a moment after something has begun, and starts it again."""

    def __init__(self, server: Serving, chance: random.Random) -> None:
        self._server, self._chance = server, chance

    async def amid(self, doing: Coroutine[Any, Any, Any], within: float) -> Any:
        task = asyncio.create_task(doing)
        await asyncio.sleep(self._chance.uniform(0.0, within))
        self._server.send(signal.SIGKILL)
        assert self._server.process
        self._server.process.wait()
        self._server.launch()
        return await task


async def _members(who: Talker, room_id: str) -> set[str]:
    path = f"{V3}/rooms/{quote(room_id)}/joined_members"
    return set((await who.ask("GET", path))["joined"])


async def _becomes(who: Talker, room_id: str, members: set[str]) -> None:
    async def has() -> bool:
        return await _members(who, room_id) == members

    await eventually(has, SETTLES_WITHIN)


async def _invited(ann: Talker) -> set[str]:
    return set((await ann.ask("GET", f"{V3}/sync")).get("rooms", {}).get("invite", {}))


async def _room(bob: Talker, number: int) -> str:
    wanted = {"preset": "private_chat", "name": f"room {number}"}
    room_id = str((await bob.ask("POST", f"{V3}/createRoom", wanted))["room_id"])
    for text in range(5):
        path = f"{V3}/rooms/{quote(room_id)}/send/m.room.message/{text}"
        await bob.ask("PUT", path, {"msgtype": "m.text", "body": f"{text}"})
    return room_id


async def _invite(bob: Talker, ann: Talker, room_id: str) -> None:
    await bob.ask("POST", f"{V3}/rooms/{quote(room_id)}/invite", {"user_id": ann.user_id})

    async def is_there() -> bool:
        return room_id in await _invited(ann)

    await eventually(is_there, SETTLES_WITHIN)


async def _says(ann: Talker, bob: Talker, room_id: str) -> None:
    """The room goes on."""
    path = f"{V3}/rooms/{quote(room_id)}/send/m.room.message/last"
    said = await ann.ask("PUT", path, {"msgtype": "m.text", "body": "at last"})

    async def is_heard() -> bool:
        return said["event_id"] in await bob.history(room_id)

    await eventually(is_heard, SETTLES_WITHIN)


async def test_all_rooms_are_whole(tmp_path: Path, loopback_authority: Authority) -> None:
    chance = random.Random(7)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        here, there = [
            await stack.enter_async_context(
                serving(tmp_path / name, workers=1, authority=loopback_authority)
            )
            for name in ("a", "b")
        ]
        ann = await register(here, session, "ann")
        bob = await register(there, session, "bob")
        killing = _Killing(here, chance)
        for number in range(ROUNDS):
            room_id = await _room(bob, number)
            inviting = _invite(bob, ann, room_id)
            await (killing.amid(inviting, 0.3) if number % 2 else inviting)
            if number % 4 == 3:
                leaving = ann.ask("POST", f"{V3}/rooms/{quote(room_id)}/leave", {})
                await killing.amid(leaving, 0.3)
                assert room_id not in await _invited(ann)
                await _becomes(bob, room_id, {bob.user_id})
                continue
            await killing.amid(ann.ask("POST", f"{V3}/join/{quote(room_id)}", {}), 0.6)
            for person in (ann, bob):
                await _becomes(person, room_id, {ann.user_id, bob.user_id})
            assert room_id not in await _invited(ann)
            history = await killing.amid(ann.history(room_id), 0.3)
            assert len(history) == len(set(history)) > 10
            await _says(ann, bob, room_id)
