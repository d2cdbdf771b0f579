"""What people made of their rooms: which are direct chats, and which have tags.

https://spec.matrix.org/v1.19/client-server-api/#direct-messaging
https://spec.matrix.org/v1.19/client-server-api/#room-tagging
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import orjson

from homeserver.storage import account_data
from homeserver.storage.account_data import Datum
from homeserver.storage.log import Entry, Kind
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.process import Process
from homeserver.sync.remembered import Remembered

DIRECT = "m.direct"
TAG = "m.tag"
_REMEMBERED = 20_000


class Personal(NamedTuple):
    """What one user made of their rooms."""

    directs: frozenset[str] = frozenset()
    """IDs of rooms that are direct chats."""
    tags: Mapping[RoomNid, frozenset[str]] = {}


class PersonalData:
    """Reads it; of users lately asked about from memory, which follows the log."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._known: Remembered[UserNid, Personal] = Remembered(_REMEMBERED, lambda _: 1)
        process.tail.feed(self._apply)

    async def of(self, user: UserNid) -> Personal:
        """What the user made of their rooms; the caller has caught up with the log."""

        async def read_anew() -> Personal:
            async with self._process.database.reader() as conn:
                return read(await account_data.read_types(conn, user, [DIRECT, TAG]))

        return await self._known.of(user, read_anew)

    def _apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.kind == Kind.ACCOUNT_DATA and entry.user is not None:
                self._known.drop(entry.user)


def read(data: Sequence[Datum]) -> Personal:
    """What is said in account data, which may hold anything."""
    directs: set[str] = set()
    tags: dict[RoomNid, frozenset[str]] = {}
    for datum in data:
        content = orjson.loads(datum.content or b"{}")
        if datum.type == DIRECT:
            lists = [rooms for rooms in content.values() if isinstance(rooms, list)]
            directs.update(room for rooms in lists for room in rooms if isinstance(room, str))
        elif isinstance(content.get("tags"), dict):
            tags[datum.room] = frozenset(content["tags"])
    return Personal(frozenset(directs), tags)
