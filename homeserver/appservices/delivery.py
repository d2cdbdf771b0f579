"""Telling an application service what happens, in order, a transaction at a time.

One process at a time has this duty for each of them, so a slow one holds up nobody else. What is
sent is stored before, with its ID, and repeated until it arrives.

https://spec.matrix.org/v1.19/application-service-api/#pushing-events
"""

import asyncio
import secrets
from collections.abc import Collection
from typing import Any

import orjson

from homeserver.accounts.app_services import AppService
from homeserver.appservices.bridges import Bridges
from homeserver.appservices.extras import Extras, devices_told, kinds_for
from homeserver.appservices.interest import Interest
from homeserver.appservices.live import Live, Moments
from homeserver.appservices.selecting import select_events
from homeserver.errors import MatrixError
from homeserver.logs import get_logger
from homeserver.storage import app_services
from homeserver.storage.app_services import News, Transaction
from homeserver.storage.bus import Bus
from homeserver.storage.holding import Duty, Lost
from homeserver.storage.log import Kind
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process

log = get_logger(__name__)

_ROWS = 200
"""Of the log, in one transaction."""
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 300.0
"""Seconds for which one that does not answer is left alone."""
_SECONDS = 60.0
"""How long it may take to answer."""


class Delivery:
    """To one application service. `run` has to run.

    Args:
        process: the one that this is part of.
        service: whom.
        bridges: the way there.
        moments: who types and who is there.

    """

    def __init__(
        self,
        process: Process,
        service: AppService,
        bridges: Bridges,
        moments: Moments,
    ) -> None:
        self.live = Live(moments) if service.wants_ephemeral else None
        """To be told of who types and who is there, if the application service wants to be."""
        self._process = process
        self._service = service
        self._bridges = bridges
        self._duty = Duty(process, f"tell application service {service.id}")
        self._interest = Interest(service, process.server)
        self._extras = Extras(service, self._interest)
        self._kinds = kinds_for(service)
        self._alive = asyncio.Event()
        self._is_down = False

    async def run(self) -> None:
        """Have the duty for as long as it is ours, again and again."""
        await self._duty.run(self._work)

    async def _work(self) -> None:
        # What was learnt while the duty was ours before may not be true any more.
        self._interest = Interest(self._service, self._process.server)
        self._extras = Extras(self._service, self._interest)
        async with self._process.database.reader() as conn:
            transaction = await app_services.pending(conn, self._service.id)
        while True:
            if transaction is not None:
                await self._deliver(transaction)
            transaction = await self._next() or await self._moment()
            if transaction is None:
                await self._wait()

    async def _next(self) -> Transaction | None:
        """Make the next transaction of what the log has; `None` if it has nothing more."""
        target = self._process.clock.position
        while self._duty.pos < target:
            async with self._process.database.reader() as conn:
                rows = await app_services.news(conn, self._duty.pos, target, self._kinds, _ROWS)
                reached = rows[-1].pos if len(rows) == _ROWS else target
                body = await self._body(conn, rows, reached)
                if body is not None:
                    devices = devices_told(rows, self._interest)
                    return await self._begin(conn, body, reached, devices)
            self._duty.pos = reached
        return None

    async def _moment(self) -> Transaction | None:
        """Make a transaction of what is told now or never."""
        if self.live is None or not self.live.changed.is_set():
            return None
        async with self._process.database.reader() as conn:
            found = await self.live.gather(conn, self._interest, self._extras)
            return (
                await self._begin(conn, {"events": [], **found}, self._duty.pos) if found else None
            )

    async def _wait(self) -> None:
        """Until there may be more to tell."""
        clock = self._process.clock
        if self.live is None:
            await clock.wait_beyond(self._duty.pos)
            return
        waits = (clock.wait_beyond(self._duty.pos), self.live.changed.wait())
        tasks = [asyncio.create_task(wait) for wait in waits]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    async def _body(
        self, conn: Connection, rows: list[News], reached: int
    ) -> dict[str, Any] | None:
        """What a transaction says of some rows; `None` if nothing."""
        self._interest.doubt({r.room for r in rows if r.kind == Kind.STATE and r.room is not None})
        await self._interest.load(conn, {row.room for row in rows if row.room is not None})
        events = select_events(rows, self._interest, self._process.now())
        extras = await self._extras.gather(conn, rows, self._duty.pos, reached)
        return {"events": events, **extras} if events or extras else None

    async def _begin(
        self, conn: Connection, body: dict[str, Any], reached: int, devices: Collection[int] = ()
    ) -> Transaction:
        transaction = Transaction(secrets.token_urlsafe(15), orjson.dumps(body))
        begun = await app_services.begin(
            conn,
            self._service.id,
            transaction,
            self._duty.name,
            self._duty.holder,
            reached,
            devices,
        )
        if not begun:
            raise Lost
        self._duty.pos = reached
        return transaction

    async def _deliver(self, transaction: Transaction) -> None:
        """Send a transaction until it arrives."""
        pause = _FIRST_PAUSE
        self._alive.clear()
        while (problem := await self._send(transaction)) is not None:
            if not self._is_down:
                self._is_down = True
                log.warning(
                    "an application service does not take what it is told",
                    service=self._service.id,
                    reason=problem,
                )
            try:
                async with asyncio.timeout(pause):
                    await self._alive.wait()
                self._alive.clear()
                pause = _FIRST_PAUSE
            except TimeoutError:
                pause = min(pause * 2, _LONGEST_PAUSE)
            transaction = await self._without_redacted(transaction)
        if self._is_down:
            self._is_down = False
            log.info("an application service is back", service=self._service.id)
        async with self._process.database.reader() as conn:
            await app_services.finish(conn, self._service.id, transaction.txn_id)

    async def _without_redacted(self, transaction: Transaction) -> Transaction:
        """The same, without what was taken back since it was made."""
        body = orjson.loads(transaction.content)
        named = {event["event_id"] for event in body["events"] if "event_id" in event}
        if not named:
            return transaction
        async with self._process.database.reader() as conn:
            redacted = await app_services.redacted_among(conn, named)
            changed = [
                event
                for event in body["events"]
                if (left := redacted.get(event.get("event_id"))) is not None
                and event["content"] != left["content"]
            ]
            if not changed:
                return transaction
            for event in changed:
                event["content"] = redacted[event["event_id"]]["content"]
            transaction = transaction._replace(content=orjson.dumps(body))
            await app_services.replace(conn, self._service.id, transaction)
        return transaction

    async def _send(self, transaction: Transaction) -> str | None:
        """Send a transaction; what is wrong if it did not arrive."""
        path = ("_matrix", "app", "v1", "transactions", transaction.txn_id)
        try:
            answer = await self._bridges.ask(
                self._service,
                "PUT",
                path,
                transaction.content,
                seconds=_SECONDS,
                legacy=path[-2:],
            )
        except MatrixError as error:
            return error.message
        return None if answer.is_success else f"it answers {answer.status}"

    def show_life(self) -> None:
        """The application service was heard of: if it is left alone, it need not be any more."""
        self._alive.set()


ALIVE = "appservice"
"""Of the messages between processes that tell of signs of life."""


class SignsOfLife:
    """Tells all processes of application services that were heard of here."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._waiting: set[str] = set()

    def heard_from(self, service: AppService) -> None:
        """An application service that may have been left alone is there; said ten times a second.

        The last sign is always passed on: it may be the only one after it was given up.
        """
        if service.url is not None and service.id not in self._waiting:
            self._waiting.add(service.id)
            asyncio.get_running_loop().call_later(0.1, self._tell, service.id)

    def _tell(self, service_id: str) -> None:
        self._waiting.discard(service_id)
        self._bus.tell(ALIVE, {"id": service_id})
