"""What other servers do for people here who want to be in their rooms.

https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
"""

from collections.abc import Sequence
from typing import Protocol

from federation.building import Draft
from federation.canonical_json import JsonObject
from federation.identifiers import EventID, RoomID, ServerName, UserID


class RemoteRooms(Protocol):
    """Ways into and out of rooms that this server is not in, and of invites elsewhere.

    Each raises the `MatrixError` that the client is told.
    """

    async def join(
        self,
        user: UserID,
        room_id: RoomID,
        via: Sequence[ServerName],
        content: JsonObject,
        *,
        is_here: bool = False,
    ) -> None:
        """Join through one of the servers, which may let in whom we cannot if we `is_here` too."""

    async def leave(self, user: UserID, room_id: RoomID, content: JsonObject) -> None:
        """Reject an invitation, or take back a knock."""

    async def knock(
        self, user: UserID, room_id: RoomID, via: Sequence[ServerName], content: JsonObject
    ) -> None:
        """Knock through one of the servers."""

    async def invite(self, draft: Draft) -> EventID:
        """Invite somebody of another server into a room that we are in."""
