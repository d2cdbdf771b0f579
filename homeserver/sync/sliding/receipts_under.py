"""Receipts of the events that are told of rooms, read once while nobody reads on there."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from federation.canonical_json import JsonObject
from homeserver.rooms.receipts import Receipts
from homeserver.storage.history import Placed
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.process import Process
from homeserver.storage.state_groups import EventNid
from homeserver.sync.activity import Activity

_MOST = 100_000
"""Receipts that are kept, at some 200 bytes each, and rooms without any."""


class _Known(NamedTuple):
    """What was read of a room for somebody."""

    events: tuple[EventNid, ...]
    up_to: int
    content: JsonObject | None
    size: int


class ReceiptsUnder:
    """Reads them."""

    def __init__(self, process: Process, activity: Activity, receipts: Receipts) -> None:
        self._process = process
        self._activity = activity
        self._receipts = receipts
        self._kept: OrderedDict[tuple[UserNid, RoomNid], _Known] = OrderedDict()
        self._used = 0

    async def read(
        self, user: UserNid, timelines: Mapping[RoomNid, Sequence[Placed]], up_to: int
    ) -> dict[RoomNid, JsonObject]:
        """The content of an `m.receipt` for each room where there are any: at most one query."""
        named = {room: tuple(e.nid for e in events) for room, events in timelines.items()}
        known = {room: self._recall(user, room, nids) for room, nids in named.items()}
        missing = {room: timelines[room] for room, one in known.items() if one is None}
        found = {room: one.content for room, one in known.items() if one and one.content}
        if missing:
            async with self._process.database.reader() as conn:
                read = await self._receipts.under(conn, user, missing, up_to)
            for room in missing:
                self._keep(user, room, named[room], read.get(room), up_to)
            found |= read
        return found

    def _recall(self, user: UserNid, room: RoomNid, events: tuple[EventNid, ...]) -> _Known | None:
        known = self._kept.get((user, room))
        if known is None or known.events != events:
            return None
        return None if self._activity.with_receipts([room], known.up_to) else known

    def _keep(
        self,
        user: UserNid,
        room: RoomNid,
        events: tuple[EventNid, ...],
        content: JsonObject | None,
        up_to: int,
    ) -> None:
        before = self._kept.pop((user, room), None)
        self._used -= before.size if before else 0
        size = 1 + sum(len(users) for by in (content or {}).values() for users in by.values())
        self._kept[user, room] = _Known(events, up_to, content, size)
        self._used += size
        while self._used > _MOST:
            self._used -= self._kept.popitem(last=False)[1].size
