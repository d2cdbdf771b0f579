"""Telling people that no more of them may use the server, for as long as that is so.

Everybody who uses it is told by a notice, which is pinned; it is taken back when there is place
again. One process at a time has this duty.

https://spec.matrix.org/v1.19/client-server-api/#server-notices
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from federation.events import StateKey
from homeserver.accounts.resource_limits import FULL, SAYS_FULL, ResourceLimits
from homeserver.config.settings import Settings
from homeserver.errors import Forbidden, MatrixError
from homeserver.logs import get_logger
from homeserver.rooms.current import Current
from homeserver.rooms.sending import Sending, Transaction
from homeserver.rooms.server_notices import Notice, ServerNotices
from homeserver.storage import active_users, notice_rooms
from homeserver.storage.active_users import Told
from homeserver.storage.holding import Duty
from homeserver.storage.process import Process

log = get_logger(__name__)

DUTY = "tell of the usage limit"
PINNED: StateKey = ("m.room.pinned_events", "")
_EVERY = 60.0
"""Seconds between two looks."""
_AT_ONCE = 100
_BREATH = 0.02
"""Seconds between two people, for everybody else."""
_NOBODY = 0
"""The device of transactions of nobody's device."""


class UsageNotices:
    """Has the duty, or waits for it. `run` has to run.

    Args:
        process: the one that this is part of.
        limits: says whether the server is full.
        notices: speaks to people.
        current: of their rooms.
        sending: pins.
        settings: who speaks, and whom people can turn to.

    """

    def __init__(
        self,
        process: Process,
        limits: ResourceLimits,
        notices: ServerNotices,
        current: Current,
        sending: Sending,
        settings: Settings,
    ) -> None:
        self._process = process
        self._limits = limits
        self._notices = notices
        self._current = current
        self._sending = sending
        self._settings = settings
        self._duty = Duty(process, DUTY)

    async def run(self) -> None:
        """Have the duty for as long as it is ours, again and again."""
        await self._duty.run(self._work)

    async def _work(self) -> None:
        while True:
            await self.round()
            await asyncio.sleep(_EVERY)

    async def round(self) -> None:
        """Tell everybody who was not told, or take it back."""
        is_full = await self._limits.is_full()
        act, failed = (self._tell if is_full else self._take_back), 0
        while people := await self._next(is_full=is_full):
            before = failed
            for who in people:
                try:
                    await act(who)
                except MatrixError as error:
                    failed += 1
                    log.warning("a notice cannot be sent", reason=error.message)
                await asyncio.sleep(_BREATH)
            if failed - before == len(people):
                break  # they would come again and again

    async def _next(self, *, is_full: bool) -> list[Told]:
        async with self._process.database.reader() as conn:
            if is_full:
                return list(await active_users.untold(conn, self._limits.since, _AT_ONCE))
            return list(await active_users.told(conn, _AT_ONCE))

    async def _tell(self, who: Told) -> None:
        content = {
            "msgtype": "m.server_notice",
            "server_notice_type": "m.server_notice.usage_limit_reached",
            "body": SAYS_FULL,
            "limit_type": FULL,
            "admin_contact": self._settings.resource_limits.admin_contact,
        }
        # A repeat of what was cut short says nothing new.
        path = f"usage_limit/{who.user_id}"
        once = Transaction(_NOBODY, path, str(self._process.today), is_own=False)
        notice = await self._notices.send(who.user_id, Notice("m.room.message", content), once)
        await self._pin(who, lambda pinned: [*pinned, notice] if notice not in pinned else pinned)
        async with self._process.database.reader() as conn:
            await active_users.note_told(conn, who.user, notice)

    async def _take_back(self, who: Told) -> None:
        with suppress(Forbidden):  # the room was ended, or is somebody else's by now
            await self._pin(who, lambda pinned: [one for one in pinned if one != who.notice])
        async with self._process.database.reader() as conn:
            await active_users.note_told(conn, who.user, None)

    async def _pin(self, who: Told, change: Callable[[list[Any]], list[Any]]) -> None:
        """Change what is pinned in the room in which somebody is spoken to, if there is one."""
        async with self._process.database.reader() as conn:
            room_id = await notice_rooms.find(conn, who.user)
            state = await self._current.read(conn, room_id, [PINNED]) if room_id else {}
        if room_id is None:
            return
        found = state[PINNED].content.get("pinned") if PINNED in state else None
        before = found if isinstance(found, list) else []
        after = change(before)
        if after != before:
            speaker = await self._notices.speaker()
            await self._sending.set_state(speaker, room_id, *PINNED, {"pinned": after})
