"""In which rooms this server is, remembered while all that happens there is known."""

from collections import OrderedDict

from federation.identifiers import ServerName, domain_of, is_user_id
from homeserver.storage.numbers import RoomNid
from homeserver.storage.recent_events import RecentEvent
from homeserver.storage.tail import RecentLog

_MOST = 20_000


class BeingHere:
    """Remembers it.

    Args:
        server: this one.
        log: what happened just now.

    """

    def __init__(self, server: ServerName, log: RecentLog) -> None:
        self._server = server
        self._log = log
        self._known: OrderedDict[RoomNid, int] = OrderedDict()
        """Up to which position somebody was there."""

    @property
    def reached(self) -> int:
        """The position up to which anything is known."""
        return self._log.reached

    async def is_sure(self, room: RoomNid) -> bool:
        """Whether somebody of this server is certainly in a room."""
        await self._log.catch_up()
        since = self._known.pop(room, None)
        if since is None or not self._nobody_moved(room, since):
            return False
        self._known[room] = self._log.reached
        return True

    def learn(self, room: RoomNid, reached: int) -> None:
        """Somebody was in the room when all was known up to a position."""
        self._known[room] = reached
        if len(self._known) > _MOST:
            self._known.popitem(last=False)

    def _nobody_moved(self, room: RoomNid, since: int) -> bool:
        if self._log.is_still(room, since):
            return True
        recent = self._log.events(room, since, self._log.reached)
        return recent is not None and not any(map(self._is_of_ours, recent))

    def _is_of_ours(self, one: RecentEvent) -> bool:
        """Whether an event is the membership of somebody of this server."""
        event = one.placed.event
        user = event.state_key or ""
        is_member = event.type == "m.room.member" and is_user_id(user)
        return is_member and domain_of(user) == self._server
