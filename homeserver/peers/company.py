"""In which rooms nobody of another server is: of what happens there nobody has to be told."""

from collections.abc import Iterable

from homeserver.storage import destinations
from homeserver.storage.log import Entry, Kind
from homeserver.storage.numbers import RoomNid, ServerNid
from homeserver.storage.pool import Connection

_REMEMBERED = 200_000
"""Rooms."""


class Company:
    """Remembers it; shown every row of the log, in order, it knows when that may have changed."""

    def __init__(self) -> None:
        self._alone: set[RoomNid] = set()
        self._asked: set[RoomNid] = set()
        """In which something happened, and of which it is not known."""

    @property
    def is_unsure(self) -> bool:
        """Whether it is not known of some rooms that were shown last."""
        return bool(self._asked)

    def may_concern(self, rows: Iterable[Entry]) -> bool:
        """Whether others may have to know of any of the rows, whatever `ask` finds."""
        found = False
        self._asked.clear()
        for row in rows:
            if row.kind == Kind.OUTGOING:
                found = True
            elif row.kind == Kind.STATE or (row.kind == Kind.EVENT and row.user is not None):
                self._alone.discard(row.room)  # type: ignore[arg-type]
                # Whose membership it is, their server may be told.
                found = found or row.kind == Kind.EVENT
            elif row.kind == Kind.EVENT and row.room is not None and row.room not in self._alone:
                self._asked.add(row.room)
        return found

    async def ask(self, conn: Connection, me: ServerNid) -> bool:
        """Look for company where it is not known; whether there is any."""
        alone = await destinations.alone(conn, self._asked, me)
        if len(self._alone) > _REMEMBERED:
            self._alone.clear()
        self._alone |= alone
        return alone != self._asked
