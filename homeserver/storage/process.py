"""What every duty of a process works with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from federation.identifiers import ServerName, UserID
from homeserver.storage.clock import Clock
from homeserver.storage.log import Entry
from homeserver.storage.numbers import Numbers, UserNid
from homeserver.storage.pool import Database
from homeserver.storage.tail import Tail

DAY = 86_400_000
"""Milliseconds."""


@dataclass(frozen=True, slots=True)
class Process:
    """One of the equal processes of a server."""

    server: ServerName
    database: Database
    numbers: Numbers
    clock: Clock
    tail: Tail
    now: Callable[[], int]
    """Milliseconds since the epoch."""

    @property
    def today(self) -> int:
        """Days since the epoch."""
        return self.now() // DAY

    def committed(self, position: int | None) -> bool:
        """Tell everybody on this host of a position that a write answered; false without one."""
        if position is None:
            return False
        self.clock.advance(position)
        return True

    def wrote(self, entries: Sequence[Entry]) -> None:
        """Tell everybody on this host of rows of the log that this process has committed.

        They have successive positions.
        """
        self.tail.log.note(entries)
        self.clock.advance(entries[-1].pos)

    async def number_of(self, user_id: UserID) -> UserNid:
        """The user's number, given now if need be."""
        async with self.database.reader() as conn:
            return (await self.numbers.users.intern(conn, [user_id]))[user_id]
