"""Sending delayed events when they are due.

One process at a time has this duty. An event is claimed before it is sent, and sent under a
transaction ID of its own: what a process that ended left half done is done once all the same.

MSC4140: Cancellable delayed events.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from federation.events import STICKY
from federation.identifiers import RoomID, UserID
from homeserver.errors import Forbidden, MatrixError
from homeserver.rooms.sending import Sending, Transaction
from homeserver.storage import delayed_events
from homeserver.storage.bus import Bus, Message
from homeserver.storage.delayed_events import Claimed, Outcome
from homeserver.storage.holding import Duty
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process

DUTY = "send delayed events"
_LOOK_AGAIN = 60_000
"""Milliseconds after which it is looked again for what is due, whatever others said."""
_CLAIM = 30_000
"""Milliseconds after which what was claimed and not sent is tried again."""
_AT_ONCE = 50
_KIND = "delayed event"
"""Of the message that something is due soon."""
_PATH = "delayed_event"


def _transaction(device: int, delay_id: str) -> Transaction:
    return Transaction(device, _PATH, delay_id, is_own=False)


def delay_hash(delay_id: str) -> bytes:
    """By which an event is found, here and among what was sent."""
    return _transaction(0, delay_id).once[1]


class DelayedSending:
    """Has the duty, or waits for it. `run` has to run.

    Args:
        process: the one that this is part of.
        sending: the way into rooms.
        bus: on which others say that something is due sooner.
        check: raises `LimitExceeded` if the user has sent too much lately.

    """

    def __init__(
        self, process: Process, sending: Sending, bus: Bus, check: Callable[[UserNid], None]
    ) -> None:
        self._process = process
        self._sending = sending
        self._bus = bus
        self._check = check
        self._duty = Duty(process, DUTY)
        self._sooner = asyncio.Event()
        self._awake_at = 0
        """When this process looks again, in milliseconds; 0 while it is looking."""
        bus.hear(_KIND, self._hear)

    async def run(self) -> None:
        """Have the duty for as long as it is ours, again and again."""
        await self._duty.run(self._work)

    def expect(self, due: int) -> None:
        """Something is due at this time, in milliseconds."""
        self._bus.tell(_KIND, {"due": due})

    async def send_now(self, found: bytes) -> bool:
        """Send the event of this hash, due or not; false if it is not to be had.

        Raises:
            MatrixError: it cannot be sent; it is still scheduled.

        """
        now = self._process.now()
        async with self._process.database.reader() as conn:
            claimed = await delayed_events.claim(conn, found, now, now + _CLAIM)
        if claimed is None:
            return False
        outcomes = []
        try:
            outcomes = [Outcome(claimed.event.nid, await self._send(claimed), None)]
        finally:
            await self._settle([claimed], outcomes)
        return True

    def _hear(self, message: Message) -> None:
        if message["due"] < self._awake_at:
            self._sooner.set()

    async def _work(self) -> None:
        while True:
            await self._wait(await self._send_due())

    async def _wait(self, due: int | None) -> None:
        """Wait until something is due, or is said to be due sooner."""
        now = self._process.now()
        until = now + _LOOK_AGAIN
        self._awake_at = until if due is None else min(until, max(due, now))
        try:
            async with asyncio.timeout((self._awake_at - now) / 1000):
                await self._sooner.wait()
        except TimeoutError:
            pass
        self._awake_at = 0
        self._sooner.clear()

    async def _send_due(self) -> int | None:
        """Send all that is due; when the next is."""
        while True:
            now = self._process.now()
            async with self._process.database.reader() as conn:
                claimed = await delayed_events.claim_due(conn, now, now + _CLAIM, _AT_ONCE)
                if not claimed:
                    return await delayed_events.next_due(conn)
            await self._send_all(claimed)

    async def _send_all(self, claimed: Sequence[Claimed]) -> None:
        """Send what was claimed, in order, each once; the error is noted of what cannot be sent."""
        outcomes: list[Outcome] = []
        try:
            for one in claimed:
                outcome = await self._outcome(one)
                outcomes.append(outcome)
        finally:
            await self._settle(claimed, outcomes)

    async def _outcome(self, claimed: Claimed) -> Outcome:
        try:
            self._check(claimed.event.user)
            return Outcome(claimed.event.nid, await self._send(claimed), None)
        except MatrixError as error:
            told = {"errcode": error.errcode, "error": error.message, **error.extra}
            return Outcome(claimed.event.nid, None, orjson.dumps(told))

    async def _send(self, claimed: Claimed) -> str:
        if claimed.is_barred:
            raise Forbidden("the account may not send events now")
        event = claimed.event
        wish: dict[str, Any] = orjson.loads(event.json)
        sender, room = UserID(claimed.sender), RoomID(wish["room_id"])
        transaction = _transaction(event.device, event.delay_id)
        kind, content = wish["type"], wish["content"]
        sticky = wish[STICKY]["duration_ms"] if STICKY in wish else None
        if "state_key" in wish:
            key = wish["state_key"]
            return await self._sending.set_state(
                sender, room, kind, key, content, transaction, sticky=sticky
            )
        return await self._sending.send(sender, room, kind, content, transaction, sticky=sticky)

    async def _settle(self, claimed: Sequence[Claimed], outcomes: Sequence[Outcome]) -> None:
        async with self._process.database.reader() as conn:
            nids = [one.event.nid for one in claimed]
            await delayed_events.settle(conn, nids, outcomes, self._process.now())
