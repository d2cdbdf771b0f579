"""Rooms that somebody is invited to, knocks at, or has left, as `/sync` shows them.

https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from federation.canonical_json import JsonObject
from homeserver.rooms.related import related
from homeserver.rooms.standings import Reader
from homeserver.storage import history, sync
from homeserver.storage.account_data import Datum
from homeserver.storage.batch import Membership
from homeserver.storage.history import Placed
from homeserver.storage.memberships import RoomOf
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid, KeyNid
from homeserver.storage.stream_tokens import StreamToken
from homeserver.storage.sync import Change
from homeserver.sync import shown
from homeserver.sync.account import room_data, wants_room
from homeserver.sync.departing import before_invitations, departures
from homeserver.sync.invitations import inviter, stripped_states
from homeserver.sync.joined import Means
from homeserver.sync.states import after_timeline, before_timeline
from homeserver.sync.timelines import News, last_events
from homeserver.sync.wishes import Wish

_SECTIONS = {Membership.INVITE: "invite", Membership.KNOCK: "knock"}
_STATES = {"invite": "invite_state", "knock": "knock_state"}


class _Departed(NamedTuple):
    """A room as it was when somebody left it."""

    of: RoomOf
    timeline: list[Placed]
    entries: list[Placed]
    limited: bool


class OtherRooms:
    """Reads the sections of rooms that somebody is not in."""

    def __init__(self, means: Means) -> None:
        self._means = means

    async def read(
        self,
        wish: Wish,
        reader: Reader,
        rooms: Sequence[RoomOf],
        data: Iterable[Datum],
        up_to: int,
    ) -> dict[str, dict[str, JsonObject]]:
        """`invite`, `knock` and `leave`: rooms that became so since the token, by room ID.

        `data` is what changed of the user's account data.
        """
        moved = [
            room
            for room in rooms
            if room.membership is not Membership.JOIN
            and room.pos > wish.after
            and wish.wants_room(room.room_id)
        ]
        if not moved:
            return {}
        found: dict[str, dict[str, JsonObject]] = {"invite": {}, "knock": {}, "leave": {}}
        async with self._means.process.database.reader() as conn:
            asked = [room for room in moved if room.membership in _SECTIONS]
            who, numbers = wish.who, self._means.process.numbers
            states = await stripped_states(conn, numbers, who.user, who.user_id, asked)
            hidden = []
            for room in asked:
                section = _SECTIONS[room.membership]
                events = states[room.room]
                # "Servers must not send room invites from ignored users to clients."
                if section == "invite" and _is_unwanted(events, reader):
                    hidden.append(room)
                    continue
                found[section][room.room_id] = {_STATES[section]: {"events": events}}
            left = [room for room in moved if room.membership not in _SECTIONS]
            left += await self._left_before(conn, wish, reader, hidden)
            found["leave"] = await self._left(conn, wish, reader, _wanted(left, wish), up_to)
            forgotten = [room for room in left if room.is_forgotten] if wish.since else []
            found["leave"] |= await self._forgotten(conn, wish, forgotten)
        _add_data(wish, left, data, found["leave"])
        return found

    async def _left_before(
        self, conn: Connection, wish: Wish, reader: Reader, hidden: Sequence[RoomOf]
    ) -> list[RoomOf]:
        """Rooms that were left since the token, of invitations to which nothing is told."""
        if not hidden or wish.since is None:
            return []
        found = await before_invitations(conn, self._means.standings, reader, hidden)
        return [room for room in found if room.pos > wish.after]

    async def _forgotten(
        self, conn: Connection, wish: Wish, rooms: Sequence[RoomOf]
    ) -> dict[str, JsonObject]:
        """Rooms that were left and let go since: a client learns that it is out, and no more."""
        if not rooms:
            return {}
        departed = await departures(conn, wish.who.user, wish.who.user_id, rooms)
        found: dict[str, JsonObject] = {}
        for room in rooms:
            own = [departed[room.room]] if room.room in departed else []
            prev = str(StreamToken(self._means.epoch, room.pos))
            found[room.room_id] = {
                "timeline": {"events": [], "limited": False, "prev_batch": prev},
                **shown.state_section(self._means.showing, own, wish),
            }
        return found

    async def _left(
        self,
        conn: Connection,
        wish: Wish,
        reader: Reader,
        rooms: Sequence[RoomOf],
        up_to: int,
    ) -> dict[str, JsonObject]:
        """The rooms as they were when they were left."""
        if not rooms:
            return {}
        means = self._means
        departed = await self._departed(conn, wish, reader, rooms, up_to)
        every = [event for one in departed for event in one.timeline]
        standings = await means.standings.read(conn, reader, [room.room for room in rooms])
        limited = {one.of.room for one in departed if one.limited}
        lines = iter(
            await shown.timeline(
                conn, means.showing, reader, every, standings, wish.filter, limited
            )
        )
        found: dict[str, JsonObject] = {}
        for one in departed:
            prev = StreamToken(means.epoch, one.of.pos)
            if one.timeline and one.timeline[0].order is not None:
                prev = StreamToken(means.epoch, one.of.pos, order=one.timeline[0].order - 1)
            found[one.of.room_id] = {
                "timeline": {
                    "events": [next(lines) for _ in one.timeline],
                    "limited": one.limited,
                    "prev_batch": str(prev),
                },
                **shown.state_section(means.showing, one.entries, wish),
            }
        return found

    async def _departed(
        self,
        conn: Connection,
        wish: Wish,
        reader: Reader,
        rooms: Sequence[RoomOf],
        up_to: int,
    ) -> list[_Departed]:
        """What is told of rooms that were left; one's own departure always is."""
        after = wish.after if wish.since else None
        spans = {room.room: (after, min(room.pos, up_to)) for room in rooms}
        news = await last_events(conn, spans, max(1, wish.limit), self._means.process.server)
        every = [event for room in rooms for event in news[room.room].events]
        events = await related(conn, wish.filter.room.timeline, every)
        seen = {e.nid for e in await self._means.visibility.visible(conn, reader, events)}
        states = await self._states(conn, wish, rooms, news, up_to)
        own = await departures(conn, reader.user, reader.user_id, rooms)
        found = []
        for room in rooms:
            wanted = [e for e in news[room.room].events if e.nid in seen]
            timeline = [e for e in wanted if wish.timeline_matches(e.event)] if wish.limit else []
            entries = [e for e in states[room.room] if _is_wanted(e, timeline, wish)]
            departure = own.get(room.room)
            if departure and room.event not in {e.nid for e in (*timeline, *entries)}:
                # Where forks met, an old event may say so again, which the client has.
                is_news = departure.pos is None or departure.pos > wish.after
                is_wanted = wish.limit and wish.timeline_matches(departure.event)
                (timeline if is_news and is_wanted else entries).append(departure)
            found.append(_Departed(room, timeline, entries, news[room.room].has_more))
        return found

    async def _states(
        self,
        conn: Connection,
        wish: Wish,
        rooms: Sequence[RoomOf],
        news: Mapping[RoomNid, News],
        up_to: int,
    ) -> dict[RoomNid, list[Placed]]:
        """What changed until the rooms were left, of those that the user was in meanwhile."""
        changes = await sync.changes(conn, {room.room: wish.after for room in rooms}, up_to)
        until = {r.room: [c for c in changes[r.room] if c.pos <= r.pos] for r in rooms}
        key = ("m.room.member", str(wish.who.user_id))
        own = (await self._means.process.numbers.state_keys.find(conn, [key])).get(key)
        moves = {room: [c for c in until[room] if c.key == own] for room in until}
        named: dict[RoomNid, dict[KeyNid, EventNid]] = {}
        for room in rooms:
            if wish.wants_state_after:
                named[room.room] = after_timeline(until[room.room])
            else:
                named[room.room] = before_timeline(until[room.room], news[room.room].events)
        wanted = {nid for entries in named.values() for nid in entries.values()}
        wanted.update(n for cs in moves.values() for c in cs for n in (c.old, c.new) if n)
        events = await history.by_nid(conn, wanted) if wanted else {}
        return {
            room: [events[n] for n in entries.values() if n in events]
            if _was_in(moves[room], events)
            else []
            for room, entries in named.items()
        }


def _was_in(moves: Iterable[Change], events: Mapping[EventNid, Placed]) -> bool:
    """Whether the user was in the room before or after any of the changes of their membership."""
    found = [events[nid] for move in moves for nid in (move.old, move.new) if nid and nid in events]
    return any(placed.event.membership == "join" for placed in found)


def _is_wanted(entry: Placed, timeline: Sequence[Placed], wish: Wish) -> bool:
    """Whether an entry of the state of a room that was left is told."""
    if wish.lazy and entry.event.type == "m.room.member":
        named = {event.event.sender for event in timeline} | {wish.who.user_id}
        if entry.event.state_key not in named:
            return False
    return wish.state_matches(entry.event)


def _add_data(
    wish: Wish, rooms: Iterable[RoomOf], data: Iterable[Datum], found: dict[str, JsonObject]
) -> None:
    """Add the account data of rooms that were left, where anything is told of them."""
    by_room, wanted = room_data(data, wish), wish.filter.room.account_data
    for room in rooms:
        if room.room in by_room and room.room_id in found and wants_room(wanted, room.room_id):
            found[room.room_id]["account_data"] = {"events": by_room[room.room]}


def _is_unwanted(state: Sequence[JsonObject], reader: Reader) -> bool:
    rules = reader.invitations
    return not rules.are_open and rules.hides(inviter(state, reader.user_id))


def _wanted(rooms: Sequence[RoomOf], wish: Wish) -> list[RoomOf]:
    """Rooms that were left: at first only if the filter asks for them, and never forgotten ones."""
    if wish.since is None and not wish.filter.room.include_leave:
        return []
    return [room for room in rooms if not room.is_forgotten]
