"""`/initialSync`: rooms as they are, or were when they were left, with their last messages.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3initialsync
https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidinitialsync
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from federation.canonical_json import JsonObject
from federation.identifiers import RoomID
from homeserver.rooms.access import Access
from homeserver.rooms.standings import Reader
from homeserver.storage import aliases, history, memberships, sync
from homeserver.storage.batch import Membership
from homeserver.storage.history import Placed
from homeserver.storage.memberships import RoomOf
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.stream_tokens import StreamToken
from homeserver.sync.account import room_data
from homeserver.sync.invitations import asking_events
from homeserver.sync.syncing import Parts
from homeserver.sync.timelines import last_events
from homeserver.sync.wishes import MOST_EVENTS, Wish

_ASKED = frozenset({Membership.INVITE, Membership.KNOCK})
_LEFT = frozenset({Membership.LEAVE, Membership.BAN})
_MOST_MEMBERS = 1000
"""Of whom it is told whether they are online."""


class _Look(NamedTuple):
    """A room, and up to which position it is looked at."""

    room_id: RoomID
    until: int


class _Moment(NamedTuple):
    """Up to where everything is read."""

    reader: Reader
    up_to: int
    stamp: int


class Snapshots:
    """Answers both forms of `/initialSync`.

    Args:
        parts: what `/sync` works with.
        access: says who may look into a room.

    """

    def __init__(self, parts: Parts, access: Access) -> None:
        self._parts = parts
        self._access = access

    async def whole(self, wish: Wish, limit: int, *, archived: bool) -> JsonObject:
        """All rooms of somebody.

        Args:
            wish: who asks; without a token.
            limit: messages of each room.
            archived: whether those that were left are wanted.

        """
        parts, (reader, up_to, stamp) = self._parts, await self._now(wish)
        rooms = [r for r in await parts.user_rooms.of(reader.user) if r.pos <= up_to]
        kept = [r for r in rooms if r.membership not in _LEFT or (archived and not r.is_forgotten)]
        changed = await parts.account.data(wish, up_to)
        data, everywhere = room_data(changed, wish), await parts.account.read(wish, changed, up_to)
        async with parts.process.database.reader() as conn:
            found = await self._rooms(conn, reader, kept, limit, up_to)
            joined = {r.room: r.room_id for r in kept if r.membership is Membership.JOIN}
            receipts = await self._receipts(conn, reader, joined, up_to)
        answer: JsonObject = {
            "end": str(StreamToken(parts.epoch, up_to, 0, stamp)),
            "rooms": [
                {**section, "account_data": data.get(room, [])} for room, section in found.items()
            ],
            "receipts": receipts,
            "presence": [],
            "account_data": everywhere["account_data"]["events"],
        }
        if parts.presence.enabled:
            presence = await parts.account.presence(wish, 0)
            answer["presence"] = presence.get("presence", {}).get("events", [])
        return answer

    async def one(self, wish: Wish, room_id: RoomID, limit: int) -> JsonObject:
        """A room that somebody is in, was in, or may look into.

        Raises:
            Forbidden: they may not.

        """
        parts, (reader, up_to, _) = self._parts, await self._now(wish)
        data = room_data(await parts.account.data(wish, up_to), wish)
        async with parts.process.database.reader() as conn:
            reach = await self._access.reach(conn, reader, room_id)
            room, standing = reach.room, reach.standing
            until = up_to if reach.departed is None else reach.departed
            look = {room: _Look(room_id, until)}
            answer: JsonObject = (await self._looked(conn, reader, look, limit))[room]
            joined = {room: room_id} if standing.is_joined else {}
            answer["receipts"] = await self._receipts(conn, reader, joined, up_to)
            answer["presence"] = await self._presence(conn, room) if joined else []
        if standing.membership is not None:
            answer["membership"] = standing.membership.name.lower()
        answer["account_data"] = data.get(room, [])
        return answer

    async def _now(self, wish: Wish) -> _Moment:
        parts, who = self._parts, wish.who
        await parts.activity.catch_up()
        await parts.process.tail.catch_up()
        up_to, stamp = parts.activity.position, parts.stamp()
        return _Moment(await parts.ignoring.reader(who), up_to, stamp)

    async def _rooms(
        self, conn: Connection, reader: Reader, rooms: Sequence[RoomOf], limit: int, up_to: int
    ) -> dict[RoomNid, JsonObject]:
        """Each room; not those to which one is invited unless that is unwanted."""
        process = self._parts.process
        asked = [room for room in rooms if room.membership in _ASKED]
        events = await asking_events(conn, process.numbers, reader, asked, process.now())
        looks = {
            room.room: _Look(room.room_id, room.pos if room.membership in _LEFT else up_to)
            for room in rooms
            if room.membership not in _ASKED
        }
        found = await self._looked(conn, reader, looks, limit)
        for room in asked:
            if room.room in events:
                event = events[room.room]
                word = room.membership.name.lower()
                found[room.room] = {
                    "room_id": room.room_id,
                    word: event,
                    # COMPAT(clients of the first years)
                    "inviter": event["sender"],
                    "visibility": "private",
                }
        for room in rooms:
            if room.room in found:
                found[room.room]["membership"] = room.membership.name.lower()
        return found

    async def _looked(
        self, conn: Connection, reader: Reader, looks: Mapping[RoomNid, _Look], limit: int
    ) -> dict[RoomNid, JsonObject]:
        """Rooms with their last messages and their state, each up to its position."""
        means = self._parts.means
        if not looks:
            return {}
        timelines = await self._timelines(conn, reader, looks, limit)
        events = [event for timeline in timelines.values() for event in timeline]
        shown = iter(await means.showing.show_bundled(conn, reader, events))
        states = await sync.states_at(conn, {room: look.until for room, look in looks.items()})
        entries = await history.by_nid(conn, {n for s in states.values() for n in s.values()})
        public = await aliases.published_of(conn, looks)
        return {
            room: {
                "room_id": look.room_id,
                "visibility": "public" if room in public else "private",
                "messages": self._messages(
                    look, timelines[room], [next(shown) for _ in timelines[room]]
                ),
                "state": means.showing.show_state(
                    entries[n] for n in states[room].values() if n in entries
                ),
            }
            for room, look in looks.items()
        }

    async def _timelines(
        self, conn: Connection, reader: Reader, looks: Mapping[RoomNid, _Look], limit: int
    ) -> dict[RoomNid, list[Placed]]:
        """The last events that the reader may see; the earlier first."""
        if not limit:
            return {room: [] for room in looks}
        spans = {room: (None, look.until) for room, look in looks.items()}
        news = await last_events(conn, spans, min(limit, MOST_EVENTS), self._parts.process.server)
        events = [event for room in looks for event in news[room].events]
        seen = await self._parts.means.visibility.visible(conn, reader, events)
        found: dict[RoomNid, list[Placed]] = {room: [] for room in looks}
        for event in seen:
            found[event.room].append(event)
        return found

    def _messages(
        self, look: _Look, timeline: Sequence[Placed], chunk: list[JsonObject]
    ) -> JsonObject:
        start = end = StreamToken(self._parts.epoch, look.until)
        if timeline and timeline[0].order is not None:
            start = end._replace(order=timeline[0].order - 1)
        return {"start": str(start), "end": str(end), "chunk": chunk}

    async def _receipts(
        self, conn: Connection, reader: Reader, rooms: Mapping[RoomNid, RoomID], up_to: int
    ) -> list[JsonObject]:
        receipts = self._parts.means.receipts
        if not rooms:
            return []
        found = await receipts.since(conn, reader.user, dict.fromkeys(rooms, 0), up_to)
        return [
            {"type": "m.receipt", "room_id": rooms[room], "content": content}
            for room, content in found.items()
        ]

    async def _presence(self, conn: Connection, room: RoomNid) -> list[JsonObject]:
        """Of the people in a room."""
        if not self._parts.presence.enabled:
            return []
        users = await memberships.users_with(conn, room, Membership.JOIN, _MOST_MEMBERS)
        return self._parts.presence.since(users, 0)
