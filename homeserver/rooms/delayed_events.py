"""Events that are sent later: scheduling them, and changing one's mind.

Whoever knows the ID of one may restart, cancel or send it: a call's media server does, without an
account here. That they are sent when they are due is `delayed_sending`'s care.

MSC4140: Cancellable delayed events. A newer state event does not cancel what was to replace it.
"""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from federation.events import STICKY
from federation.identifiers import RoomID
from homeserver.config.settings import DelayedEvents as Terms
from homeserver.errors import Conflict, Forbidden, LimitExceeded, NotFound, TooLarge
from homeserver.rooms.delayed_sending import DelayedSending, delay_hash
from homeserver.rooms.sending import Transaction, check_name
from homeserver.storage import delayed_events
from homeserver.storage.delayed_events import Delayed, New
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process

_LARGEST = 65_536
"""Bytes of an event: what is larger can never be sent."""


class MaxDelayExceeded(Forbidden):
    """The event is to be sent later than is allowed."""


class Wish(NamedTuple):
    """What is to be sent later."""

    room_id: RoomID
    type: str
    state_key: str | None
    content: Mapping[str, Any]
    delay_ms: int
    sticky: int | None = None
    """For how many milliseconds it sticks then."""

    @property
    def json(self) -> bytes:
        """As it is stored."""
        body = {"room_id": self.room_id, "type": self.type, "content": self.content}
        key = {} if self.state_key is None else {"state_key": self.state_key}
        sticky = {} if self.sticky is None else {STICKY: {"duration_ms": self.sticky}}
        return orjson.dumps({**body, **key, **sticky})


class DelayedEvents:
    """What people let be sent later.

    Args:
        process: the one that this is part of.
        sending: sends them.
        terms: the limits.

    """

    def __init__(self, process: Process, sending: DelayedSending, terms: Terms) -> None:
        self._process = process
        self._sending = sending
        self._terms = terms

    async def schedule(
        self, user: UserNid, device: int, wish: Wish, transaction: Transaction | None
    ) -> str:
        """Let an event be sent later; the ID with which one may change one's mind.

        Whether the sender may send it shows when it is sent.

        Raises:
            MaxDelayExceeded: that is too late.
            Forbidden: nothing may be scheduled here.
            LimitExceeded: the user has scheduled too many.
            InvalidParam, TooLarge: it cannot be an event.

        """
        self._check(wish)
        delay_id, now = secrets.token_urlsafe(24), self._process.now()
        new = New(
            delay_id=delay_id,
            delay_hash=delay_hash(delay_id),
            user=user,
            device=device,
            txn_hash=transaction.once[1] if transaction else None,
            json=wish.json,
            delay_ms=wish.delay_ms,
            due_ts=now + wish.delay_ms,
        )
        async with self._process.database.reader() as conn:
            made = await delayed_events.schedule(conn, new, self._terms.max_scheduled)
            due = await delayed_events.next_of(conn, user) if made is None else None
        if made is None:
            raise LimitExceeded(max((due or now) - now, 1))
        self._sending.expect(new.due_ts)
        return made

    async def scheduled(self, user: UserNid) -> Sequence[Delayed]:
        """All that the user has scheduled, in the order in which it is due."""
        async with self._process.database.reader() as conn:
            return await delayed_events.scheduled(conn, user)

    async def get(self, delay_id: str, user: UserNid | None) -> Delayed:
        """One event, scheduled or finalised.

        Raises:
            NotFound: there is none of this ID, or it is not the user's; `None` is anybody.

        """
        async with self._process.database.reader() as conn:
            found = await delayed_events.find(conn, delay_hash(delay_id))
        if found is None or user not in {None, found.user}:
            raise NotFound("there is no such delayed event")
        return found

    async def cancel(self, delay_id: str, user: UserNid | None) -> None:
        """Never send it.

        Raises:
            NotFound: as `get`.
            Conflict: it was sent.

        """
        await self.get(delay_id, user)
        now = self._process.now()
        async with self._process.database.reader() as conn:
            if await delayed_events.cancel(conn, delay_hash(delay_id), now):
                return
        found = await self.get(delay_id, user)
        if found.finalised_ts is None or found.event_id is not None:
            raise Conflict("the event was sent already")

    async def restart(self, delay_id: str, user: UserNid | None) -> None:
        """Begin its delay anew.

        Raises:
            NotFound: as `get`, or it was sent already.
            Conflict: it was cancelled.

        """
        await self.get(delay_id, user)
        now = self._process.now()
        async with self._process.database.reader() as conn:
            if await delayed_events.restart(conn, delay_hash(delay_id), now):
                return
        found = await self.get(delay_id, user)
        if found.finalised_ts is not None and found.event_id is None:
            raise Conflict("the event was cancelled")
        # COMPAT(matrix-js-sdk): what tells a call to schedule another one.
        raise NotFound("the event was sent already")

    async def send(self, delay_id: str, user: UserNid | None) -> None:
        """Send it now; if that fails it is still scheduled.

        Raises:
            NotFound: as `get`.
            Conflict: it was cancelled.
            MatrixError: it cannot be sent.

        """
        await self.get(delay_id, user)
        if await self._sending.send_now(delay_hash(delay_id)):
            return
        found = await self.get(delay_id, user)
        if found.finalised_ts is not None and found.event_id is None:
            raise Conflict("the event was cancelled")

    def _check(self, wish: Wish) -> None:
        check_name(wish.type, wish.state_key)
        if not self._terms.max_scheduled:
            raise Forbidden("nothing can be scheduled here")
        most = self._terms.max_delay.milliseconds
        if wish.delay_ms > most:
            raise MaxDelayExceeded(
                f"at most {most} milliseconds later",
                # COMPAT(matrix-js-sdk): it tries again with what it reads here.
                **{
                    "org.matrix.msc4140.errcode": "M_MAX_DELAY_EXCEEDED",
                    "org.matrix.msc4140.max_delay": most,
                },
            )
        if len(wish.json) > _LARGEST:
            raise TooLarge("an event has at most 65536 bytes")
