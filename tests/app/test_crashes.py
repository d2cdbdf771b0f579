"""Processes killed under load, again and again: nothing that was acknowledged is lost.

Two servers, one room, two people who talk all the time. Workers, whole servers and databases are
killed, at random but the same each time; nobody helps.
"""

import asyncio
import itertools
import os
import random
import signal
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from tests.app.processes import Serving, serving
from tests.federation.net.loopback import Authority

V3 = "/_matrix/client/v3"
KILLS = 20
ENOUGH = 100
"""Events to be said meanwhile, on a machine that is busy too."""
SETTLES_WITHIN = 60.0
PATIENCE = 60.0


@dataclass
class Talker:
    """Somebody who talks and listens, whatever becomes of the server."""

    server: Serving
    session: aiohttp.ClientSession
    user_id: str
    token: str
    acknowledged: list[str] = field(default_factory=list)
    timeline: list[str] = field(default_factory=list)
    since: str | None = None
    stopped: bool = False

    async def ask(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        """Ask until there is an answer; a repeat must be harmless."""
        ends = time.monotonic() + PATIENCE
        headers = {"Authorization": f"Bearer {self.token}"}
        while True:
            try:
                async with self.session.request(
                    method,
                    self.server.url + path,
                    json=body,
                    params=query,
                    headers=headers,
                    ssl=False,
                    timeout=aiohttp.ClientTimeout(total=15),
                ) as response:
                    if response.status == 200:
                        return await response.json()
                    came: Any = f"{response.status} {await response.text()}"
                    assert response.status >= 500, f"{method} {path}: {came}"
            except (aiohttp.ClientError, TimeoutError) as error:
                came = repr(error)
            assert time.monotonic() < ends, (
                f"{method} {path} never succeeds: {came}; the server is "
                f"{'there' if self.server.is_running else 'gone'}\n{self.server.log}"
            )
            await asyncio.sleep(0.05)

    async def talk(self, room_id: str) -> None:
        for number in itertools.count():
            if self.stopped:
                return
            path = f"{V3}/rooms/{quote(room_id)}/send/m.room.message/{number}"
            content = {"msgtype": "m.text", "body": f"{self.user_id} {number}"}
            self.acknowledged.append((await self.ask("PUT", path, content))["event_id"])
            await asyncio.sleep(0.01)

    async def listen(self, room_id: str, *, wait: int = 1000) -> None:
        query = {"timeout": str(wait), "filter": '{"room":{"timeline":{"limit":1000}}}'}
        if self.since:
            query["since"] = self.since
        answer = await self.ask("GET", f"{V3}/sync", None, **query)
        room = answer.get("rooms", {}).get("join", {}).get(room_id, {}).get("timeline", {})
        assert not (room.get("limited") and self.since), "there is a gap, though none is needed"
        self.timeline += [event["event_id"] for event in room.get("events", ())]
        self.since = answer["next_batch"]

    async def keep_listening(self, room_id: str) -> None:
        while not self.stopped:
            await self.listen(room_id)

    async def history(self, room_id: str) -> list[str]:
        """All events of the room, by `/messages`."""
        found: list[str] = []
        query = {"dir": "b", "limit": "500"}
        while True:
            answer = await self.ask("GET", f"{V3}/rooms/{quote(room_id)}/messages", None, **query)
            found += [event["event_id"] for event in answer["chunk"]]
            if "end" not in answer:
                return found
            query["from"] = answer["end"]


async def register(server: Serving, session: aiohttp.ClientSession, name: str) -> Talker:
    body = {"username": name, "password": "a long password", "auth": {"type": "m.login.dummy"}}
    async with session.post(f"{server.url}{V3}/register", json=body, ssl=False) as response:
        made = await response.json()
        assert response.status == 200, made
    return Talker(server, session, made["user_id"], made["access_token"])


def kill_something(chance: random.Random, servers: list[Serving]) -> str:
    """Kill -9 a worker, the database's first process, or a whole server, which starts again."""
    server = chance.choice(servers)
    what = chance.choice(["worker", "worker", "database", "server"])
    if what == "worker":
        workers = server.processes()[1:]
        for pid in workers[:1]:
            os.kill(pid, signal.SIGKILL)
    elif what == "database" and server.postmaster:
        with suppress(ProcessLookupError):
            os.kill(server.postmaster, signal.SIGKILL)
    elif what == "server" and server.process:
        server.send(signal.SIGKILL)
        server.process.wait()
        server.launch()
    return what


async def test_nothing_acknowledged_is_lost(tmp_path: Path, loopback_authority: Authority) -> None:
    chance = random.Random(20)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        servers = [
            await stack.enter_async_context(
                serving(tmp_path / name, workers=2, authority=loopback_authority)
            )
            for name in ("a", "b")
        ]
        ann = await register(servers[0], session, "ann")
        bob = await register(servers[1], session, "bob")
        wanted = {"preset": "public_chat", "name": "a room"}
        room_id = (await ann.ask("POST", f"{V3}/createRoom", wanted))["room_id"]
        joining = f"{V3}/join/{quote(room_id)}"
        await bob.ask("POST", joining, {}, server_name=servers[0].name)
        people = [ann, bob]
        tasks = [asyncio.create_task(p.talk(room_id)) for p in people]
        tasks += [asyncio.create_task(p.keep_listening(room_id)) for p in people]
        for _ in range(KILLS):
            kill_something(chance, servers)
            await asyncio.sleep(chance.uniform(0.5, 1.5))
        async with asyncio.timeout(SETTLES_WITHIN):
            while len(said_by(people)) <= ENOUGH:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        for person in people:
            person.stopped = True
        await asyncio.gather(*tasks)
        await must_agree(people, room_id)


def said_by(people: list[Talker]) -> set[str]:
    return {event for person in people for event in person.acknowledged}


async def must_agree(people: list[Talker], room_id: str) -> None:
    """Every acknowledged event is everywhere, once."""
    said = said_by(people)
    assert len(said) == sum(len(person.acknowledged) for person in people) > ENOUGH
    ends = time.monotonic() + SETTLES_WITHIN
    for person in people:
        while said - set(person.timeline):
            assert time.monotonic() < ends, await what_is_missing(person, people, room_id)
            await person.listen(room_id)
        assert len(person.timeline) == len(set(person.timeline)), "shown twice"
        history = await person.history(room_id)
        assert len(history) == len(set(history)), "twice in the room"
        assert said <= set(history)


async def what_is_missing(person: Talker, people: list[Talker], room_id: str) -> str:
    """Who said it, as the how-manieth thing, and whether the room has it; then what was logged."""
    seen, history = set(person.timeline), set(await person.history(room_id))
    lines = [
        f"{person.user_id} lacks what {one.user_id} said as {number} of {len(one.acknowledged)}"
        f", which is {'in' if event_id in history else 'not in'} the room there"
        for one in people
        for number, event_id in enumerate(one.acknowledged)
        if event_id not in seen
    ]
    return "\n".join([*lines, *(one.server.log for one in people)])
