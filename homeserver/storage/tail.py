"""Following the log: its newest rows in memory, and caches that are brought up to date by them."""

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Sequence

from homeserver.storage.clock import Clock
from homeserver.storage.log import MOST_AT_ONCE, MOVES, Entry, Kind, read_log
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Database
from homeserver.storage.recent_events import RecentEvent, RecentEvents
from homeserver.storage.state_groups import EventNid

_REMEMBERED = 5000
"""Rows that a process keeps at least, once there are so many; twice as many at most."""
_MOST_RECALLED = 200
"""Rows that are looked through instead of asking the database."""
_EVENTS = frozenset({Kind.EVENT, Kind.STATE})


class RecentLog:
    """The newest rows in memory: read once for all of a process that follow the log.

    What the process itself writes need not be read at all, if nobody else wrote before it. Whoever
    asks may have a connection that is lent: so this has its own.

    Args:
        database: read when the clock has moved.
        clock: of this process.
        position: where to begin.

    """

    def __init__(self, database: Database, clock: Clock, position: int) -> None:
        self._database = database
        self._clock = clock
        self._rows: list[Entry] = []
        """All between the floor and what was reached."""
        self._floor = self._reached = position
        self._rooms: dict[RoomNid, int] = {}
        """Where among the rows something last happened in a room."""
        self._users: dict[UserNid, int] = {}
        """The same for what somebody is in any room."""
        self._reading = asyncio.Lock()
        self.recent = RecentEvents()
        """What this process wrote itself."""

    @property
    def reached(self) -> int:
        """The position up to which all is known."""
        return self._reached

    def note(self, written: Sequence[Entry]) -> None:
        """Rows with successive positions were committed by this process."""
        if written and written[0].pos == self._reached + 1:
            self._add(written, written[-1].pos)

    async def catch_up(self) -> None:
        """Know all that was committed before this call, as far as this host knows."""
        if self._clock.position > self._reached:
            async with self._reading:
                await self._read_on()

    async def after(self, position: int) -> list[Entry]:
        """The first rows beyond a position, in order, but `MOST_AT_ONCE` at the most.

        Of all that were committed before this call, as far as this host knows.
        """
        await self.catch_up()
        if position < self._floor:
            async with self._database.aside() as conn:
                return await read_log(conn, position)
        first = bisect_right(self._rows, position, key=_position_of)
        return self._rows[first : first + MOST_AT_ONCE]

    def is_quiet(self, room: RoomNid, user: UserNid, after: int) -> bool:
        """Whether nothing has happened in a room, nor to what somebody is anywhere."""
        return self.is_still(room, after) and self._users.get(user, 0) <= after

    def is_still(self, room: RoomNid, after: int) -> bool:
        """Whether nothing has happened in a room."""
        return self._floor <= after and self._rooms.get(room, 0) <= after

    def moved(self, user: UserNid, after: int) -> bool:
        """Whether somebody may have come or gone anywhere, or forgotten a room."""
        return after < self._floor or self._users.get(user, 0) > after

    def events(self, room: RoomNid, after: int, up_to: int) -> list[RecentEvent] | None:
        """What came into a room in a span, without a query.

        `None` if not all that happened there was written by this process a moment ago.
        """
        if not self._floor <= after <= up_to <= self._reached:
            return None
        first = bisect_right(self._rows, after, key=_position_of)
        last = bisect_right(self._rows, up_to, key=_position_of)
        if last - first > _MOST_RECALLED:
            return None
        found = []
        for row in self._rows[first:last]:
            if row.room == room and row.kind in _EVENTS:
                one = self.recent.get(EventNid(row.item or 0)) if row.kind == Kind.EVENT else None
                if one is None:
                    return None
                found.append(one)
        return found

    async def _read_on(self) -> None:
        while (target := self._clock.position) > self._reached:
            async with self._database.aside() as conn:
                rows = await read_log(conn, self._reached)
            # What this process wrote may have been noted meanwhile.
            new = [row for row in rows if row.pos > self._reached]
            is_all = len(rows) < MOST_AT_ONCE
            self._forget(new)
            self._add(new, max([target if is_all else 0, *(row.pos for row in rows[-1:])]))

    def _forget(self, rows: Sequence[Entry]) -> None:
        """Of rooms in which something happened that others wrote, nothing is recalled any more."""
        for row in rows:
            if row.room is not None and row.kind in _EVENTS:
                is_own = row.kind == Kind.EVENT and self.recent.get(EventNid(row.item or 0))
                if not is_own:
                    self.recent.forget(row.room)

    def _add(self, rows: Sequence[Entry], reached: int) -> None:
        self._rows += rows
        self._reached = max(self._reached, reached)
        self._note_last(rows)
        if len(self._rows) > 2 * _REMEMBERED:
            del self._rows[:-_REMEMBERED]
            self._floor = self._rows[0].pos - 1
            self._rooms.clear()
            self._users.clear()
            self._note_last(self._rows)

    def _note_last(self, rows: Sequence[Entry]) -> None:
        for row in rows:
            if row.room is not None and row.kind in _EVENTS:
                self._rooms[row.room] = row.pos
            if row.user is not None and row.kind in MOVES:
                self._users[row.user] = row.pos


def _position_of(entry: Entry) -> int:
    return entry.pos


Apply = Callable[[Sequence[Entry]], None]
"""Takes rows in order, each once."""


class Tail:
    """Brings the caches of this process up to date before they answer; not about events.

    Args:
        database: read when the clock has moved.
        clock: of this process.
        position: where to begin; nothing may be cached from before.

    """

    def __init__(self, database: Database, clock: Clock, position: int) -> None:
        self._clock = clock
        self.log = RecentLog(database, clock, position)
        """For others that follow it."""
        self._appliers: list[Apply] = []
        self._reading = asyncio.Lock()
        self.position = position
        """Everything up to here was applied."""

    def feed(self, apply: Apply) -> None:
        """Call `apply` with whatever is read from now on."""
        self._appliers.append(apply)

    async def catch_up(self) -> None:
        """See all that was committed before this call, as far as this host knows.

        No query where nothing was; one for however many wait.
        """
        target = self._clock.position
        if target <= self.position:
            return
        async with self._reading:
            if target > self.position:
                await self._read_to(self._clock.position)

    async def _read_to(self, target: int) -> None:
        full = True
        while full:
            rows = await self.log.after(self.position)
            entries = [row for row in rows if row.kind != Kind.EVENT]
            for apply in self._appliers if entries else ():
                apply(entries)
            full = len(rows) == MOST_AT_ONCE
            self.position = rows[-1].pos if full else max([target, *(e.pos for e in rows[-1:])])
