"""Which other servers have somebody in which rooms: whom to tell of what happens there."""

import time
from collections.abc import Collection, Iterable

from federation.identifiers import ServerName, domain_of, is_user_id
from homeserver.storage import destinations
from homeserver.storage.log import Entry, Kind
from homeserver.storage.numbers import RoomNid, ServerNid
from homeserver.storage.pool import Connection
from homeserver.storage.recent_events import RecentEvents
from homeserver.storage.state_groups import EventNid

_MOST = 500_000
"""Servers of rooms that are remembered."""
_GOOD_FOR = 60.0
"""Seconds after which it is read anew, whatever was heard."""


class Company:
    """Remembers it; shown every row of the log, in order, it knows when that may have changed.

    Args:
        server: this one.
        recent: what this process wrote itself.

    """

    def __init__(self, server: ServerName, recent: RecentEvents) -> None:
        self._server = server
        self._recent = recent
        self._servers: dict[RoomNid, frozenset[ServerNid]] = {}
        self._size = 0
        self._until = 0.0

    def strange(self, rows: Iterable[Entry]) -> set[RoomNid]:
        """The rooms in which something happened, and of which nothing is known."""
        named = {row.room for row in rows if row.kind == Kind.EVENT and row.room is not None}
        return {room for room in named if room not in self._servers}

    def may_concern(self, rows: Iterable[Entry]) -> bool:
        """Whether others may have to know of any of the rows."""
        found = False
        for row in rows:
            if row.kind == Kind.OUTGOING:
                found = True
            elif row.kind == Kind.STATE or (row.kind == Kind.EVENT and row.user is not None):
                if not self._is_of_ours(row):
                    self._forget(row.room)
                # Whose membership it is, their server may be told.
                found = found or row.kind == Kind.EVENT
            elif row.kind == Kind.EVENT:
                servers = self._servers.get(row.room) if row.room is not None else None
                found = found or servers is None or bool(servers)
        return found

    async def servers_of(
        self, conn: Connection, rooms: Collection[RoomNid], me: ServerNid
    ) -> dict[RoomNid, frozenset[ServerNid]]:
        """The other servers of which somebody is in the rooms."""
        if self._size > _MOST or time.monotonic() > self._until:
            self._servers.clear()
            self._size, self._until = 0, time.monotonic() + _GOOD_FOR
        missing = [room for room in rooms if room not in self._servers]
        read = await destinations.servers_of(conn, missing) if missing else {}
        for room, servers in read.items():
            self._servers[room] = frozenset(servers - {me})
            self._size += 1 + len(servers)
        return {room: self._servers[room] for room in rooms}

    def _is_of_ours(self, row: Entry) -> bool:
        """Whether it is known to be the membership of somebody of this server, and nothing more."""
        one = self._recent.get(EventNid(row.item or 0)) if row.kind == Kind.EVENT else None
        if one is None or len(one.changes) > 1:
            return False
        user = one.placed.event.state_key or ""
        return is_user_id(user) and domain_of(user) == self._server

    def _forget(self, room: RoomNid | None) -> None:
        if room is not None:
            self._servers.pop(room, None)
