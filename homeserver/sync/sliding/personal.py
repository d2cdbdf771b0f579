"""What people made of their rooms: which are direct chats, and which have tags.

https://spec.matrix.org/v1.19/client-server-api/#direct-messaging
https://spec.matrix.org/v1.19/client-server-api/#room-tagging
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import orjson

from homeserver.storage import account_data
from homeserver.storage.account_data import Datum
from homeserver.storage.log import Entry, Kind
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.process import Process

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
        self._known: OrderedDict[UserNid, Personal] = OrderedDict()
        self._drops = 0
        """Counts what was dropped, so that nothing older is remembered after it."""
        process.tail.feed(self._apply)

    async def of(self, user: UserNid) -> Personal:
        """What the user made of their rooms; the caller has caught up with the log."""
        known = self._known.get(user)
        if known is not None:
            self._known.move_to_end(user)
            return known
        drops = self._drops
        async with self._process.database.reader() as conn:
            found = read(await account_data.read_types(conn, user, [DIRECT, TAG]))
        if drops == self._drops:
            self._known[user] = found
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return found

    def _apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.kind == Kind.ACCOUNT_DATA and entry.user is not None:
                self._drops += 1
                self._known.pop(entry.user, None)


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
