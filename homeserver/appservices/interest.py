"""Which rooms an application service wants to hear of.

https://spec.matrix.org/v1.19/application-service-api/#registration
"""

from collections import OrderedDict
from collections.abc import Iterable

from federation.identifiers import RoomID, ServerName, UserID
from homeserver.accounts.app_services import AppService, includes
from homeserver.storage import app_services
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection

_REMEMBERED = 10_000
"""Rooms."""


class Interest:
    """Of one application service; `load` before asking for rooms, and `follow` memberships."""

    def __init__(self, service: AppService, server: ServerName) -> None:
        self._service = service
        self._suffix = f":{server}"
        self._members: OrderedDict[RoomNid, set[UserID]] = OrderedDict()
        """Its users in each room."""
        self._by_alias: set[RoomNid] = set()

    def has_user(self, user_id: str | None) -> bool:
        """Whether it acts for this user: "can only register interest in *local* users"."""
        if user_id is None or not user_id.endswith(self._suffix):
            return False
        return self._service.may_be(user_id)

    def has_room(self, room: RoomNid, room_id: RoomID) -> bool:
        """Whether it wants to hear of all that happens in the room."""
        return (
            bool(self._members.get(room))
            or room in self._by_alias
            or includes(self._service.rooms, room_id)
        )

    def members(self, room: RoomNid) -> set[UserID]:
        """Its users in the room."""
        return self._members.get(room, set())

    async def load(self, conn: Connection, rooms: Iterable[RoomNid]) -> None:
        """Learn of rooms what is not known of them yet."""
        wanted = set(rooms)
        while len(self._members) > _REMEMBERED:
            self._members.popitem(last=False)
        if new := wanted - self._members.keys():
            found = await app_services.local_members(conn, new)
            for room, members in found.items():
                self._members[room] = {user for user in members if self.has_user(user)}
        if self._service.aliases and wanted:
            aliases = await app_services.aliases_of(conn, wanted)
            self._by_alias = {
                room
                for room, names in aliases.items()
                if any(includes(self._service.aliases, name) for name in names)
            }

    def doubt(self, rooms: Iterable[RoomNid]) -> None:
        """Whoever is in these rooms may be others by now: learn of them anew."""
        for room in rooms:
            self._members.pop(room, None)

    def follow(self, room: RoomNid, user_id: UserID, *, is_in: bool) -> None:
        """Somebody came or went."""
        members = self._members.get(room)
        if members is None or not self.has_user(user_id):
            return
        if is_in:
            members.add(user_id)
        else:
            members.discard(user_id)
