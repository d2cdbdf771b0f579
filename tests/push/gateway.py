"""A push gateway for tests, on a real socket with TLS, and servers that may reach it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from aiohttp import web

from homeserver.config.settings import Outgoing, Push
from homeserver.config.values import Duration
from homeserver.http.listeners import bind
from tests.federation.net.loopback import Authority
from tests.servers import LOOPBACK, Client, Hearth, record, serving, test_settings

PATH = "/_matrix/push/v1/notify"
APP = "org.example.app"
FAST = Push(retry_minimum=Duration(20), retry_maximum=Duration(200))

Respond = Callable[[Any], web.Response | None]


@dataclass
class Gateway:
    """What was told; `respond` may answer otherwise than that all is well."""

    port: int = 0
    told: list[Any] = field(default_factory=list)
    """The notifications that were taken."""
    tries: int = 0
    respond: Respond = lambda _: None
    hangs: bool = False
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"https://127.0.0.1:{self.port}{PATH}"

    @property
    def ids(self) -> list[str]:
        """The events that were told of, in order."""
        return [one["event_id"] for one in self.told if "event_id" in one]

    async def until(self, condition: Callable[[], Any], within: float = 8.0) -> Any:
        """Wait for requests until the condition holds; answer what it answers."""
        async with asyncio.timeout(within):
            while not (found := condition()):
                self._more.clear()
                await self._more.wait()
        return found

    async def until_event(self, event_id: str) -> Any:
        """Wait for the notification of an event."""
        return await self.until(
            lambda: next((one for one in self.told if one.get("event_id") == event_id), None)
        )

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """One request."""
        assert (request.method, request.path) == ("POST", PATH)
        assert request.content_type == "application/json"
        assert "Authorization" not in request.headers
        notification = (await request.json())["notification"]
        self.tries += 1
        self._more.set()
        if self.hangs:
            await asyncio.sleep(3600)
        answer = self.respond(notification)
        if answer is None:
            answer = web.json_response({"rejected": []})
        record("POST", PATH, {"notification": notification}, 200, {"rejected": []})
        if answer.status == 200:
            self.told.append(notification)
        self._more.set()
        return answer


@asynccontextmanager
async def answering(gateway: Gateway, authority: Authority) -> AsyncIterator[Gateway]:
    """The gateway listens, at its port if it has one, for as long as it is used."""
    runner = web.ServerRunner(web.Server(gateway.answer), shutdown_timeout=0.1)
    await runner.setup()
    listening = bind(LOOPBACK, gateway.port)
    gateway.port = listening.getsockname()[1]
    tls = authority.server_context("127.0.0.1")
    await web.SockSite(runner, listening, ssl_context=tls).start()
    try:
        yield gateway
    finally:
        await runner.cleanup()


@asynccontextmanager
async def notifying(
    where: Mapping[str, Any],
    folder: Path,
    authority: Authority,
    *,
    workers: int = 1,
    reach: str = "127.0.0.0/8",
    **more: Any,
) -> AsyncIterator[Hearth]:
    """A server that may reach gateways on loopback, on a database that may have served before."""
    outgoing = Outgoing(
        allowed_ranges=(ip_network(reach),), ca_file=authority.file, system_trust=False
    )
    settings = test_settings("one.test", folder, outgoing=outgoing, **{"push": FAST, **more})
    async with serving(settings, where, workers=workers) as server:
        yield server


async def set_pusher(client: Client, gateway: Gateway, key: str = "key", **data: Any) -> None:
    """Have somebody notified."""
    body = {
        "app_id": APP,
        "pushkey": key,
        "kind": "http",
        "app_display_name": "App",
        "device_display_name": "Phone",
        "lang": "en",
        "data": {"url": gateway.url, **data},
        "append": True,
    }
    (await client.post("/_matrix/client/v3/pushers/set", body)).ok()
