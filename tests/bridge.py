"""A bridge for tests: an application service on a real socket, and a server that knows it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from homeserver.config.settings import AppServices
from homeserver.http.listeners import bind
from tests.database import Server
from tests.servers import (
    LOOPBACK,
    Client,
    Hearth,
    own_database,
    record,
    serving,
    test_settings,
)

AS_TOKEN = "as-token-of-the-bridge"
HS_TOKEN = "hs-token-for-the-bridge"

Respond = Callable[[web.BaseRequest], web.Response | None]


@dataclass
class Asked:
    """A request that the bridge got."""

    method: str
    path: str
    query: dict[str, str]
    body: Any


@dataclass
class Bridge:
    """What the server tells; `respond` may answer otherwise than that all is well."""

    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    transactions: dict[str, Any] = field(default_factory=dict)
    """By ID, in the order in which they first came."""
    respond: Respond = lambda _: None
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def events(self) -> list[Any]:
        """All events, in order."""
        return [event for txn in self.transactions.values() for event in txn["events"]]

    async def until(self, condition: Callable[[], Any], within: float = 8.0) -> Any:
        """Wait for requests until the condition holds; answer what it answers."""
        async with asyncio.timeout(within):
            while not (found := condition()):
                self._more.clear()
                await self._more.wait()
        return found

    async def until_event(self, event_id: str) -> Any:
        """Wait for an event."""
        return await self.until(
            lambda: next((e for e in self.events if e["event_id"] == event_id), None)
        )

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """One request."""
        assert request.headers["Authorization"] == f"Bearer {HS_TOKEN}"
        body = await request.json() if request.can_read_body else None
        self.asked.append(Asked(request.method, request.raw_path, dict(request.query), body))
        answer = self.respond(request)
        if answer is None:
            answer = web.json_response({})
        text = answer.text if answer.content_type == "application/json" else None
        record(request.method, request.raw_path, body, answer.status, text and json.loads(text))
        if answer.status == 200 and "/transactions/" in request.path:
            self.transactions.setdefault(request.path.rpartition("/")[2], body)
        self._more.set()
        return answer


@asynccontextmanager
async def answering(bridge: Bridge) -> AsyncIterator[Bridge]:
    """The bridge listens, at its port if it has one, for as long as it is used."""
    server = web.Server(bridge.answer)
    runner = web.ServerRunner(server)
    await runner.setup()
    listening = bind(LOOPBACK, bridge.port)
    bridge.port = listening.getsockname()[1]
    await web.SockSite(runner, listening).start()
    try:
        yield bridge
    finally:
        await runner.cleanup()


def registration(port: int | None, **more: Any) -> dict[str, Any]:
    """What a bridge's file says."""
    return {
        "id": "irc",
        "url": None if port is None else f"http://127.0.0.1:{port}",
        "as_token": AS_TOKEN,
        "hs_token": HS_TOKEN,
        "sender_localpart": "_irc_bot",
        "rate_limited": False,
        "protocols": ["irc"],
        "namespaces": {
            "users": [{"regex": "@_irc_.*", "exclusive": True}],
            "aliases": [{"regex": "#_irc_.*", "exclusive": True}],
        },
        **more,
    }


@asynccontextmanager
async def hanging() -> AsyncIterator[int]:
    """A port at which connections are taken and nothing is answered."""
    listening = bind(LOOPBACK, 0)
    listening.listen()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.close()


@asynccontextmanager
async def again(
    where: Mapping[str, Any],
    folder: Path,
    *registrations: dict[str, Any],
    workers: int = 1,
    **more: Any,
) -> AsyncIterator[Hearth]:
    """A server with these registrations, on a database that may have served before."""
    files = []
    for number, one in enumerate(registrations):
        files.append(folder / f"registration{number}.yaml")
        files[-1].write_text(json.dumps(one), encoding="utf-8")
    settings = test_settings("one.test", folder, appservices=AppServices(files=(*files,)), **more)
    async with serving(settings, where, workers=workers) as server:
        yield server


@asynccontextmanager
async def bridged(
    postgres: Server, folder: Path, *registrations: dict[str, Any], **more: Any
) -> AsyncIterator[Hearth]:
    """A server with these registrations."""
    async with (
        own_database(postgres, f"hearth_{id(folder)}") as where,
        again(where, folder, *registrations, **more) as server,
    ):
        yield server


def bot(hearth: Hearth, token: str = AS_TOKEN) -> Client:
    """The bridge as who asks."""
    return Client(hearth, token, f"@_irc_bot:{hearth.name}")


async def ghost(bridge: Client, localpart: str) -> str:
    """Make a user of the bridge; their ID."""
    body = {"type": "m.login.application_service", "username": localpart, "inhibit_login": True}
    user_id: str = (await bridge.post("/_matrix/client/v3/register", body)).ok()["user_id"]
    return user_id
