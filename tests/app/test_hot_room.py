"""Two workers and one room in which everybody talks at once."""

import asyncio
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from tests.app.processes import Serving, serving

V3 = "/_matrix/client/v3"
SENDS = 2000
SENDERS = 20
AT_ONCE = 100
WORST = 5.0
"""Seconds in which everybody is served; on a quiet machine 1.0, and 0.1 for 99 of 100."""
LAG = 500
"""Milliseconds for which the loop may stand still; on a quiet machine it is under 100."""
FOREIGN = 2
"""Times that it may be longer, as the machine itself can stand still."""


@dataclass
class Somebody:
    """A client with connections of its own, which either worker may accept."""

    server: Serving
    session: aiohttp.ClientSession
    user_id: str = ""
    token: str = ""

    async def ask(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        """Ask over a new connection if there is none to spare; anything but 200 is an error."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        async with self.session.request(
            method, self.server.url + path, json=body, params=query, headers=headers
        ) as response:
            found = await response.json()
            assert response.status == 200, (method, path, found)
            return found

    async def register(self, name: str) -> "Somebody":
        body = {"username": name, "password": "a long password", "auth": {"type": "m.login.dummy"}}
        made = await self.ask("POST", f"{V3}/register", body)
        self.user_id, self.token = made["user_id"], made["access_token"]
        return self


@pytest.mark.alone
async def test_everybody_sees_everything_once_and_in_one_order(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, workers=2) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)) as session,
    ):
        ann = await Somebody(server, session).register("ann")
        wanted = {"preset": "public_chat", "power_level_content_override": {"events_default": 0}}
        room_id = (await ann.ask("POST", f"{V3}/createRoom", wanted))["room_id"]
        others = [await Somebody(server, session).register(f"u{n}") for n in range(SENDERS)]
        await asyncio.gather(
            *(p.ask("POST", f"{V3}/rooms/{quote(room_id)}/join", {}) for p in others)
        )
        tokens = [(await p.ask("GET", f"{V3}/sync", timeout="0"))["next_batch"] for p in others]
        sent, took = await flood(others, room_id)
        assert len(set(sent)) == SENDS
        seen = await asyncio.gather(
            *(follow(p, t, room_id, len(sent)) for p, t in zip(others, tokens, strict=True))
        )
        assert set(seen[0]) == set(sent)
        assert all(order == seen[0] for order in seen)
        assert max(took) < WORST
        lags = [int(lag) for lag in re.findall(r"stood still.*milliseconds=(\d+)", server.log)]
        assert sum(lag >= LAG for lag in lags) <= FOREIGN, lags


async def flood(people: list[Somebody], room_id: str) -> tuple[list[str], list[float]]:
    """Send from everybody at once; event IDs, and the seconds that each took."""
    took: list[float] = []

    async def send(number: int) -> str:
        person = people[number % len(people)]
        path = f"{V3}/rooms/{quote(room_id)}/send/m.room.message/{number}"
        began = time.monotonic()
        answer = await person.ask("PUT", path, {"msgtype": "m.text", "body": str(number)})
        took.append(time.monotonic() - began)
        return str(answer["event_id"])

    slots = asyncio.Semaphore(AT_ONCE)

    async def in_turn(number: int) -> str:
        async with slots:
            return await send(number)

    return list(await asyncio.gather(*map(in_turn, range(SENDS)))), took


async def follow(person: Somebody, since: str, room_id: str, count: int) -> list[str]:
    """What `/sync` shows, until there are so many messages; paged where it leaves a gap."""
    found: list[str] = []
    query = '{"room":{"timeline":{"limit":500,"types":["m.room.message"]}}}'
    while len(found) < count:
        answer = await person.ask(
            "GET", f"{V3}/sync", None, since=since, timeout="2000", filter=query
        )
        timeline = answer.get("rooms", {}).get("join", {}).get(room_id, {}).get("timeline", {})
        if timeline.get("limited"):
            found += await gap(person, room_id, since, timeline["prev_batch"])
        found += [event["event_id"] for event in timeline.get("events", ())]
        since = answer["next_batch"]
    return found


async def gap(person: Somebody, room_id: str, since: str, until: str) -> list[str]:
    """The messages between two tokens, in their order."""
    found: list[str] = []
    start: str | None = since
    while start is not None:
        answer = await person.ask(
            "GET",
            f"{V3}/rooms/{quote(room_id)}/messages",
            None,
            **{"from": start, "to": until, "dir": "f", "limit": "500"},
        )
        found += [e["event_id"] for e in answer["chunk"] if e["type"] == "m.room.message"]
        start = answer.get("end")
    return found


async def test_what_one_worker_did_the_other_knows(tmp_path: Path) -> None:
    """Each request comes over a connection of its own, so either worker may get it."""
    async with serving(tmp_path, workers=2) as server:
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            ann = await Somebody(server, session).register("ann")
            bob = await Somebody(server, session).register("bob")
            for number in range(20):
                wanted = {"preset": "public_chat", "name": f"room {number}"}
                room_id = (await ann.ask("POST", f"{V3}/createRoom", wanted))["room_id"]
                room = f"{V3}/rooms/{quote(room_id)}"
                await bob.ask("POST", f"{room}/join", {})
                await bob.ask("PUT", f"{room}/send/m.room.message/{number}", {"body": "hello"})
                assert room_id in (await bob.ask("GET", f"{V3}/joined_rooms"))["joined_rooms"]
                joined = (await bob.ask("GET", f"{V3}/sync", timeout="0"))["rooms"]["join"]
                assert room_id in joined
                await ann.ask("POST", f"{room}/kick", {"user_id": bob.user_id})
                headers = {"Authorization": f"Bearer {bob.token}"}
                path = f"{server.url}{room}/send/m.room.message/k{number}"
                async with session.put(path, json={"body": "?"}, headers=headers) as response:
                    assert response.status == 403
