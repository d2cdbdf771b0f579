"""Telling a client that runs on Node.js what to do, and hearing what happens to it."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

_HERE = Path(__file__).parent
MODULES = _HERE.parents[1] / ".node"
_SECONDS = 30.0
"""How long anything may take."""

IS_THERE = (MODULES / "made").exists() and shutil.which("node") is not None
needs_node = pytest.mark.skipif(not IS_THERE, reason="needs Node.js, and tests/node/setup")


class Driven:
    """A script of this folder that runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._last = 0
        self._more = asyncio.Event()
        self.seen: list[Any] = []
        """What happened to it, in order."""

    async def do(self, verb: str, **args: Any) -> Any:
        """Have it do something; its answer."""
        self._last += 1
        answer = self._answers[self._last] = asyncio.get_running_loop().create_future()
        assert self._process.stdin
        line = {"id": self._last, "do": verb, "args": args}
        self._process.stdin.write(json.dumps(line).encode() + b"\n")
        async with asyncio.timeout(_SECONDS):
            return await answer

    async def until(self, seen: str, holds: Callable[[Any], Any] = lambda _: True) -> Any:
        """Wait until something happened to it."""
        async with asyncio.timeout(_SECONDS):
            while True:
                for one in self.seen:
                    if one["seen"] == seen and holds(one):
                        return one
                self._more.clear()
                await self._more.wait()

    async def listen(self) -> None:
        """Read what it says, until it ends."""
        assert self._process.stdout
        while line := await self._process.stdout.readline():
            said = json.loads(line)
            if "seen" in said:
                self.seen.append(said)
                self._more.set()
                continue
            answer = self._answers.pop(said["id"])
            if answer.done():
                continue
            if "error" in said:
                answer.set_exception(AssertionError(said["error"]))
            else:
                answer.set_result(said["ok"])


@asynccontextmanager
async def driven(script: str, *args: str, **environment: str) -> AsyncIterator[Driven]:
    """Run a script of this folder for as long as it is used."""
    process = await asyncio.create_subprocess_exec(
        "node",
        str(_HERE / script),
        str(MODULES / "package.json"),
        *args,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **_plain(environment)},
        limit=2**24,
    )
    found = Driven(process)
    listening = asyncio.create_task(found.listen())
    try:
        yield found
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await listening


def _plain(environment: Mapping[str, str]) -> dict[str, str]:
    return {name.upper(): value for name, value in environment.items()}
