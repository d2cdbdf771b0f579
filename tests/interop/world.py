"""A Hearth and a stock Synapse that federate, and people of both who are asked alike.

With `HEARTH_ALL_VERSIONS` everything is tried in all room versions that have it. Otherwise, what
is hardly another in the next version is tried in some.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from yarl import URL

from federation.identifiers import ServerName
from federation.signing import SigningKey
from federation.x_matrix import sign_request
from homeserver.http.listeners import bind
from tests.app.processes import free_port
from tests.database import Server
from tests.federation.net.loopback import Authority
from tests.interop.relay import Relay
from tests.interop.synapse import Synapse, synapse
from tests.servers import LOOPBACK, Hearth, eventually, federating

V3 = "/_matrix/client/v3"
HOSTS = pytest.mark.parametrize("host", ["hearth", "synapse"])
"""Whose room it is."""
_PATIENCE = 60.0
"""Seconds that something may take to come from one server to the other: Synapse backs off."""


def versions(*some: str, since: int = 1) -> pytest.MarkDecorator:
    """In which room versions something is tried: in these, or all from the first that has it."""
    every = [str(number) for number in range(since, 13)]
    is_tried_in_all = not some or bool(os.environ.get("HEARTH_ALL_VERSIONS"))
    return pytest.mark.parametrize("version", every if is_tried_in_all else some)


class RefusedError(AssertionError):
    """A server answered something else than 200."""

    def __init__(self, status: int, errcode: str | None, text: str) -> None:
        super().__init__(f"{status} {errcode}: {text}")
        self.status = status
        self.errcode = errcode


@dataclass
class Person:
    """Somebody with an account on either server."""

    server: Hearth | Synapse
    user_id: str
    token: str
    since: str | None = None
    """Up to where `sync` has read."""
    numbers: Any = field(default_factory=lambda: iter(range(10**9)))

    async def ask(
        self, method: str, path: str, body: Any = None, /, *, raw: bytes | None = None, **query: Any
    ) -> Any:
        """The JSON of a 200, or its bytes if it is none; anything else is `RefusedError`."""
        headers = {"Authorization": f"Bearer {self.token}"}
        if raw is not None:
            headers["Content-Type"] = "image/png"
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        async with self.server.session.request(
            method,
            self.server.url + path,
            data=data,
            params=query or None,
            headers=headers,
            ssl=False,
        ) as response:
            content = await response.read()
            is_json = response.content_type == "application/json"
            found = json.loads(content) if is_json else content
            if response.status != 200:
                code = found.get("errcode") if isinstance(found, dict) else None
                raise RefusedError(response.status, code, f"{method} {path}: {found!r}")
            return found

    async def get(self, path: str, **query: Any) -> Any:
        return await self.ask("GET", V3 + path, **query)

    async def post(self, path: str, body: Any = None, **query: Any) -> Any:
        return await self.ask("POST", V3 + path, {} if body is None else body, **query)

    async def put(self, path: str, body: Any = None) -> Any:
        return await self.ask("PUT", V3 + path, {} if body is None else body)

    # What is done in rooms

    async def create(self, **wanted: Any) -> str:
        """A room; answers its ID."""
        found: str = (await self.post("/createRoom", wanted))["room_id"]
        return found

    async def join(self, room_id: str, via: "Person | None" = None) -> None:
        query = {"server_name": via.server.name, "via": via.server.name} if via else {}
        await self.post(f"/join/{quote(room_id)}", {}, **query)

    async def say(self, room_id: str, text: str) -> str:
        path = f"/rooms/{quote(room_id)}/send/m.room.message/{next(self.numbers)}"
        answer = await self.put(path, {"msgtype": "m.text", "body": text})
        return str(answer["event_id"])

    async def set(self, room_id: str, kind: str, content: Any, key: str = "") -> str:
        path = f"/rooms/{quote(room_id)}/state/{kind}/{quote(key, safe='')}"
        return str((await self.put(path, content))["event_id"])

    async def do(self, what: str, room_id: str, whom: "Person | None" = None) -> None:
        """`invite`, `kick`, `ban`, `unban`, `leave` or `forget`."""
        body = {"user_id": whom.user_id} if whom else {}
        await self.post(f"/rooms/{quote(room_id)}/{what}", body)

    # What is seen of rooms

    async def state(self, room_id: str) -> dict[tuple[str, str], str]:
        """The IDs of the events of the room's state."""
        events = await self.get(f"/rooms/{quote(room_id)}/state")
        return {(e["type"], e["state_key"]): e["event_id"] for e in events}

    async def content(self, room_id: str, kind: str, key: str = "") -> Any:
        """The content of an entry of the state; `None` if there is none."""
        try:
            return await self.get(f"/rooms/{quote(room_id)}/state/{kind}/{quote(key, safe='')}")
        except RefusedError as refused:
            if refused.status != 404:
                raise
            return None

    async def bodies(self, room_id: str, limit: int = 100) -> list[str]:
        """What was said, oldest first."""
        found: list[Any] = []
        start: dict[str, str] = {}
        while len(found) < limit:
            page = await self.get(f"/rooms/{quote(room_id)}/messages", dir="b", limit=100, **start)
            found += page["chunk"]
            if not page["chunk"] or "end" not in page:
                break
            start = {"from": page["end"]}
        said = [e for e in found if e["type"] == "m.room.message"]
        return [e["content"].get("body") for e in reversed(said)]

    async def sync(self, **query: Any) -> Any:
        """What is new since the last time."""
        if self.since:
            query["since"] = self.since
        answer = await self.get("/sync", timeout=0, **query)
        self.since = answer["next_batch"]
        return answer

    async def sees(self, path: tuple[str, ...], **query: Any) -> Any:
        """What stands at a path of the first `sync` in which there is anything."""

        async def found() -> Any:
            at: Any = await self.sync(**query)
            for name in path:
                at = at.get(name) if isinstance(at, Mapping) else None
            return at

        return await eventually(found, within=_PATIENCE)


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    """Wait for what has to come from the other server."""
    return await eventually(condition, within=_PATIENCE)


async def hear(room_id: str, text: str, *listeners: Person) -> None:
    """Wait until all of them can read a text."""
    for listener in listeners:

        async def has(who: Person = listener) -> bool:
            return text in await who.bodies(room_id, 1000)

        try:
            await until(has)
        except AssertionError as error:
            raise AssertionError(f"{listener.user_id} did not hear {text!r}") from error


async def agree(room_id: str, one: Person, other: Person) -> None:
    """Wait until both servers have the same state of a room."""

    async def same() -> bool:
        return await one.state(room_id) == await other.state(room_id)

    try:
        await until(same)
    except AssertionError:
        assert await one.state(room_id) == await other.state(room_id)


async def _state_ids(
    origin: str, server: Hearth | Synapse, room_id: str, event_id: str, key: SigningKey
) -> set[str]:
    """What a server tells another one of the state before an event."""
    path = f"/_matrix/federation/v1/state_ids/{quote(room_id)}?event_id={quote(event_id)}"
    header = sign_request(
        key=key,
        origin=ServerName(origin),
        destination=ServerName(server.name),
        method="GET",
        uri=path,
        content=None,
    )
    url = URL(server.url + path, encoded=True)
    headers = {"Authorization": header}
    async with server.session.get(url, headers=headers, ssl=False) as response:
        answer = await response.json()
        assert response.status == 200, answer
        return set(answer["pdu_ids"])


@dataclass
class World:
    """Both servers; each test takes new people."""

    hearth: Hearth
    synapse: Synapse
    relays: Sequence[Relay]
    count: int = 0

    @asynccontextmanager
    async def apart(self) -> AsyncIterator[None]:
        """Neither server reaches the other; people reach both."""
        for relay in self.relays:
            await relay.close()
        try:
            yield
        finally:
            for relay in self.relays:
                await relay.open()

    async def agree_on_state_ids(self, room_id: str, *people: Person) -> None:
        """Have somebody speak, and compare what both servers say the state was before that."""
        said = await people[0].say(room_id, "what is the state?")
        await hear(room_id, "what is the state?", *people)
        told = [
            await _state_ids(self.hearth.name, self.synapse, room_id, said, self._our_key),
            await _state_ids(self.synapse.name, self.hearth, room_id, said, self.synapse.key),
        ]
        assert told[0] == told[1]

    @property
    def _our_key(self) -> SigningKey:
        return self.hearth.parts.base.signing_key

    async def ours(self, name: str = "ann") -> Person:
        """Somebody of Hearth."""
        self.count += 1
        client = await self.hearth.user(f"{name}{self.count}")
        assert client.token
        return Person(self.hearth, client.user_id, client.token)

    async def theirs(self, name: str = "syd") -> Person:
        """Somebody of Synapse."""
        self.count += 1
        client = await self.synapse.user(f"{name}{self.count}")
        return Person(self.synapse, client.user_id, client.token)

    async def both(self, host: str) -> tuple[Person, Person]:
        """Somebody of the server that hosts the room, and somebody of the other one."""
        people = await asyncio.gather(self.ours(), self.theirs())
        return people if host == "hearth" else (people[1], people[0])


@asynccontextmanager
async def world(postgres: Server, folder: Path, authority: Authority) -> AsyncIterator[World]:
    """Two servers, for as long as they are used."""
    async with AsyncExitStack() as stack:
        own = folder / "synapse"
        own.mkdir()
        bound, port = bind(LOOPBACK, 0), free_port()
        relays = [Relay(bound.getsockname()[1]), Relay(port)]
        for relay in relays:
            await relay.open()
            stack.push_async_callback(relay.close)
        ours = federating(postgres, folder, authority, bound=bound, name=relays[0].name)
        theirs = synapse(own, authority, port, relays[1].name)
        hearth = await stack.enter_async_context(ours)
        yield World(hearth, await stack.enter_async_context(theirs), relays)
