"""Ending a room for the people of this server: all leave, and what there was of it is deleted.

Other servers that are in the room go on with it; they are told that everybody here left.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from federation.building import Draft
from federation.identifiers import RoomAlias, RoomID, UserID
from homeserver.errors import InvalidParam, MatrixError, NotFound
from homeserver.rooms.aliases import Aliases
from homeserver.rooms.blocking import Blocking
from homeserver.rooms.create import Preset
from homeserver.rooms.creation import Creation, RoomWish
from homeserver.rooms.intake import Intake
from homeserver.rooms.membership import Memberships
from homeserver.rooms.posting import post_all
from homeserver.rooms.purging import Purging
from homeserver.rooms.tasks import Report, Result
from homeserver.storage import accounts, aliases, memberships
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.process import Process

ROOM_NAME = "Content violation"
MESSAGE = "The administrators of this server have closed the room that you were in."
_NOTED_EVERY = 20
"""People who leave between two signs of life."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How a room is to end."""

    by: UserNid
    """The administrator."""
    new_room_user: UserID | None = None
    """Makes a room into which people are put; without, they are only put out of the old one."""
    room_name: str = ROOM_NAME
    message: str = MESSAGE
    """Is said in that room."""
    block: bool = False
    purge: bool = True
    force_purge: bool = False
    """Even if somebody could not be put out."""


@dataclass(slots=True)
class Outcome:
    """What came of it so far."""

    kicked: list[UserID] = field(default_factory=list)
    failed: list[UserID] = field(default_factory=list)
    aliases: Sequence[RoomAlias] = ()
    new_room: RoomID | None = None
    some_were_in: bool = False
    """Whether one of those who left had joined."""

    @property
    def result(self) -> Result:
        """As it is kept."""
        return {
            "kicked_users": self.kicked,
            "failed_to_kick_users": self.failed,
            "local_aliases": list(self.aliases),
            "new_room_id": self.new_room,
        }


class _Means(NamedTuple):
    process: Process
    intake: Intake
    creation: Creation
    memberships: Memberships
    aliases: Aliases
    blocking: Blocking
    purging: Purging


class ShuttingDown:
    """Ends rooms.

    Args:
        process: the one that this is part of.
        intake: where events go in.
        creation: makes the room into which people are put.
        members: changes memberships.
        room_aliases: of the rooms.
        blocking: keeps people out.
        purging: deletes.

    """

    def __init__(
        self,
        process: Process,
        intake: Intake,
        creation: Creation,
        members: Memberships,
        room_aliases: Aliases,
        blocking: Blocking,
        purging: Purging,
    ) -> None:
        self._means = _Means(process, intake, creation, members, room_aliases, blocking, purging)

    async def check(self, room_id: RoomID, wish: Wish) -> None:
        """See that it can be done.

        Raises:
            NotFound: there is no such room here, and it is not to be blocked either.
            InvalidParam: nobody here could make the new room.

        """
        if await self._room(room_id) is None and not wish.block:
            raise NotFound("there is no such room here")
        if wish.new_room_user is not None:
            async with self._means.process.database.reader() as conn:
                maker = await accounts.find(conn, wish.new_room_user)
            if maker is None or maker.deactivated:
                raise InvalidParam("new_room_user_id must have an account here")

    async def shut_down(self, room_id: RoomID, wish: Wish, report: Report) -> Result:
        """End a room.

        Raises:
            MatrixError: it was not purged, as somebody could not be put out.

        """
        outcome = Outcome()
        if wish.block:
            await self._means.blocking.set(room_id, wish.by, blocked=True)
        room = await self._room(room_id)
        if room is None:
            return outcome.result
        people = await self._people(room)
        if wish.new_room_user is not None:
            outcome.new_room = await self._new_room(wish, wish.new_room_user)
            await report(outcome.result)
        await self._move(room_id, people, outcome, report)
        await self._rename(room, room_id, outcome)
        await report(outcome.result)
        if wish.purge:
            await self._purge(room_id, wish, outcome, report)
        return outcome.result

    async def _new_room(self, wish: Wish, maker: UserID) -> RoomID:
        process = self._means.process
        user = await process.number_of(maker)
        room_id = await self._means.creation.create(
            RoomWish(
                user=user,
                creator=maker,
                can_encrypt=False,
                preset=Preset.PUBLIC,
                name=wish.room_name,
                levels={"users_default": -10},
            )
        )
        content = {"msgtype": "m.text", "body": wish.message}
        draft = Draft("m.room.message", maker, content, None, room_id)
        await post_all(self._means.intake, room_id, [draft])
        return room_id

    async def _move(
        self, room_id: RoomID, people: Sequence[UserID], outcome: Outcome, report: Report
    ) -> None:
        """Put everybody out, and those who were in it into the new room."""
        for number, person in enumerate(people):
            if number % _NOTED_EVERY == 0:
                await report(outcome.result)
            try:
                was = await self._means.memberships.standing(person, room_id)
                await self._means.memberships.leave(person, room_id, None, is_forced=True)
                outcome.some_were_in |= was == "join"
                if was == "join" and outcome.new_room is not None:
                    await self._means.memberships.join(person, outcome.new_room, [], {})
                outcome.kicked.append(person)
            except MatrixError:
                outcome.failed.append(person)

    async def _rename(self, room: RoomNid, room_id: RoomID, outcome: Outcome) -> None:
        """Let the aliases lead to the new room, or nowhere; the room is in no list any more."""
        outcome.aliases = await self._means.aliases.of_room(room_id)
        process = self._means.process
        async with process.database.reader() as conn:
            await aliases.unpublish(conn, room)
            if outcome.new_room is None:
                await aliases.remove_all(conn, room)
            else:
                numbers = await process.numbers.rooms.intern(conn, [outcome.new_room])
                await aliases.move(conn, room, numbers[outcome.new_room])

    async def _purge(self, room_id: RoomID, wish: Wish, outcome: Outcome, report: Report) -> None:
        room = await self._room(room_id)
        left = [] if room is None else await self._people(room)
        if left and not wish.force_purge:
            raise MatrixError("people of this server are in the room still: it was not purged")

        async def progress() -> None:
            await report(outcome.result)

        purging = self._means.purging
        await purging.purge_room(room_id, progress, just_left=outcome.some_were_in)

    async def _people(self, room: RoomNid) -> Sequence[UserID]:
        async with self._means.process.database.reader() as conn:
            return await memberships.local_people(conn, room)

    async def _room(self, room_id: RoomID) -> RoomNid | None:
        """The room's number, if anybody ever was in it here."""
        process = self._means.process
        async with process.database.reader() as conn:
            room = (await process.numbers.rooms.find(conn, [room_id])).get(room_id)
            is_known = room is not None and await memberships.has_any(conn, room)
        return room if is_known else None
