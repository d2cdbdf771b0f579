# ruff: noqa: ARG002 - whatever is asked, the answer is the same
"""A server that deals with no other one (`federation.enabled: false`)."""

from collections.abc import Sequence
from typing import Any

from federation.building import Draft
from federation.canonical_json import JsonObject
from federation.identifiers import EventID, RoomAlias, RoomID, ServerName, UserID
from homeserver.errors import Forbidden, NotFound
from homeserver.rooms.aliases import Place

_ALONE = "this server deals with no other servers"


class Alone:
    """What `remote.RemoteRooms` and its like say where nobody else is asked."""

    async def join(
        self, user: UserID, room_id: RoomID, via: Sequence[ServerName], content: JsonObject
    ) -> None:
        """See `RemoteRooms`."""
        raise NotFound("there is no such room here")

    async def leave(self, user: UserID, room_id: RoomID, content: JsonObject) -> None:
        """See `RemoteRooms`."""
        raise NotFound("there is no such room here")

    async def knock(
        self, user: UserID, room_id: RoomID, via: Sequence[ServerName], content: JsonObject
    ) -> None:
        """See `RemoteRooms`."""
        raise NotFound("there is no such room here")

    async def invite(self, draft: Draft) -> EventID:
        """See `RemoteRooms`."""
        raise Forbidden(_ALONE)

    async def resolve(self, alias: RoomAlias) -> Place:
        """See `aliases.AskDirectory`."""
        raise NotFound(_ALONE)

    async def profile(self, user_id: UserID) -> dict[str, Any]:
        """Nobody of another server can be looked up."""
        raise NotFound(_ALONE)
