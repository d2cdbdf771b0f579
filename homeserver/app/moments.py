"""Who types and who is there, as application services are told of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from federation.identifiers import UserID
from homeserver.rooms.presence import Presence
from homeserver.rooms.typing import Typing
from homeserver.storage.numbers import RoomNid


@dataclass(frozen=True, slots=True)
class CurrentMoments:
    """See `homeserver.appservices.live.Moments`."""

    _typing: Typing
    _presence: Presence

    def on_typing(self, changed: Callable[[RoomNid], None]) -> None:
        """Call back with each room where somebody begins or ends typing."""
        self._typing.on_change(changed)

    def typing(self, room: RoomNid) -> Sequence[UserID]:
        """Who types in a room."""
        return self._typing.now(room)

    def on_presence(self, changed: Callable[[UserID], None]) -> None:
        """Call back with each user whose presence changes."""
        self._presence.on_change(changed)

    def presence(self, users: Sequence[UserID]) -> Sequence[Mapping[str, Any]]:
        """`m.presence` events of users."""
        return self._presence.since(users, 0)
