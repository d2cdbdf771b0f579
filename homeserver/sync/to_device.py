"""Messages for devices, delivered until the client says that it has them.

https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging
"""

from collections.abc import Sequence
from typing import NamedTuple

from homeserver.storage.numbers import UserNid
from homeserver.sync.activity import Activity
from homeserver.sync.keys import Keys, Message

PAGE = 100
_REMEMBERED = 100_000


class Page(NamedTuple):
    """The first messages that wait."""

    messages: Sequence[Message]
    last: int
    """The position up to which the client has them all then."""


class ToDevice:
    """Reads messages, and lets go of what was delivered."""

    def __init__(self, keys: Keys, activity: Activity) -> None:
        self._keys = keys
        self._activity = activity
        self._acknowledged: dict[int, int] = {}
        self._empty: dict[int, tuple[int, int]] = {}
        """Positions between which no message waits for a device."""

    async def page(
        self, user: UserNid, device: int, after: int, up_to: int, limit: int = PAGE
    ) -> Page:
        """The first messages after a position; no query where there can be none."""
        known = self.known_empty(user, device, after)
        if known is not None:
            return Page((), known)
        waiting = await self._keys.pending(device, after, up_to)
        if not waiting:
            self._note_empty(device, after, up_to)
        messages = waiting[:limit]
        if len(messages) == len(waiting) < PAGE:
            return Page(messages, up_to)
        return Page(messages, messages[-1].pos if messages else after)

    def known_empty(self, user: UserNid, device: int, after: int) -> int | None:
        """The position up to which no message waits; `None` if there may be one."""
        first, last = self._empty.get(device, (0, 0))
        known = last if first <= after < last else after
        return None if self._activity.user_changed(user, known) else known

    def _note_empty(self, device: int, after: int, up_to: int) -> None:
        if len(self._empty) > _REMEMBERED:
            self._empty.clear()
        self._empty[device] = after, up_to

    async def acknowledge(self, device: int, up_to: int) -> None:
        """The client has the messages up to a position."""
        if self._acknowledged.get(device, 0) < up_to:
            await self._keys.acknowledge(device, up_to)
            if len(self._acknowledged) > _REMEMBERED:
                self._acknowledged.clear()
            self._acknowledged[device] = up_to
