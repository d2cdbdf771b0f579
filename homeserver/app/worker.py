"""One worker: a process that answers requests and does its share of what goes on behind them."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from federation.identifiers import ServerName
from federation.signing import SigningKey
from homeserver.accounts.app_service_files import load_app_services
from homeserver.app.assembly import assemble
from homeserver.app.authenticator import Authenticator, VerifyServer
from homeserver.app.housekeeping import keep_house
from homeserver.app.lag import watch
from homeserver.app.making import milliseconds
from homeserver.app.parts import Base, Parts
from homeserver.app.supervision import Supervisor
from homeserver.app.tables import ADMIN, CLIENT, FEDERATION
from homeserver.config.settings import Settings
from homeserver.errors import LimitExceeded, NotJson, Unauthorized
from homeserver.http import Request
from homeserver.http.binding import bound
from homeserver.http.dispatch import Rim, log_answer
from homeserver.http.limits import Limits
from homeserver.http.listeners import Door
from homeserver.http.requests import Terms
from homeserver.http.server import HttpServer
from homeserver.peers.authentication import ServerAuthentication
from homeserver.peers.signing_keys import load_old
from homeserver.storage.bus import Bus
from homeserver.storage.clock import Clock, read_position
from homeserver.storage.freshness import SharedPositions
from homeserver.storage.installation import settle
from homeserver.storage.numbers import Numbers
from homeserver.storage.pool import Database, open_database
from homeserver.storage.process import Process
from homeserver.storage.tail import Tail

_OWN_CONNECTIONS = 4
"""Beside those that are lent: the writer's, the clock's, the bus's, and for the log."""
_CHEAP_BODY = 64 * 1024
"""Bytes of what may be signed: to see that it is not takes long if it is much."""
_LOCK_TIMEOUT = "10s"
"""How long the writer waits for a room that another process is writing to."""


class Worker:
    """A worker; `start` it once, `stop` it once.

    Args:
        settings: of the server.
        key: signs for it.
        where: the database, as `open_database` takes it; its schema is up to date.
        shared: how far each process of this host has seen the log.
        place: this process's in it.

    """

    def __init__(
        self,
        settings: Settings,
        key: SigningKey,
        where: Mapping[str, Any],
        shared: SharedPositions,
        place: int = 0,
    ) -> None:
        self._settings = settings
        self._key = key
        self._where = where
        self._clock = Clock(shared, place)
        self._background = Supervisor()
        self._stopping = asyncio.Event()
        self._database: Database | None = None
        self._http: HttpServer | None = None
        self.parts: Parts | None = None
        """The duties, once it has started."""

    async def start(self, doors: Sequence[Door]) -> None:
        """Open the database, begin the work in the background, and answer at the doors."""
        readers = self._settings.storage.pool_size - _OWN_CONNECTIONS
        self._database = await open_database(self._where, readers=max(1, readers))
        base = await self._base(self._database)
        self.parts = assemble(base)
        await self.parts.accounts.resource_limits.begin()
        self._keep_working(self.parts, self._database)
        self._http = self._server(doors, self.parts)
        await self._http.start()

    def reload(self, settings: Settings) -> None:
        """Have the registrations of application services in force that these settings name.

        Raises:
            ConfigError: naming all that is wrong with them; the former stay in force.

        """
        services = load_app_services(settings)
        if self.parts is not None:
            self.parts.base.app_services.replace(services)

    async def stop(self) -> None:
        """Finish what is being answered, then end."""
        self._stopping.set()
        if self.parts is not None:
            self.parts.activity.end_waiting()
        if self._http is not None:
            await self._http.stop()
        await self._background.stop()
        if self.parts is not None:
            await self.parts.admin_house.tasks.close()
            await self.parts.encryption.fetching.close()
            await self.parts.federating.previews.close()
            await self.parts.federating.peers.close()
            await self.parts.federating.claims.close()
            await self.parts.bridging.bridges.close()
        if self._database is not None:
            await self._database.close()

    async def _base(self, database: Database) -> Base:
        async with database.reader() as conn:
            installation = await settle(conn, self._settings.server_name)
            position = await read_position(conn)
        self._clock.advance(position)
        tail = Tail(database, self._clock, position)
        return Base(
            settings=self._settings,
            process=Process(
                self._settings.server_name,
                database,
                Numbers(),
                self._clock,
                tail,
                milliseconds,
            ),
            installation=installation,
            signing_key=self._key,
            old_keys=load_old(self._settings.signing_key_file),
            bus=Bus(),
            app_services=load_app_services(self._settings),
            limits=Limits(
                self._settings.rate_limits, self._settings.workers, _monotonic_milliseconds
            ),
        )

    def _keep_working(self, parts: Parts, database: Database) -> None:
        async def follow_the_clock() -> None:
            conn = await database.connect()
            try:
                await self._clock.follow(conn)
            finally:
                conn.terminate()

        async def exchange_messages() -> None:
            conn = await database.connect()
            try:
                await parts.base.bus.run(conn)
            finally:
                conn.terminate()

        async def write_events() -> None:
            conn = await database.connect(lock_timeout=_LOCK_TIMEOUT)
            try:
                with self._clock.told_by(conn.get_server_pid()):
                    # Whoever wrote before may have ended without a word.
                    self._clock.advance(await read_position(conn))
                    await parts.rooms.intake.run(conn)
            finally:
                conn.terminate()

        self._background.keep("clock", follow_the_clock)
        self._background.keep("bus", exchange_messages)
        self._background.keep("intake", write_events)
        self._background.keep("activity", parts.activity.run)
        self._background.keep("delayed events", parts.writing.delayed_sending.run)
        self._background.keep("guests", parts.writing.putting_out.run)
        self._background.keep("push gateways", parts.notifying.run)
        self._background.keep("lag", watch)
        self._background.keep("housekeeping", lambda: keep_house(parts))
        self._background.keep("devices", parts.encryption.following.run)
        self._background.keep("clearing", parts.writing.clearing.run)
        self._background.keep("old messages", parts.writing.expiring.run)
        self._background.keep("unwanted files", parts.federating.unwanted_media.run)
        self._background.keep("application services", parts.deliveries.run)
        if self._settings.rooms.expiry:
            self._background.keep("vanishing messages", parts.writing.vanishing.run)
        if self._settings.rooms.forget_on_leave:
            self._background.keep("forgetting", parts.writing.forgetting.run)
        if self._settings.privacy.client_addresses == "stored":
            self._background.keep("addresses", parts.accounts.client_addresses.run)
        if self._settings.server_notices is not None:
            self._background.keep("usage notices", parts.writing.usage_notices.run)
        if self._settings.federation.enabled:
            self._background.keep("sending", parts.federating.sending.run)
            self._background.keep("members of rooms", parts.federating.completing.run)

    def _verifier(self, parts: Parts) -> VerifyServer:
        federating, process, limits = parts.federating, parts.base.process, parts.base.limits
        authentication = ServerAuthentication(process.server, federating.peers, process.now)

        async def verify(request: Request) -> ServerName:
            headers = request.headers.getall("Authorization", [])
            if len(headers) > 1:
                raise Unauthorized("more than one Authorization header")
            header = headers[0] if headers else None
            address, asked = request.limit_key, (header, request.method, request.target)
            asks, size = not limits.is_spent("federation_failures", address), 0

            async def read() -> bytes:
                nonlocal size
                body = await request.read()
                size = len(body)
                if size > _CHEAP_BODY and not asks:
                    limits.check("federation_failures", address)
                return body

            try:
                origin = await authentication.verify(*asked, read, asks=asks)
            except (Unauthorized, NotJson):
                limits.check("federation_failures", address)
                with suppress(LimitExceeded):
                    for _ in range(size // _CHEAP_BODY):
                        limits.check("federation_failures", address)
                raise
            federating.sending.heard_from(origin)
            return origin

        return verify

    def _server(self, doors: Sequence[Door], parts: Parts) -> HttpServer:
        endpoints = [
            *bound(CLIENT, parts.client_house),
            *bound(FEDERATION, parts.server_house),
            *bound(ADMIN, parts.admin_house),
        ]
        rim = Rim(
            authenticator=Authenticator(
                parts.accounts.sessions,
                parts.accounts.masquerading,
                self._verifier(parts),
                parts.accounts.resource_limits,
                parts.accounts.client_addresses,
            ),
            limits=parts.base.limits,
            terms=Terms.of(self._settings),
            stopping=self._stopping,
            observe=log_answer,
        )
        return HttpServer(doors, endpoints, rim)


def _monotonic_milliseconds() -> int:
    return int(asyncio.get_running_loop().time() * 1000)
