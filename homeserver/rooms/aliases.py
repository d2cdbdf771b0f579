"""Names that lead to rooms.

https://spec.matrix.org/v1.19/client-server-api/#room-aliases
"""

from collections.abc import Awaitable, Callable, Collection
from typing import NamedTuple

from federation.identifiers import RoomAlias, RoomID, ServerName, UserID, domain_of
from federation.power_levels import LevelError
from homeserver.errors import Conflict, Forbidden, InvalidParam, NotFound
from homeserver.rooms.current import Current
from homeserver.storage import aliases, memberships
from homeserver.storage.batch import Membership
from homeserver.storage.numbers import UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process

CANONICAL = ("m.room.canonical_alias", "")
MOST_SERVERS = 100


class Place(NamedTuple):
    """Where an alias leads."""

    room_id: RoomID
    servers: list[ServerName]
    """That are in the room, and through which it can be joined."""


AskDirectory = Callable[[RoomAlias], Awaitable[Place]]
"""Asks the server of an alias, or raises `NotFound`."""


class Aliases:
    """The aliases of this server, and the way to others'.

    Args:
        process: the one that this is part of.
        current: for who may.
        ask: asks other servers.
        ask_bridges: whether an application service has made the room now that it is named.
        requires_membership: whether one must be in a room to give it an alias
            (`rooms.alias_requires_membership`).

    """

    def __init__(
        self,
        process: Process,
        current: Current,
        ask: AskDirectory,
        ask_bridges: Callable[[RoomAlias], Awaitable[bool]],
        *,
        requires_membership: bool,
    ) -> None:
        self._ask_bridges = ask_bridges
        self._process = process
        self._current = current
        self._ask = ask
        self._requires_membership = requires_membership

    async def resolve(self, alias: RoomAlias) -> Place:
        """Where an alias leads, whichever server's it is, or raise `NotFound`."""
        if domain_of(alias) != self._process.server:
            return await self._ask(alias)
        found = await self._find(alias)
        if found is None and await self._ask_bridges(alias):
            found = await self._find(alias)
        if found is None:
            raise NotFound("there is no such alias")
        return found

    async def _find(self, alias: RoomAlias) -> Place | None:
        async with self._process.database.reader() as conn:
            found = await aliases.find(conn, alias)
            if found is None:
                return None
            servers = await memberships.servers_in(conn, found.room, MOST_SERVERS)
        ours = self._process.server
        return Place(found.room_id, [ours, *(name for name in servers if name != ours)])

    async def leads_to(self, alias: RoomAlias, room_id: RoomID) -> bool:
        """Whether the alias leads to this room now."""
        try:
            return (await self.resolve(alias)).room_id == room_id
        except NotFound:
            return False

    async def add(
        self, user: UserNid, alias: RoomAlias, room_id: RoomID, *, in_charge: bool = False
    ) -> None:
        """Give a room an alias; those in charge of such aliases need not be in the room.

        Raises:
            InvalidParam: it is an alias of another server.
            NotFound: there is no such room.
            Forbidden: one has to be in the room for that.
            Conflict: the alias is taken.

        """
        self._check_ours(alias)
        async with self._process.database.reader() as conn:
            room = await self._current.room(conn, room_id)
            if room is None:
                raise NotFound("there is no such room here")
            member = await memberships.membership_of(conn, room, user)
            if self._requires_membership and not in_charge and member is not Membership.JOIN:
                raise Forbidden("you are not in this room")
            if not await aliases.add(conn, alias, room, user):
                raise Conflict("the alias is taken")

    async def remove(
        self, user: UserNid, user_id: UserID, alias: RoomAlias, *, in_charge: bool = False
    ) -> RoomID:
        """Take an alias away; those in charge of such aliases may take any of them.

        Answers the room that it led to.

        Raises:
            NotFound: there is no such alias here.
            Forbidden: somebody else made it, and one is not in charge of the room.

        """
        async with self._process.database.reader() as conn:
            found = await aliases.find(conn, alias)
            if found is None:
                raise NotFound("there is no such alias")
            is_theirs = in_charge or found.user == user
            if not is_theirs and not await self._is_in_charge(conn, user_id, found.room_id):
                raise Forbidden("somebody else made this alias")
            if not await aliases.remove(conn, alias):
                raise NotFound("there is no such alias any more")
            return found.room_id

    async def of_room(self, room_id: RoomID) -> list[RoomAlias]:
        """The aliases that a room has here."""
        async with self._process.database.reader() as conn:
            room = await self._current.room(conn, room_id)
            return [] if room is None else await aliases.of_room(conn, room)

    async def canonical(self, room_id: RoomID) -> Collection[str]:
        """The aliases that the room's state names now."""
        async with self._process.database.reader() as conn:
            state = await self._current.read(conn, room_id, [CANONICAL])
        if CANONICAL not in state:
            return ()
        content = state[CANONICAL].content
        others = content.get("alt_aliases")
        named = [content.get("alias"), *(others if isinstance(others, list) else ())]
        return {alias for alias in named if isinstance(alias, str)}

    async def is_published(self, room_id: RoomID) -> bool:
        """Whether the room is in the public list, or raise `NotFound` for an unknown one."""
        async with self._process.database.reader() as conn:
            room = await self._current.room(conn, room_id)
            if room is None:
                raise NotFound("there is no such room here")
            return await aliases.is_published(conn, room)

    async def publish(self, user_id: UserID, room_id: RoomID, *, is_public: bool) -> None:
        """Put a room into the public list, or take it out.

        Raises:
            NotFound: there is no such room.
            Forbidden: one is not in charge of it.

        """
        async with self._process.database.reader() as conn:
            room = await self._current.room(conn, room_id)
            if room is None:
                raise NotFound("there is no such room here")
            if not await self._is_in_charge(conn, user_id, room_id):
                raise Forbidden("only those in charge of a room publish it")
            await (aliases.publish if is_public else aliases.unpublish)(conn, room)

    async def publish_on(self, network: str, room_id: RoomID, *, is_public: bool) -> None:
        """Put a room into the list of a third-party network, or take it out; see `instance_id`.

        Raises:
            NotFound: there is no such room.

        """
        async with self._process.database.reader() as conn:
            room = await self._current.room(conn, room_id)
            if room is None:
                raise NotFound("there is no such room here")
            change = aliases.publish_on if is_public else aliases.unpublish_on
            await change(conn, room, network)

    async def _is_in_charge(self, conn: Connection, user_id: UserID, room_id: RoomID) -> bool:
        """Whether somebody who is in the room may say what its canonical alias is."""
        member = ("m.room.member", user_id)
        state = await self._current.read(conn, room_id, [member])
        levels = await self._current.levels(conn, room_id)
        if levels is None or member not in state or state[member].membership != "join":
            return False
        try:
            return levels.of(user_id) >= levels.required(CANONICAL[0], is_state=True)
        except LevelError:
            return False

    def _check_ours(self, alias: RoomAlias) -> None:
        if domain_of(alias) != self._process.server:
            raise InvalidParam("the alias is another server's")
