"""Reports of rooms, events and users, for the administrators of this server.

https://spec.matrix.org/v1.19/client-server-api/#reporting-content
"""

from typing import TypeVar

from federation.identifiers import EventID, RoomID, UserID
from homeserver.errors import Forbidden, LimitExceeded, NotFound, TooLarge
from homeserver.rooms.access import Access
from homeserver.rooms.history import Pages
from homeserver.rooms.standings import Reader
from homeserver.storage import reports
from homeserver.storage.numbers import Names
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process
from homeserver.storage.reports import Report

LONGEST = 2000
"""Characters of a reason."""
MOST = 100
"""Reports of one user in an hour."""
_HOUR = 3_600_000
_Name = TypeVar("_Name", bound=str)
_Nid = TypeVar("_Nid", bound=int)


class Reporting:
    """Takes reports.

    Whether a room or a user is known here is not told: "homeservers that wish to conceal this
    information MAY return 200 responses regardless".

    Args:
        process: the one that this is part of.
        access: says who is in a room.
        pages: finds the event that is reported.

    """

    def __init__(self, process: Process, access: Access, pages: Pages) -> None:
        self._process = process
        self._access = access
        self._pages = pages

    async def report_room(self, reader: Reader, room_id: RoomID, reason: str) -> None:
        """Report a room, which the reader need not be in.

        Raises:
            TooLarge: the reason is too long.
            LimitExceeded: the reader has reported too much.

        """
        reason = _checked(reason)
        async with self._process.database.reader() as conn:
            room = await self._number_of(conn, self._process.numbers.rooms, room_id)
            if room is not None:
                now = self._process.now()
                await self._add(conn, Report(reader.user, reason, now, room=room))

    async def report_event(
        self, reader: Reader, room_id: RoomID, event_id: EventID, reason: str
    ) -> None:
        """Report an event of a room that the reader is in; errors as `report_room`.

        Raises:
            NotFound: there is no such event, or the reader may not see it or is not in the room.

        """
        reason = _checked(reason)
        async with self._process.database.reader() as conn:
            try:
                reach = await self._access.reach(conn, reader, room_id)
            except Forbidden as error:
                raise NotFound("there is no such event here") from error
            if not reach.standing.is_joined:
                raise NotFound("there is no such event here")
            event = await self._pages.get(conn, reader, reach, event_id)
            sender = event.event.sender
            senders = await self._process.numbers.users.find(conn, [sender])
            report = Report(
                reader.user,
                reason,
                self._process.now(),
                room=reach.room,
                event=event.nid,
                sender=senders.get(sender),
            )
            await self._add(conn, report)

    async def report_user(self, reader: Reader, user_id: UserID, reason: str) -> None:
        """Report a user of any server; errors as `report_room`."""
        reason = _checked(reason)
        async with self._process.database.reader() as conn:
            user = await self._number_of(conn, self._process.numbers.users, user_id)
            if user is not None:
                now = self._process.now()
                await self._add(conn, Report(reader.user, reason, now, reported=user))

    async def _number_of(
        self, conn: Connection, numbers: Names[_Name, _Nid], name: _Name
    ) -> _Nid | None:
        """That of what is reported; `None`: it would be ours, and there is none.

        What nobody here has to do with can be seen all the same: in others' lists of rooms, say.
        """
        is_ours = name.endswith(f":{self._process.server}")
        find = numbers.find if is_ours else numbers.intern
        return (await find(conn, [name])).get(name)

    async def _add(self, conn: Connection, report: Report) -> None:
        if not await reports.add(conn, report, MOST, report.ts - _HOUR):
            raise LimitExceeded(_HOUR)


def _checked(reason: str) -> str:
    if len(reason) > LONGEST:
        raise TooLarge(f"a reason has at most {LONGEST} characters")
    # The one character that the database cannot hold.
    return reason.replace("\0", "")
