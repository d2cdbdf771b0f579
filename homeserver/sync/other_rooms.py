"""Rooms that somebody is invited to, knocks at, or has left, as `/sync` shows them.

https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

from collections.abc import Mapping, Sequence

from federation.canonical_json import JsonObject
from homeserver.rooms.standings import Reader
from homeserver.storage import history, sync
from homeserver.storage.batch import Membership
from homeserver.storage.history import Placed
from homeserver.storage.memberships import RoomOf
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid, KeyNid
from homeserver.storage.stream_tokens import StreamToken
from homeserver.sync import shown
from homeserver.sync.invitations import inviter, stripped_states
from homeserver.sync.joined import Means
from homeserver.sync.states import after_timeline, before_timeline
from homeserver.sync.timelines import News, last_events
from homeserver.sync.wishes import Wish

_SECTIONS = {Membership.INVITE: "invite", Membership.KNOCK: "knock"}
_STATES = {"invite": "invite_state", "knock": "knock_state"}


class OtherRooms:
    """Reads the sections of rooms that somebody is not in."""

    def __init__(self, means: Means) -> None:
        self._means = means

    async def read(
        self, wish: Wish, reader: Reader, rooms: Sequence[RoomOf], up_to: int
    ) -> dict[str, dict[str, JsonObject]]:
        """`invite`, `knock` and `leave`: rooms that became so since the token, by room ID."""
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
            for room in asked:
                section = _SECTIONS[room.membership]
                events = states[room.room]
                # "Servers must not send room invites from ignored users to clients."
                if section == "invite" and _is_unwanted(events, reader):
                    continue
                found[section][room.room_id] = {_STATES[section]: {"events": events}}
            left = [room for room in moved if room.membership not in _SECTIONS]
            found["leave"] = await self._left(conn, wish, reader, _wanted(left, wish), up_to)
            forgotten = [room for room in left if room.is_forgotten] if wish.since else []
            found["leave"] |= await self._forgotten(conn, wish, forgotten)
        return found

    async def _forgotten(
        self, conn: Connection, wish: Wish, rooms: Sequence[RoomOf]
    ) -> dict[str, JsonObject]:
        """Rooms that were left and let go since: a client learns that it is out, and no more."""
        if not rooms:
            return {}
        events = await history.by_nid(conn, [room.event for room in rooms])
        section = "state_after" if wish.wants_state_after else "state"
        found: dict[str, JsonObject] = {}
        for room in rooms:
            own = [events[room.event]] if room.event in events else []
            prev = str(StreamToken(self._means.epoch, room.pos))
            found[room.room_id] = {
                "timeline": {"events": [], "limited": False, "prev_batch": prev},
                section: {"events": shown.state(self._means.showing, own, wish.filter)},
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
        found: dict[str, JsonObject] = {}
        after = wish.after if wish.since else None
        spans = {room.room: (after, min(room.pos, up_to)) for room in rooms}
        news = await last_events(conn, spans, max(1, wish.limit))
        changes = await sync.changes(conn, dict.fromkeys(spans, wish.after), up_to)
        events = [event for room in rooms for event in news[room.room].events]
        visible = {e.nid for e in await means.visibility.visible(conn, reader, events)}
        standings = await means.standings.read(conn, reader, list(spans))
        states = await self._states(conn, wish, rooms, news, changes)
        for room in rooms:
            timeline = [
                event
                for event in news[room.room].events
                if event.nid in visible and wish.timeline_matches(event.event)
            ]
            lines = await shown.timeline(
                conn, means.showing, reader, timeline, standings, wish.filter
            )
            entries = [e for e in states[room.room] if wish.state_matches(e.event)]
            state = shown.state(means.showing, entries, wish.filter)
            prev = StreamToken(means.epoch, room.pos)
            if timeline and timeline[0].order is not None:
                prev = StreamToken(means.epoch, room.pos, order=timeline[0].order - 1)
            found[room.room_id] = {
                "timeline": {
                    "events": lines,
                    "limited": news[room.room].has_more,
                    "prev_batch": str(prev),
                },
                ("state_after" if wish.wants_state_after else "state"): {"events": state},
            }
        return found

    async def _states(
        self,
        conn: Connection,
        wish: Wish,
        rooms: Sequence[RoomOf],
        news: Mapping[RoomNid, News],
        changes: Mapping[RoomNid, Sequence[sync.Change]],
    ) -> dict[RoomNid, list[Placed]]:
        """What changed until the rooms were left."""
        named: dict[RoomNid, dict[KeyNid, EventNid]] = {}
        for room in rooms:
            until = [change for change in changes[room.room] if change.pos <= room.pos]
            if wish.wants_state_after:
                named[room.room] = after_timeline(until)
            else:
                named[room.room] = before_timeline(until, news[room.room].events)
        wanted = {nid for entries in named.values() for nid in entries.values()}
        events = await history.by_nid(conn, wanted) if wanted else {}
        return {
            room: [events[n] for n in entries.values() if n in events]
            for room, entries in named.items()
        }


def _is_unwanted(state: Sequence[JsonObject], reader: Reader) -> bool:
    rules = reader.invitations
    return not rules.are_open and rules.hides(inviter(state, reader.user_id))


def _wanted(rooms: Sequence[RoomOf], wish: Wish) -> list[RoomOf]:
    """Rooms that were left: at first only if the filter asks for them, and never forgotten ones."""
    if wish.since is None and not wish.filter.room.include_leave:
        return []
    return [room for room in rooms if not room.is_forgotten]
