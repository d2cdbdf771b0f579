"""`/events`: what happens, one thing after the other, in all rooms of somebody or in one.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3events
https://spec.matrix.org/v1.19/client-server-api/#peeking_get_matrixclientv3events
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from federation.canonical_json import JsonObject
from federation.identifiers import RoomID
from homeserver.rooms.access import Access
from homeserver.rooms.standings import Reader
from homeserver.storage import history
from homeserver.storage.batch import Membership
from homeserver.storage.memberships import RoomOf
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.stream_tokens import StreamToken
from homeserver.sync.account import room_data
from homeserver.sync.invitations import asking_events
from homeserver.sync.syncing import LONGEST_WAIT, Parts
from homeserver.sync.wishes import Wish

MOST = 100
"""Events of rooms in one answer; the next one goes on from there."""
_ASKED = frozenset({Membership.INVITE, Membership.KNOCK})
_LEFT = frozenset({Membership.LEAVE, Membership.BAN})


class Chunk(NamedTuple):
    """An answer."""

    start: StreamToken
    end: StreamToken
    events: list[JsonObject]


@dataclass(frozen=True, slots=True)
class _Scope:
    """Which rooms are looked at, at one moment."""

    spans: Mapping[RoomNid, tuple[int, int]]
    """Where there may be events: the positions between which they are."""
    joined: Mapping[RoomNid, RoomOf]
    """Those of which one is told too who types and reads."""
    asked: Sequence[RoomOf]
    """Invitations and knocks."""
    waited: Collection[RoomNid]
    is_whole: bool
    """Whether it is all that one has to do with, and not one room."""


class EventStream:
    """Answers `/events`.

    Args:
        parts: what `/sync` works with.
        access: says who may look into a room.

    """

    def __init__(self, parts: Parts, access: Access) -> None:
        self._parts = parts
        self._access = access

    async def read(
        self, wish: Wish, room_id: RoomID | None, seconds: float, stopping: asyncio.Event
    ) -> Chunk:
        """What happened since the token; if nothing did, what happens first, or time is over.

        Args:
            wish: who asks, since when; without a token, since now.
            room_id: the room that is looked into; `None`: all that one has to do with.
            seconds: how long to wait.
            stopping: ends the waiting.

        Raises:
            Forbidden: the reader may not look into the room.

        """
        parts, loop = self._parts, asyncio.get_running_loop()
        ends = loop.time() + min(seconds, LONGEST_WAIT)
        now = parts.process.clock.position
        start = wish.since or StreamToken(parts.epoch, now, 0, parts.stamp())
        at = start
        while True:
            await parts.activity.catch_up(at.pos)
            await parts.process.tail.catch_up()
            up_to, stamp = max(parts.activity.position, at.pos), parts.stamp()
            reader = await self._reader(wish)
            scope = await self._scope(reader, room_id, at, up_to)
            end, events = await self._news(Wish(wish.who, at), reader, scope, up_to, stamp)
            left = ends - loop.time()
            if events or left <= 0 or stopping.is_set():
                return Chunk(start, end, events)
            at = end
            if end.pos >= up_to:
                await parts.activity.wait(reader.user, scope.waited, up_to, left)

    async def _reader(self, wish: Wish) -> Reader:
        return await self._parts.ignoring.reader(wish.who)

    async def _scope(
        self, reader: Reader, room_id: RoomID | None, at: StreamToken, up_to: int
    ) -> _Scope:
        """What is looked at; it may be otherwise after each waiting."""
        rooms = await self._parts.user_rooms.of(reader.user)
        if room_id is not None:
            return await self._one(reader, room_id, rooms, at, up_to)
        moved = [r for r in rooms if at.pos < r.pos <= up_to and not r.is_forgotten]
        joined = {r.room: r for r in rooms if r.membership is Membership.JOIN}
        active = self._parts.activity.changed(joined, at.pos)
        spans = dict.fromkeys(active, (at.pos, up_to))
        spans |= {r.room: (at.pos, r.pos) for r in moved if r.membership in _LEFT}
        asked = [room for room in moved if room.membership in _ASKED]
        return _Scope(spans, joined, asked, joined.keys(), is_whole=True)

    async def _one(
        self,
        reader: Reader,
        room_id: RoomID,
        rooms: Iterable[RoomOf],
        at: StreamToken,
        up_to: int,
    ) -> _Scope:
        async with self._parts.process.database.reader() as conn:
            reach = await self._access.reach(conn, reader, room_id)
        room = reach.room
        until = up_to if reach.departed is None else min(reach.departed, up_to)
        is_active = bool(self._parts.activity.changed([room], at.pos))
        spans = {room: (at.pos, until)} if is_active and until > at.pos else {}
        joined = {r.room: r for r in rooms if r.room == room and reach.standing.is_joined}
        waited = [room] if reach.departed is None else []
        return _Scope(spans, joined, (), waited, is_whole=False)

    async def _news(
        self, wish: Wish, reader: Reader, scope: _Scope, up_to: int, stamp: int
    ) -> tuple[StreamToken, list[JsonObject]]:
        """What is new since the wish's token, and up to where that is."""
        parts, before = self._parts, wish.since.ephemeral if wish.since else 0
        async with parts.process.database.reader() as conn:
            placed = await history.live(conn, scope.spans, MOST) if scope.spans else []
            last = placed[-1].pos if len(placed) == MOST else None
            reached = up_to if last is None else last
            seen = await parts.means.visibility.visible(conn, reader, placed)
            events = await parts.means.showing.show_bundled(conn, reader, seen)
            events += await self._asked(conn, reader, scope, reached)
            events += await self._receipts(conn, wish, scope, reached)
        events += await self._account_data(wish, scope, reached)
        # What is not in the log is told when all that is in it was told.
        if last is None:
            events += self._typing(scope, before)
            events += await self._presence(wish, scope, before)
        seen_up_to = max(stamp, before) if last is None else before
        return StreamToken(parts.epoch, reached, 0, seen_up_to), events

    async def _asked(
        self, conn: Connection, reader: Reader, scope: _Scope, up_to: int
    ) -> list[JsonObject]:
        process = self._parts.process
        rooms = [room for room in scope.asked if room.pos <= up_to]
        found = await asking_events(conn, process.numbers, reader, rooms, process.now())
        return list(found.values())

    async def _receipts(
        self, conn: Connection, wish: Wish, scope: _Scope, up_to: int
    ) -> list[JsonObject]:
        parts = self._parts
        read = parts.activity.with_receipts(scope.joined, wish.after)
        if not read:
            return []
        spans = dict.fromkeys(read, wish.after)
        found = await parts.means.receipts.since(conn, wish.who.user, spans, up_to)
        return [_of(scope.joined[room], "m.receipt", content) for room, content in found.items()]

    def _typing(self, scope: _Scope, before: int) -> list[JsonObject]:
        found = self._parts.means.typing.since(scope.joined, before)
        return [
            _of(scope.joined[room], "m.typing", {"user_ids": list(users)})
            for room, users in found.items()
        ]

    async def _account_data(self, wish: Wish, scope: _Scope, up_to: int) -> list[JsonObject]:
        account, joined = self._parts.account, scope.joined
        events: list[JsonObject] = []
        changed = await account.data(wish, up_to)
        if scope.is_whole:
            found = await account.read(wish, changed, up_to)
            events += found.get("account_data", {}).get("events", [])
        for room, data in room_data(changed, wish).items():
            if room in joined:
                events += [{**event, "room_id": joined[room].room_id} for event in data]
        return events

    async def _presence(self, wish: Wish, scope: _Scope, before: int) -> list[JsonObject]:
        if not scope.is_whole or not self._parts.presence.enabled:
            return []
        found = await self._parts.account.presence(wish, before)
        events: list[JsonObject] = found.get("presence", {}).get("events", [])
        return events


def _of(room: RoomOf, kind: str, content: JsonObject) -> JsonObject:
    return {"type": kind, "room_id": room.room_id, "content": content}
