"""How far people have read, and telling others.

https://spec.matrix.org/v1.19/client-server-api/#receipts
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import orjson

from federation.canonical_json import JsonObject
from federation.identifiers import EventID, RoomID, ServerName
from homeserver.errors import InvalidParam, NotFound
from homeserver.rooms.access import Access
from homeserver.rooms.receipt_edus import Told, content_of, parse
from homeserver.rooms.standings import Reader
from homeserver.rooms.threads import is_in_thread
from homeserver.storage import history, receipts
from homeserver.storage.history import Placed
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.outgoing import Edu, queue_edu
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process
from homeserver.storage.receipts import UNTHREADED, Receipt, ReceiptType, Shown

TYPES = {"m.read": ReceiptType.READ, "m.read.private": ReceiptType.READ_PRIVATE}
_MOST_AT_ONCE = 2000
"""Receipts of another server that are taken from one transaction."""
NAMES = {number: name for name, number in TYPES.items()}


class Marker(NamedTuple):
    """What somebody says that they have read."""

    type: ReceiptType
    event_id: EventID
    thread: str = UNTHREADED


class Receipts:
    """The receipts of all rooms.

    Args:
        process: the one that this is part of.
        access: says who is in a room.

    """

    def __init__(self, process: Process, access: Access) -> None:
        self._process = process
        self._access = access

    async def mark(self, reader: Reader, room_id: RoomID, marker: Marker) -> None:
        """Note how far somebody of this server has read, if that is further than before.

        Raises:
            Forbidden: they are not in the room.
            NotFound: there is no such event in it.
            InvalidParam: the event is not in this thread.

        """
        async with self._process.database.reader() as conn:
            standing = await self._access.joined(conn, reader, room_id)
            event = await history.by_id(conn, standing.room, marker.event_id)
            if event is None:
                raise NotFound("there is no such event in this room")
            await self._check_thread(conn, event, marker.thread)
            now = self._process.now()
            receipt = Receipt(
                standing.room, reader.user, marker.type, marker.thread, event.nid, now
            )
            moved = await receipts.move(conn, [receipt])
            for position in moved.values():
                self._process.committed(position)
            # "m.read.private MUST NOT appear in this federated m.receipt EDU."
            if moved and marker.type is ReceiptType.READ:
                told = Told(room_id, reader.user_id, marker.event_id, marker.thread, now)
                await self._tell(conn, standing.room, told)

    async def _check_thread(self, conn: Connection, event: Placed, thread: str) -> None:
        if thread != UNTHREADED and not await is_in_thread(conn, event, thread):
            raise InvalidParam("the event is not in this thread")

    async def _tell(self, conn: Connection, room: RoomNid, told: Told) -> None:
        found = await receipts.servers_in(conn, [room], self._process.server)
        servers = list(found.get(room, {}).values())
        if servers:
            content = orjson.dumps(content_of(told))
            key = f"m.receipt {room} {told.user_id} {told.thread}"
            self._process.committed(await queue_edu(conn, servers, Edu("m.receipt", content, key)))

    async def receive(self, origin: ServerName, *contents: JsonObject) -> None:
        """Take what another server tells in `m.receipt`; what is wrong in it is passed over.

        Args:
            origin: the server, which speaks for its own users only.
            contents: of EDUs in their order, without the rooms that are closed to the server.

        """
        every = [one for content in contents for one in parse(content, origin)][:_MOST_AT_ONCE]
        told = list({(t.room_id, t.user_id, t.thread): t for t in every}.values())
        if not told:
            return
        async with self._process.database.reader() as conn:
            found = await self._of_members(conn, told)
            if found:
                moved = await receipts.move(conn, found)
                for position in moved.values():
                    self._process.committed(position)

    async def _of_members(self, conn: Connection, told: Sequence[Told]) -> list[Receipt]:
        """Those receipts whose users are in their rooms."""
        numbers = self._process.numbers
        rooms = await numbers.rooms.find(conn, {t.room_id for t in told})
        users = await numbers.users.find(conn, {t.user_id for t in told})
        known = [t for t in told if t.room_id in rooms and t.user_id in users]
        pairs = {(rooms[t.room_id], users[t.user_id]) for t in known}
        joined = await receipts.are_joined(conn, pairs) if pairs else set()
        good = [t for t in known if (rooms[t.room_id], users[t.user_id]) in joined]
        events = await numbers.events.intern(conn, {t.event_id for t in good}) if good else {}
        return [
            Receipt(
                rooms[t.room_id],
                users[t.user_id],
                ReceiptType.READ,
                t.thread,
                events[t.event_id],
                t.ts,
            )
            for t in good
        ]

    async def since(
        self, conn: Connection, reader: UserNid, spans: Mapping[RoomNid, int], up_to: int
    ) -> dict[RoomNid, JsonObject]:
        """The content of an `m.receipt` for each room where receipts changed: one query.

        Args:
            conn: to read with.
            reader: who is told; only they get their own private receipts.
            spans: for each room the position after which they changed.
            up_to: the position up to which they did.

        """
        found: dict[RoomNid, list[Shown]] = {}
        for shown in await receipts.read(conn, spans, up_to, reader):
            found.setdefault(shown.room, []).append(shown)
        return {room: receipt_content(rows) for room, rows in found.items()}

    async def under(
        self,
        conn: Connection,
        reader: UserNid,
        timelines: Mapping[RoomNid, Iterable[Placed]],
        up_to: int,
    ) -> dict[RoomNid, JsonObject]:
        """As `since`, but those of the events of timelines, and the reader's own ones."""
        events = {room: list(timeline) for room, timeline in timelines.items()}
        # Whoever has read an event did so after it was there.
        spans = {room: min((e.pos or 0 for e in es), default=0) for room, es in events.items()}
        nids = [event.nid for timeline in events.values() for event in timeline]
        found: dict[RoomNid, list[Shown]] = {}
        for shown in await receipts.read_under(conn, spans, nids, up_to, reader):
            found.setdefault(shown.room, []).append(shown)
        return {room: receipt_content(rows) for room, rows in found.items()}


def receipt_content(rows: Iterable[Shown]) -> JsonObject:
    """The content of one `m.receipt` for clients.

    https://spec.matrix.org/v1.19/client-server-api/#mreceipt
    """
    content: JsonObject = {}
    # A user has one place under each event: a receipt for all threads says the most.
    for row in sorted(rows, key=lambda row: row.thread == UNTHREADED):
        users = content.setdefault(row.event_id, {}).setdefault(NAMES[row.type], {})
        users[row.user_id] = {"ts": row.ts}
        if row.thread != UNTHREADED:
            users[row.user_id]["thread_id"] = row.thread
    return content
