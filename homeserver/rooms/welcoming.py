"""Rooms that every new account joins.

Registration does not wait for it, and never fails on it.
"""

import asyncio
from collections.abc import Sequence

from federation.identifiers import RoomAlias, UserID
from homeserver.errors import MatrixError
from homeserver.logs import get_logger
from homeserver.rooms.aliases import Aliases
from homeserver.rooms.membership import Memberships

log = get_logger(__name__)


class Welcoming:
    """Lets new people join rooms.

    Args:
        aliases: of the rooms.
        memberships: joins.
        rooms: which (`registration.auto_join`).

    """

    def __init__(
        self, aliases: Aliases, memberships: Memberships, rooms: Sequence[RoomAlias]
    ) -> None:
        self._aliases = aliases
        self._memberships = memberships
        self._rooms = rooms
        self._tasks: set[asyncio.Task[None]] = set()

    def welcome(self, user_id: UserID) -> None:
        """Somebody has an account now."""
        if self._rooms:
            task = asyncio.get_running_loop().create_task(self._join_all(user_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _join_all(self, user_id: UserID) -> None:
        for alias in self._rooms:
            try:
                place = await self._aliases.resolve(alias)
                await self._memberships.join(user_id, place.room_id, place.servers, {})
            except MatrixError as error:
                log.warning("a new account cannot join a room", room=alias, reason=error.message)
