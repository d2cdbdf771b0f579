"""All rooms of this server, as its administrators look through them."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from federation.canonical_json import JsonObject
from federation.events import Event, StateKey
from federation.identifiers import RoomID, UserID
from homeserver.errors import NotFound
from homeserver.rooms.describing import KEYS, federates
from homeserver.rooms.showing import Showing
from homeserver.storage import history, memberships, public_rooms, room_lists, room_states
from homeserver.storage.batch import Membership
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process
from homeserver.storage.room_lists import Measured

MOST = 500
"""Rooms of one page."""
MOST_MEMBERS = 100_000
_AT_A_STRETCH = 200
"""Rooms that are read at a time."""


@dataclass(frozen=True, slots=True)
class Room:
    """A room with what its state says of it."""

    measured: Measured
    state: Mapping[StateKey, Event]

    def says(self, kind: str, key: str | None = None) -> str | None:
        """A text in the content of a state event without a key."""
        event = self.state.get((f"m.room.{kind}", ""))
        value = event.content.get(key or kind) if event is not None else None
        return value if isinstance(value, str) else None

    @property
    def creator(self) -> UserID | None:
        """Who made it."""
        create = self.state.get(("m.room.create", ""))
        return None if create is None else create.sender

    @property
    def federates(self) -> bool:
        """Whether people of other servers can come in."""
        return federates(self.state)


ORDERS: Mapping[str, Callable[[Room], Any]] = {
    "name": lambda room: (room.says("name", "name") or "\uffff").casefold(),
    "canonical_alias": lambda room: room.says("canonical_alias", "alias") or "\uffff",
    "joined_members": lambda room: -room.measured.joined,
    "joined_local_members": lambda room: -room.measured.joined_here,
    "version": lambda room: room.measured.version,
    "creator": lambda room: room.creator or "",
    "encryption": lambda room: room.says("encryption", "algorithm") or "",
    "federatable": lambda room: room.federates,
    "public": lambda room: room.measured.is_published,
    "join_rules": lambda room: room.says("join_rules", "join_rule") or "",
    "guest_access": lambda room: room.says("guest_access") or "",
    "history_visibility": lambda room: room.says("history_visibility") or "",
    "state_events": lambda room: -room.measured.state_events,
}
"""What rooms can be sorted by: by names as in a dictionary, by numbers with the largest first."""


class Search(NamedTuple):
    """Which rooms are looked for."""

    term: str | None = None
    """Text in the name or the local part of the alias, or the whole ID."""
    published: bool | None = None
    empty: bool | None = None
    order_by: str = "name"
    backwards: bool = False

    def finds(self, room: Room) -> bool:
        """Whether the room is one of those."""
        if self.published not in {None, room.measured.is_published}:
            return False
        if self.empty not in {None, room.measured.joined == 0}:
            return False
        if not self.term:
            return True
        term = self.term.casefold()
        alias = (room.says("canonical_alias", "alias") or "").partition(":")[0]
        names = (room.says("name", "name") or "", alias)
        return self.term == room.measured.room_id or any(term in n.casefold() for n in names)


class Details(NamedTuple):
    """What is told of one room beyond what the list tells."""

    room: Room
    devices: int
    """Of people of this server who are in it."""
    is_forgotten: bool


class Overview:
    """Reads rooms whoever is in them.

    Args:
        process: the one that this is part of.
        showing: says how state is shown.

    """

    def __init__(self, process: Process, showing: Showing) -> None:
        self._process = process
        self._showing = showing

    async def search(self, search: Search, start: int, limit: int) -> tuple[list[Room], int]:
        """Some of the rooms that are looked for, and how many there are in all."""
        found: list[Room] = []
        after = RoomNid(0)
        while True:
            async with self._process.database.reader() as conn:
                rows = await room_lists.measured(conn, self._process.server, after, _AT_A_STRETCH)
                found += [room for room in await self._described(conn, rows) if search.finds(room)]
            if len(rows) < _AT_A_STRETCH:
                break
            after = rows[-1].room
            await asyncio.sleep(0)
        found.sort(key=ORDERS[search.order_by], reverse=search.backwards)
        return found[start : start + min(limit, MOST)], len(found)

    async def details(self, room_id: RoomID) -> Details:
        """One room, or raise `NotFound`."""
        async with self._process.database.reader() as conn:
            measured = await self._find(conn, room_id)
            (room,) = await self._described(conn, [measured])
            presence = await room_lists.presence(conn, measured.room)
        return Details(room, presence.devices, presence.is_forgotten)

    async def members(self, room_id: RoomID) -> list[UserID]:
        """Who is joined, or raise `NotFound`."""
        async with self._process.database.reader() as conn:
            room = (await self._find(conn, room_id)).room
            return await memberships.users_with(conn, room, Membership.JOIN, MOST_MEMBERS)

    async def state(self, room_id: RoomID) -> list[JsonObject]:
        """The whole current state, or raise `NotFound`."""
        async with self._process.database.reader() as conn:
            room = (await self._find(conn, room_id)).room
            nids = await room_states.all_at(conn, room, room_states.NOW)
            return self._showing.show_state((await history.by_nid(conn, nids)).values())

    async def _find(self, conn: Connection, room_id: RoomID) -> Measured:
        nid = (await self._process.numbers.rooms.find(conn, [room_id])).get(room_id)
        found = (
            None if nid is None else await room_lists.measured_one(conn, self._process.server, nid)
        )
        if found is None:
            raise NotFound("there is no such room here")
        return found

    async def _described(self, conn: Connection, rows: list[Measured]) -> list[Room]:
        keys = await self._process.numbers.state_keys.find(conn, KEYS)
        states = await public_rooms.states(conn, [row.room for row in rows], list(keys.values()))
        return [Room(row, states[row.room]) for row in rows]
