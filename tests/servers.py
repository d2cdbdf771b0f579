"""Whole servers for tests, in this process: real sockets, a database each, and clients.

`hearth` is one server, `pair` two that federate over TLS on loopback.
"""

import asyncio
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Any, NamedTuple, get_args

import aiohttp
import pytest

from federation.identifiers import ServerName
from federation.signing import SigningKey
from homeserver.accounts.logins import DeviceWish
from homeserver.app.parts import Parts
from homeserver.app.worker import Worker
from homeserver.config.settings import (
    Auth,
    Federation,
    Outgoing,
    PasswordHash,
    Presence,
    ProxyRule,
    RateLimits,
    Registration,
    Service,
    Settings,
)
from homeserver.config.values import Duration, Secret, Size
from homeserver.http.listeners import Door, bind
from homeserver.storage.freshness import SharedPositions
from tests.database import TEMPLATE, Server
from tests.federation.net.loopback import Authority

PASSWORD = "correct horse battery"
LOOPBACK = IPv4Address("127.0.0.1")
ALL_SERVICES = frozenset[Service](get_args(Service))


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    json: Any
    headers: Mapping[str, str]
    body: bytes

    @property
    def errcode(self) -> str | None:
        """The `errcode`, if it is a refusal."""
        return self.json.get("errcode") if isinstance(self.json, dict) else None

    def ok(self) -> Any:
        """The JSON of a 200."""
        assert self.status == 200, (self.status, self.json)
        return self.json


def record(method: str, path: str, body: Any, status: int, answer: Any) -> None:
    """Note the exchange in the file HEARTH_RECORD names, for a check against the schemas."""
    file = os.environ.get("HEARTH_RECORD")
    if file:
        exchange = {"method": method, "path": path, "status": status}
        exchange |= {"request_json": body, "response_json": answer}
        with Path(file).open("a") as record:
            record.write(json.dumps(exchange) + "\n")


class Client:
    """Somebody who asks a server, logged in or not."""

    def __init__(
        self,
        hearth: "Hearth",
        token: str | None = None,
        user_id: str = "",
        device_id: str = "",
    ) -> None:
        self.hearth = hearth
        self.token = token
        self.user_id = user_id
        self.device_id = device_id

    async def ask(
        self, method: str, path: str, body: Any = None, *, raw: bytes | None = None, **query: Any
    ) -> Answer:
        """Make a request; `body` is sent as JSON, `raw` as it is."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        url = self.hearth.url + path
        async with self.hearth.session.request(
            method, url, data=data, headers=headers, params=query or None
        ) as response:
            content = await response.read()
            is_json = response.content_type == "application/json"
            found = json.loads(content) if is_json and content else None
            record(method, response.url.raw_path_qs, body, response.status, found)
            return Answer(response.status, found, response.headers, content)

    async def get(self, path: str, **query: Any) -> Answer:
        """GET with a query."""
        return await self.ask("GET", path, **query)

    async def post(self, path: str, body: Any = None, **more: Any) -> Answer:
        """POST JSON; `{}` if nothing is given."""
        return await self.ask("POST", path, {} if body is None else body, **more)

    async def put(self, path: str, body: Any = None, **more: Any) -> Answer:
        """PUT JSON; `{}` if nothing is given."""
        return await self.ask("PUT", path, {} if body is None else body, **more)

    async def delete(self, path: str, body: Any = None, **more: Any) -> Answer:
        """DELETE."""
        return await self.ask("DELETE", path, body, **more)

    async def log_in_again(self, device_id: str | None = None) -> "Client":
        """The same person on another device."""
        return await self.hearth.log_in(self.user_id, device_id)


@dataclass
class Hearth:
    """One server; `workers` are its processes, which all run in this one."""

    settings: Settings
    url: str
    session: aiohttp.ClientSession
    workers: list[Worker] = field(default_factory=list)

    @property
    def name(self) -> ServerName:
        """The server's name."""
        return self.settings.server_name

    @property
    def parts(self) -> Parts:
        """What the first worker is made of."""
        parts = self.workers[0].parts
        assert parts
        return parts

    @property
    def anybody(self) -> Client:
        """Somebody without an account."""
        return Client(self)

    async def is_waited_on(self) -> None:
        """Return once somebody waits for what is new."""
        await self.parts.activity._waiters.somebody.wait()

    async def user(self, localpart: str, device_id: str | None = None, **account: Any) -> Client:
        """Make an account and log in, past the API, which would cost a password hash."""
        await self.parts.accounts.new_accounts.add(localpart, None, **account)
        return await self.log_in(f"@{localpart}:{self.name}", device_id)

    async def log_in(self, user_id: str, device_id: str | None = None) -> Client:
        """Log in somebody who has an account."""
        process = self.parts.base.process
        async with process.database.reader() as conn:
            user = (await process.numbers.users.find(conn, [user_id]))[user_id]
        login = await self.parts.accounts.logins.log_in(user, DeviceWish(device_id))
        return Client(self, login.tokens.access_token, user_id, login.device_id)


def test_settings(name: str, folder: Path, **more: Any) -> Settings:
    """What suits tests: open, cheap, without limits, and on loopback."""
    given: dict[str, Any] = {
        "registration": Registration(mode="open", guests=True, shared_secret=Secret("shh")),
        "auth": Auth(password_hash=PasswordHash(memory=Size(8192), iterations=1)),
        "rate_limits": RateLimits(enabled=False),
        "presence": Presence(enabled=True),
        "outgoing": Outgoing(allowed_ranges=(ip_network("127.0.0.0/8"),)),
        "federation": Federation(
            retry_minimum=Duration(50), retry_maximum=Duration(500), public_rooms=True
        ),
    }
    settings = Settings(server_name=ServerName(name), data_dir=folder)
    return replace(settings, **{**given, **more})


test_settings.__test__ = False  # type: ignore[attr-defined]


@asynccontextmanager
async def serving(
    settings: Settings,
    where: Mapping[str, Any],
    *,
    tls: ssl.SSLContext | None = None,
    bound: socket.socket | None = None,
    workers: int = 1,
) -> AsyncIterator[Hearth]:
    """A server on a database, for as long as it is used; with TLS it answers at its own name."""
    listening = bound or bind(LOOPBACK, 0)
    port = listening.getsockname()[1]
    door = Door(listening, ALL_SERVICES, tls)
    shared = SharedPositions(workers)
    key = SigningKey.from_seed("ed25519:test", port.to_bytes(32, "big"))
    scheme = "https" if tls else "http"
    connector = aiohttp.TCPConnector(ssl=False, limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        hearth = Hearth(settings, f"{scheme}://127.0.0.1:{port}", session)
        for place in range(workers):
            worker = Worker(settings, key, where, shared, place)
            await worker.start([replace(door, socket=listening.dup())])
            hearth.workers.append(worker)
        try:
            yield hearth
        finally:
            for worker in hearth.workers:
                await worker.stop()
            listening.close()


@asynccontextmanager
async def own_database(postgres: Server, name: str) -> AsyncIterator[dict[str, Any]]:
    """A fresh database for one server."""
    name = f"{name}_{os.getpid()}"
    await postgres.create(name, TEMPLATE)
    try:
        yield postgres.database(name)
    finally:
        await postgres.drop(name)


@pytest.fixture
async def hearth(postgres: Server, tmp_path: Path) -> AsyncIterator[Hearth]:
    """One server, which federates with nobody."""
    async with (
        own_database(postgres, f"hearth_{id(tmp_path)}") as where,
        serving(test_settings("one.test", tmp_path), where) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def loopback_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Vouches for servers on loopback."""
    return Authority(tmp_path_factory.mktemp("loopback-ca"))


@asynccontextmanager
async def federating(
    postgres: Server,
    folder: Path,
    authority: Authority,
    number: int = 1,
    *,
    bound: socket.socket | None = None,
    name: str | None = None,
    workers: int = 1,
    proxies: Sequence[ProxyRule] = (),
    **more: Any,
) -> AsyncIterator[Hearth]:
    """A server that federates over TLS on loopback; named 127.0.0.1 with its port."""
    bound = bound or bind(LOOPBACK, 0)
    name = name or f"127.0.0.1:{bound.getsockname()[1]}"
    own = folder / str(number)
    own.mkdir()
    outgoing = Outgoing(
        allowed_ranges=(ip_network("127.0.0.0/8"),),
        ca_file=authority.file,
        system_trust=False,
        proxies=tuple(proxies),
    )
    settings = test_settings(name, own, outgoing=outgoing, **more)
    tls = authority.server_context("127.0.0.1")
    async with (
        own_database(postgres, f"hearth_{id(folder)}_{number}") as where,
        serving(settings, where, tls=tls, bound=bound, workers=workers) as server,
    ):
        yield server


@pytest.fixture
async def pair(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> AsyncIterator[tuple[Hearth, Hearth]]:
    """Two servers that federate with each other."""
    async with (
        federating(postgres, tmp_path, loopback_authority, 1) as one,
        federating(postgres, tmp_path, loopback_authority, 2) as other,
    ):
        yield one, other


async def eventually(condition: Any, within: float = 5.0) -> Any:
    """Ask again and again until the answer is true, and answer it."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + within
    while True:
        found = await condition()
        if found:
            return found
        assert loop.time() < ends, "it never came true"
        await asyncio.sleep(0.02)
