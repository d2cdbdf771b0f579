"""What is told now or never: who types, and who is there.

https://spec.matrix.org/v1.19/application-service-api/#pushing-ephemeral-data
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from federation.identifiers import UserID
from homeserver.appservices.extras import Extras, ephemeral
from homeserver.appservices.interest import Interest
from homeserver.storage import app_services
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection


class Moments(Protocol):
    """Who types and who is there, as this process knows it."""

    def on_typing(self, changed: Callable[[RoomNid], None]) -> None:
        """Call back with each room where somebody begins or ends typing."""

    def typing(self, room: RoomNid) -> Sequence[UserID]:
        """Who types in a room."""

    def on_presence(self, changed: Callable[[UserID], None]) -> None:
        """Call back with each user whose presence changes."""

    def presence(self, users: Sequence[UserID]) -> Sequence[Mapping[str, Any]]:
        """`m.presence` events of users."""


class Live:
    """What changed since an application service was told last; only the newest counts.

    Whoever has it is called with what changes: `types` and `appears`.
    """

    def __init__(self, moments: Moments) -> None:
        self.changed = asyncio.Event()
        self._moments = moments
        self._rooms: set[RoomNid] = set()
        self._users: set[UserID] = set()

    async def gather(self, conn: Connection, interest: Interest, extras: Extras) -> dict[str, Any]:
        """The part of a transaction that tells of it, which is forgotten here then."""
        rooms, self._rooms = self._rooms, set()
        users, self._users = self._users, set()
        self.changed.clear()
        names = await app_services.names_of(conn, rooms) if rooms else {}
        await interest.load(conn, rooms)
        typing = [
            {
                "type": "m.typing",
                "room_id": room_id,
                "content": {"user_ids": list(self._moments.typing(room))},
            }
            for room, room_id in names.items()
            if interest.has_room(room, room_id)
        ]
        known = await extras.of_interest(conn, users)
        return ephemeral([*typing, *self._moments.presence(sorted(known))])

    def types(self, room: RoomNid) -> None:
        """Somebody begins or ends typing in a room."""
        self._rooms.add(room)
        self.changed.set()

    def appears(self, user_id: UserID) -> None:
        """Somebody's presence changes."""
        self._users.add(user_id)
        self.changed.set()
