"""Whose devices a client has to look at again.

https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

import orjson

from federation.identifiers import UserID
from homeserver.storage import device_lists, device_updates
from homeserver.storage.device_lists import Moved, Shared
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.process import Process


class Changes(NamedTuple):
    """What changed between two positions."""

    changed: tuple[UserID, ...]
    left: tuple[UserID, ...]
    """With whom no room is shared any more."""


class Turns(NamedTuple):
    """Who came together with somebody, and who parted, perhaps not from all rooms."""

    entered: set[RoomNid]
    """Rooms that they came into: everybody there is new to them."""
    left: set[RoomNid]
    """Rooms that they left."""
    came: set[UserID]
    """Into rooms that they were in."""
    parted: set[UserID]
    """From rooms that they are, or were, in."""


class DeviceLists:
    """Knows what changed."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def changed_since(self, user: UserNid, after: int, up_to: int) -> Changes:
        """What changed for a user between two positions."""
        async with self._process.database.reader() as conn:
            changed = set(await device_lists.touched(conn, user, after, up_to))
            rooms = await device_lists.shared_rooms(conn, user, after)
            moved = await device_lists.moved(conn, [room.room for room in rooms], after)
            turns = turns_of(user, rooms, moved, after)
            changed |= turns.came
            if turns.entered:
                changed |= set(await device_lists.people_in(conn, turns.entered, user))
            parted = set(turns.parted)
            if turns.left:
                parted |= set(await device_lists.people_in(conn, turns.left, user))
            left = await device_lists.strangers_to(conn, user, parted) if parted else []
        return Changes(tuple(sorted(changed)), tuple(sorted(left)))

    async def stream_id(self, user_id: UserID) -> int:
        """Of the last update that other servers were told of somebody here; 0: there is none."""
        async with self._process.database.reader() as conn:
            users = await self._process.numbers.users.find(conn, [user_id])
            told = await device_updates.told(conn, users.values())
        return max((one.stream_id for one in told.values()), default=0)


def turns_of(user: UserNid, rooms: Collection[Shared], moved: Iterable[Moved], after: int) -> Turns:
    """What somebody's and others' moves since a position amount to.

    Who left and is back has come: what they did meanwhile nobody may have been told.
    """
    is_in = {room.room: room.is_in for room in rooms}
    turns = Turns(set(), set(), set(), set())
    noted = set()
    for move in moved:
        before, now = is_joined(move.before), is_joined(move.after)
        if move.user == user:
            noted.add(move.room)
            if now and not before and move.is_in:
                turns.entered.add(move.room)
            elif before and not now and not move.is_in:
                turns.left.add(move.room)
        elif now and not before and move.is_in and is_in[move.room]:
            turns.came.add(move.user_id)
        elif before and not now and not move.is_in:
            turns.parted.add(move.user_id)
    # Of a room that came as a whole, there are no moves.
    turns.entered.update(r.room for r in rooms if r.is_in and r.pos > after and r.room not in noted)
    return turns


def is_joined(event: bytes | None) -> bool:
    """Whether a membership, if there is one, is that of somebody in the room."""
    return event is not None and orjson.loads(event)["content"].get("membership") == "join"
