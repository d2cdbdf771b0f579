"""Fully read markers: account data of rooms that only the server writes.

https://spec.matrix.org/v1.19/client-server-api/#fully-read-markers
"""

import orjson

from federation.errors import IdentifierError
from federation.identifiers import EventID, RoomID, parse_event_id
from homeserver.errors import NotFound
from homeserver.rooms.access import Access
from homeserver.rooms.standings import Reader
from homeserver.storage import account_data, history
from homeserver.storage.history import Placed
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process

FULLY_READ = "m.fully_read"


class ReadMarkers:
    """The fully read markers of all users.

    Args:
        process: the one that this is part of.
        access: says who is in a room.

    """

    def __init__(self, process: Process, access: Access) -> None:
        self._process = process
        self._access = access

    async def move(self, reader: Reader, room_id: RoomID, event_id: EventID) -> None:
        """Move the marker to an event, unless it is further already.

        Raises:
            Forbidden: the reader is not in the room.
            NotFound: "The event MUST belong to the room."

        """
        async with self._process.database.reader() as conn:
            standing = await self._access.joined(conn, reader, room_id)
            event = await history.by_id(conn, standing.room, event_id)
            if event is None:
                raise NotFound("there is no such event in this room")
            old = await self._find(conn, reader, standing.room)
            if old is None or (old.order or 0) < (event.order or 0):
                content = orjson.dumps({"event_id": event_id})
                self._process.committed(
                    await account_data.put(conn, reader.user, standing.room, FULLY_READ, content)
                )

    async def _find(self, conn: Connection, reader: Reader, room: RoomNid) -> Placed | None:
        """Where the marker is now; `None`: nowhere, or at an event that is gone."""
        raw = await account_data.find(conn, reader.user, room, FULLY_READ)
        if raw is None:
            return None
        try:
            event_id = parse_event_id(str(orjson.loads(raw).get("event_id")))
        except IdentifierError:
            return None
        return await history.by_id(conn, room, event_id)
