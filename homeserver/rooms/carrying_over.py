"""What people have set for a room goes with them into the room that replaces it.

"When a user joins the new room, the server should automatically transfer/replicate some of the
user's personalized settings such as notifications, tags, etc."

https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
"""

from collections.abc import Awaitable, Callable

import orjson

from federation.errors import IdentifierError
from federation.identifiers import RoomID, parse_room_id
from homeserver.accounts.account_data import AccountData
from homeserver.errors import NotFound, TooLarge
from homeserver.rooms.current import Current
from homeserver.storage import aliases, memberships
from homeserver.storage.batch import Membership
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process

TAGS = "m.tag"
DIRECT = "m.direct"
_MOST_EARLY = 50
"""People who are in a room before it replaces another."""


CopyRules = Callable[[UserNid, RoomID, RoomID], Awaitable[None]]
"""Lets what somebody's push rules say of one room hold for another, too."""


class CarryingOver:
    """Copies tags, push rules and `m.direct` for who joins a room that replaces another.

    Args:
        process: the one that this is part of.
        current: the states of rooms.
        account_data: where it is kept.
        copy_rules: copies push rules.

    """

    def __init__(
        self,
        process: Process,
        current: Current,
        account_data: AccountData,
        copy_rules: CopyRules,
    ) -> None:
        self._process = process
        self._current = current
        self._account_data = account_data
        self._copy_rules = copy_rules

    async def joined(self, user: UserNid, room_id: RoomID) -> None:
        """Somebody is in a room now: if they were in its predecessor, what they set goes along.

        So do our aliases of that, and its place in our public list, if another server replaced it.
        """
        before = await self._predecessor(user, room_id)
        if before is None:
            return
        await self._copy_tags(user, before, room_id)
        await self._copy_direct(user, before, room_id)
        await self._copy_rules(user, before, room_id)
        await self._move_names(before, room_id)

    async def replaced(self, by: object) -> None:
        """A room is said to be replaced by another: the same for who is in that already.

        Who upgrades a room by hand joins the new one before the old one names it.
        """
        new_id = _room_id(by)
        if new_id is None:
            return
        async with self._process.database.reader() as conn:
            room = await self._current.room(conn, new_id)
            people = await memberships.local_members(conn, room) if room else ()
            users = await self._process.numbers.users.find(conn, people[:_MOST_EARLY])
        for user in users.values():
            await self.joined(user, new_id)

    async def _predecessor(self, user: UserNid, room_id: RoomID) -> RoomID | None:
        """The room that this one replaces, and says so itself, if the user is or was in it."""
        async with self._process.database.reader() as conn:
            created = await self._current.created(conn, room_id)
            named = created.content.get("predecessor") if created else None
            before = _room_id(named.get("room_id")) if isinstance(named, dict) else None
            if before is None or before == room_id:
                return None
            tombstone = ("m.room.tombstone", "")
            old = await self._current.read(conn, before, [tombstone])
            # Otherwise anybody could make a room that claims to be what replaces another.
            if old.get(tombstone) is None:
                return None
            if old[tombstone].content.get("replacement_room") != room_id:
                return None
            room = await self._current.room(conn, before)
            found = await memberships.membership_of(conn, room, user) if room else None
        return before if found in {Membership.JOIN, Membership.LEAVE} else None

    async def _copy_tags(self, user: UserNid, before: RoomID, room_id: RoomID) -> None:
        try:
            tags = await self._account_data.get(user, before, TAGS)
        except NotFound:
            return
        try:
            await self._account_data.get(user, room_id, TAGS)
        except NotFound:
            await self._account_data.put(user, room_id, TAGS, tags)

    async def _copy_direct(self, user: UserNid, before: RoomID, room_id: RoomID) -> None:
        try:
            direct = orjson.loads(await self._account_data.get(user, None, DIRECT))
        except NotFound:
            return
        changed = False
        for rooms in direct.values():
            if isinstance(rooms, list) and before in rooms and room_id not in rooms:
                rooms.append(room_id)
                changed = True
        if changed:
            try:
                await self._account_data.put(user, None, DIRECT, orjson.dumps(direct))
            except TooLarge:
                return  # nobody has so many rooms by hand

    async def _move_names(self, before: RoomID, room_id: RoomID) -> None:
        async with self._process.database.reader() as conn:
            nids = await self._process.numbers.rooms.find(conn, [before, room_id])
            if len(nids) == 2:
                await move_names(conn, nids[before], nids[room_id])


def _room_id(named: object) -> RoomID | None:
    """What a room says is another's ID, if it can be one."""
    try:
        return parse_room_id(named) if isinstance(named, str) else None
    except IdentifierError:
        return None


async def move_names(conn: Connection, before: RoomNid, room: RoomNid) -> None:
    """Let our aliases of a room, and our public list, lead to the one that replaces it."""
    await aliases.move(conn, before, room)
    if await aliases.is_published(conn, before):
        await aliases.publish(conn, room)
        await aliases.unpublish(conn, before)
