"""The rooms that somebody is in, as `/sync` shows them.

https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from federation.canonical_json import JsonObject
from federation.identifiers import UserID
from homeserver.rooms.filtering import everything, wants
from homeserver.rooms.receipts import Receipts
from homeserver.rooms.related import related
from homeserver.rooms.showing import Showing
from homeserver.rooms.standings import Reader, Standing, Standings
from homeserver.rooms.typing import Typing
from homeserver.rooms.visibility import Visibility
from homeserver.storage import history, sync
from homeserver.storage.account_data import Datum
from homeserver.storage.batch import Membership
from homeserver.storage.history import Placed
from homeserver.storage.memberships import RoomOf
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process
from homeserver.storage.state_groups import EventNid, KeyNid
from homeserver.storage.stream_tokens import StreamToken
from homeserver.storage.unread import MAIN
from homeserver.sync import shown
from homeserver.sync.account import AccountSections, room_data, wants_room
from homeserver.sync.activity import Activity
from homeserver.sync.room_memory import RoomMemory
from homeserver.sync.seeing import Seeing
from homeserver.sync.states import SentMembers, after_timeline, before_timeline
from homeserver.sync.sticky import Asked, StickyEvents
from homeserver.sync.summaries import NAMES, Summary, summaries
from homeserver.sync.timelines import News, Timelines, last_events
from homeserver.sync.unread import Tally, Unread, main_only, room_total
from homeserver.sync.wishes import MOST_EVENTS, Wish

_FILTERED = 10
"""How many times as many events are read where a filter leaves some out."""


_SUMMED_UP = frozenset({"m.room.member", *(kind for kind, _ in NAMES)})
"""Types of what changes the summary of a room."""


class Means(NamedTuple):
    """What the reading of rooms works with."""

    process: Process
    epoch: int
    activity: Activity
    timelines: Timelines
    memory: RoomMemory
    standings: Standings
    visibility: Visibility
    seeing: Seeing
    showing: Showing
    receipts: Receipts
    typing: Typing
    account: AccountSections
    unread: Unread
    sticky: StickyEvents


class Joined(NamedTuple):
    """What is told of the rooms that somebody is in."""

    sections: dict[str, JsonObject]
    """By room ID; of rooms with anything new."""
    sticky: int | None = None
    """Up to which position all that sticks was told, if that is not all."""


@dataclass(slots=True)
class _Told:
    """What is told of rooms in which something happened."""

    sections: dict[RoomNid, JsonObject] = field(default_factory=dict)
    new: set[RoomNid] = field(default_factory=set)
    """Of which the client knows nothing yet."""
    events: dict[RoomNid, set[str]] = field(default_factory=dict)
    """IDs of what is in their timelines."""


@dataclass(slots=True)
class Room:
    """One room while its section is put together."""

    of: RoomOf
    is_new: bool
    """Whether the client knows nothing of it yet."""
    news: News
    timeline: Sequence[Placed] = ()
    limited: bool = False
    state: dict[KeyNid, EventNid] = field(default_factory=dict)
    members_changed: bool = False
    is_counted_anew: bool = False
    """Whether the members may be others than before without an event that is told."""


class JoinedRooms:
    """Reads the sections of rooms that somebody is in."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._sent = SentMembers()

    async def read(
        self,
        wish: Wish,
        reader: Reader,
        rooms: Sequence[RoomOf],
        data: Iterable[Datum],
        up_to: int,
        stamp: int,
    ) -> Joined:
        """The rooms with anything new.

        Args:
            wish: who asks for what.
            reader: who asks.
            rooms: all that they have something to do with.
            data: what changed of their account data.
            up_to: the position up to which is read.
            stamp: of the last change of typing that they know.

        """
        means = self._means
        mine = {
            room.room: room
            for room in rooms
            if room.membership is Membership.JOIN and wish.wants_room(room.room_id)
        }
        if wish.since is None:
            self._sent.forget(wish.who.device)
        if wish.lazy:
            self._sent.ask(wish.who.device, wish.after)
        active = self._active(wish, mine)
        told = _Told()
        if active:
            async with means.process.database.perhaps() as conn:
                told = await self._sections(conn, wish, reader, active, up_to)
        found = {str(mine[room].room_id): section for room, section in told.sections.items()}
        sticky = await self._add_sticky(wish, reader, mine, told, found, up_to)
        await self._add_ephemeral(wish, mine, found, up_to, stamp)
        await self._add_counts(wish, mine, found, up_to)
        wanted = wish.filter.room.account_data
        for room, events in room_data(data, wish).items():
            if room in mine and wants_room(wanted, mine[room].room_id):
                found.setdefault(mine[room].room_id, {})["account_data"] = {"events": events}
        if wish.wants_state_after:
            # "Required [...], even if it is empty."
            nothing = shown.state_section(means.showing, (), wish)
            found = {room: {**nothing, **section} for room, section in found.items()}
        return Joined(found, sticky)

    def _active(self, wish: Wish, mine: Mapping[RoomNid, RoomOf]) -> list[RoomOf]:
        """The rooms in which there may be something new."""
        if wish.since is None or wish.full_state:
            return list(mine.values())
        return [mine[room] for room in self._means.activity.changed(mine, wish.after)]

    async def _sections(
        self, conn: Connection, wish: Wish, reader: Reader, active: Sequence[RoomOf], up_to: int
    ) -> _Told:
        rooms = await self._with_news(conn, wish, active, up_to)
        standings = await self._see(conn, wish, reader, rooms)
        await self._find_states(conn, wish, rooms, up_to)
        found = await self._summaries(conn, wish, rooms)
        lazy = await self._lazy_members(conn, wish, rooms, found, up_to) if wish.lazy else {}
        wanted = {nid for room in rooms for nid in room.state.values()}
        wanted.update(nid for nids in lazy.values() for nid in nids)
        events = await history.by_nid(conn, wanted) if wanted else {}
        lines = await shown.timeline(
            conn,
            self._means.showing,
            reader,
            [event for room in rooms for event in room.timeline],
            standings,
            wish.filter,
            {room.of.room for room in rooms if room.limited},
        )
        told = _Told()
        rest = iter(lines)
        for room in rooms:
            timeline = [next(rest) for _ in room.timeline]
            nid = room.of.room
            told.events[nid] = {event.event.event_id for event in room.timeline}
            if room.is_new:
                told.new.add(nid)
            states = [events[n] for n in room.state.values() if n in events]
            entries = self._entries(wish, room, states, lazy.get(nid, ()), events)
            section = self._section(wish, room, timeline, entries, up_to)
            if nid in found:
                section["summary"] = _summary(found[nid])
            if _says_something(section, room, wish):
                told.sections[nid] = section
        return told

    async def _add_sticky(
        self,
        wish: Wish,
        reader: Reader,
        mine: Mapping[RoomNid, RoomOf],
        told: _Told,
        found: dict[str, JsonObject],
        up_to: int,
    ) -> int | None:
        """What sticks, in the timelines or not; see `Joined.sticky`.

        https://github.com/matrix-org/matrix-spec-proposals/pull/4354
        """
        sticky, after, candidates = self._means.sticky, wish.after, list(mine)
        if wish.since is not None and wish.since.sticky is not None:
            after = wish.since.sticky
        elif wish.since is not None:
            candidates = self._means.activity.changed(mine, after)
        rooms = await sticky.among(candidates)
        if not rooms:
            return None
        spans = {room: 0 if room in told.new else after for room in rooms}
        page = await sticky.read(reader, Asked(spans, up_to), told.events)
        for room, events in page.events.items():
            found.setdefault(mine[room].room_id, {})["msc4354_sticky"] = {"events": events}
        return page.last

    async def _with_news(
        self, conn: Connection, wish: Wish, active: Sequence[RoomOf], up_to: int
    ) -> list[Room]:
        """The rooms with what happened in them, those new to the client apart."""
        new = await self._new_rooms(conn, wish, active)
        many = wish.limit
        if wish.timeline_matches is not everything:
            many = min(max(many, 1) * _FILTERED, MOST_EVENTS)
        known = [room.room for room in active if room.room not in new]
        found = await self._means.timelines.since(conn, known, wish.after, up_to, many)
        if new:
            found |= await last_events(
                conn, dict.fromkeys(new, (None, up_to)), many, self._means.process.server
            )
        return [Room(room, room.room in new, found[room.room]) for room in active]

    async def _new_rooms(
        self, conn: Connection, wish: Wish, active: Sequence[RoomOf]
    ) -> set[RoomNid]:
        """Those of the rooms that the user was not in when the client last asked."""
        if wish.since is None:
            return {room.room for room in active}
        moved = [room.room for room in active if room.pos > wish.after]
        if not moved:
            return set()
        key = ("m.room.member", str(wish.who.user_id))
        keys = await self._means.process.numbers.state_keys.find(conn, [key])
        before = await sync.entries_at(conn, moved, keys[key], wish.after)
        events = await history.by_nid(conn, {nid for nid in before.values() if nid})
        return {
            room
            for room, nid in before.items()
            if nid not in events or events[nid].event.membership != "join"
        }

    async def _see(
        self, conn: Connection, wish: Wish, reader: Reader, rooms: Sequence[Room]
    ) -> dict[RoomNid, Standing]:
        """Fill the timelines with what the reader may see and wants."""
        news = [event for room in rooms for event in room.news.events]
        events = await related(conn, wish.filter.room.timeline, news)
        visible, standings = await self._means.seeing.seen(
            conn, reader, [r.of for r in rooms], events
        )
        for room in rooms:
            seen = [e for e in room.news.events if e.nid in visible]
            wanted = [e for e in seen if wish.timeline_matches(e.event)]
            room.timeline = wanted[max(0, len(wanted) - wish.limit) :] if wish.limit else []
            room.limited = room.news.has_more or len(room.timeline) < len(wanted)
        return standings

    async def _find_states(
        self, conn: Connection, wish: Wish, rooms: Sequence[Room], up_to: int
    ) -> None:
        """Fill in which entries of the state are told."""
        whole = {
            room.of.room: _state_position(room, wish, up_to)
            for room in rooms
            if room.is_new or wish.full_state
        }
        states = await sync.states_at(conn, whole) if whole else {}
        if states and not wish.wants_state_after:
            await self._add_unshown(conn, states, rooms, up_to)
        for room in rooms:
            if room.of.room in states:
                room.state = states[room.of.room]
                room.members_changed = True
            elif wish.wants_state_after:
                room.state = after_timeline(room.news.changes)
            else:
                room.state = before_timeline(room.news.changes, room.timeline)
            if any(e.event.type in _SUMMED_UP for e in room.news.events):
                room.members_changed = True
            shown_all = {event.nid for event in room.news.events}
            if any(change.new not in shown_all for change in room.news.changes):
                room.members_changed = room.is_counted_anew = True

    async def _add_unshown(
        self,
        conn: Connection,
        states: Mapping[RoomNid, dict[KeyNid, EventNid]],
        rooms: Sequence[Room],
        up_to: int,
    ) -> None:
        """Add to whole states what came since the timeline begins without being in it.

        With a join through another server the whole state of the room does: some of it with the
        join, and the members when all of them are known.
        """
        begun = {
            room.of.room: room.timeline[0].pos - 1
            for room in rooms
            if room.of.room in states and room.timeline and room.timeline[0].pos is not None
        }
        changes = await sync.changes(conn, begun, up_to) if begun else {}
        for room in rooms:
            if room.of.room in begun:
                found = before_timeline(changes[room.of.room], room.timeline)
                states[room.of.room].update(found)

    async def _lazy_members(
        self,
        conn: Connection,
        wish: Wish,
        rooms: Sequence[Room],
        told: Mapping[RoomNid, Summary],
        up_to: int,
    ) -> dict[RoomNid, list[EventNid]]:
        """The memberships of those who say something, as far as the device does not know them.

        And of those after whom a room is named: "the membership events for the heroes MUST be
        included in the `state`, unless they are redundant".

        https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members
        """
        senders = {
            room.of.room: {e.event.sender for e in room.timeline}
            | {hero.user_id for hero in told.get(room.of.room, Summary()).heroes}
            | _own(room, wish)
            for room in rooms
        }
        users = {user for named in senders.values() for user in named}
        keys = await self._means.process.numbers.state_keys.find(
            conn, [("m.room.member", str(user)) for user in users]
        )
        by_user = {UserID(key[1]): nid for key, nid in keys.items()}
        pairs = [
            (room, by_user[u]) for room, named in senders.items() for u in named if u in by_user
        ]
        entries = await sync.current_entries(conn, pairs) if pairs else {}
        found: dict[RoomNid, list[EventNid]] = {}
        for room in rooms:
            nid = room.of.room
            shown_there = {event.nid for event in room.timeline}
            members = {
                user: entries[nid, by_user[user]]
                for user in senders[nid]
                if user in by_user and (nid, by_user[user]) in entries
            }
            if wish.filter.room.state.include_redundant_members:
                wanted = list(members.values())
            else:
                wanted = self._sent.unsent(wish.who.device, nid, members, up_to, is_new=room.is_new)
            if not wish.wants_state_after:
                wanted = _as_it_begins(wanted, room.timeline)
            found[nid] = [event for event in wanted if event not in shown_there]
        return found

    def _entries(
        self,
        wish: Wish,
        room: Room,
        states: Iterable[Placed],
        lazy: Collection[EventNid],
        events: Mapping[EventNid, Placed],
    ) -> list[Placed]:
        """The events of `state`, as the filter wants them."""
        kept = {event.nid: event for event in states if wish.state_matches(event.event)}
        if wish.lazy:
            named = {event.event.sender for event in room.timeline} | {wish.who.user_id}
            kept = {
                nid: event
                for nid, event in kept.items()
                if event.event.type != "m.room.member" or event.event.state_key in named
            }
            kept |= {n: events[n] for n in lazy if n in events}
        if not wish.wants_state_after:
            shown_there = {event.nid for event in room.timeline}
            kept = {nid: event for nid, event in kept.items() if nid not in shown_there}
        return list(kept.values())

    def _section(
        self,
        wish: Wish,
        room: Room,
        timeline: list[JsonObject],
        entries: Sequence[Placed],
        up_to: int,
    ) -> JsonObject:
        means = self._means
        prev = StreamToken(means.epoch, up_to)
        if room.timeline and room.timeline[0].order is not None:
            prev = StreamToken(means.epoch, up_to, order=room.timeline[0].order - 1)
        return {
            "timeline": {"events": timeline, "limited": room.limited, "prev_batch": str(prev)},
            **shown.state_section(means.showing, entries, wish),
        }

    async def _summaries(
        self, conn: Connection, wish: Wish, rooms: Sequence[Room]
    ) -> dict[RoomNid, Summary]:
        """https://spec.matrix.org/v1.19/client-server-api/#syncing, `RoomSummary`."""
        wanted = [room.of.room for room in rooms if room.members_changed]
        if not wanted:
            return {}
        return await summaries(conn, self._means.memory, wish.who.user_id, wanted)

    async def _add_counts(
        self,
        wish: Wish,
        mine: Mapping[RoomNid, RoomOf],
        found: dict[str, JsonObject],
        up_to: int,
    ) -> None:
        """How much is unread, where anything is told of a room.

        https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications
        """
        if not found:
            return
        means, who = self._means, wish.who
        rooms = [room for room in mine.values() if room.room_id in found]
        counted = await means.unread.of(who.user, who.user_id, rooms, up_to)
        apart = wish.filter.room.timeline.unread_thread_notifications
        names = await self._thread_names(counted) if apart else {}
        for room in rooms:
            threads = counted[room.room]
            section = found[room.room_id]
            total = main_only(threads) if apart else room_total(threads)
            section["unread_notifications"] = total.shown()
            if apart:
                # None is told as well: clients forget by it what was unread before.
                section["unread_thread_notifications"] = {
                    names[thread]: tally.shown()
                    for thread, tally in threads.items()
                    if thread in names and tally.notifications
                }

    async def _thread_names(
        self, counted: Mapping[RoomNid, Mapping[EventNid, Tally]]
    ) -> Mapping[EventNid, str]:
        nids = {thread for threads in counted.values() for thread in threads} - {MAIN}
        if not nids:
            return {}
        async with self._means.process.database.reader() as conn:
            return await history.names(conn, nids)

    async def _add_ephemeral(
        self,
        wish: Wish,
        mine: Mapping[RoomNid, RoomOf],
        found: dict[str, JsonObject],
        up_to: int,
        stamp: int,
    ) -> None:
        """Add who types and who has read, as far as the filter lets it through.

        Its `limit` is of one room, which has two events at most: if one has to go it is `m.typing`.
        That is told anew with its next change, but nobody tells twice what they have read.
        """
        means, wanted = self._means, wish.filter.room.ephemeral
        if wanted.limit == 0:
            return
        mine = {room: of for room, of in mine.items() if wants_room(wanted, of.room_id)}
        new = [room for room, of in mine.items() if wish.since and of.pos > wish.after]
        typing = means.typing.since(mine.keys(), stamp) | means.typing.since(new, 0)
        for room, users in typing.items():
            if wants(wanted, "m.typing"):
                _add(found, mine[room], "m.typing", {"user_ids": list(users)})
        read = means.activity.with_receipts(mine, wish.after) if wish.since else list(mine)
        spans = dict.fromkeys(read, wish.after) | dict.fromkeys(new, 0)
        if not spans or not wants(wanted, "m.receipt"):
            return
        async with means.process.database.reader() as conn:
            receipts = await means.receipts.since(conn, wish.who.user, spans, up_to)
        for room, content in receipts.items():
            if wanted.limit == 1:
                found.get(mine[room].room_id, {}).pop("ephemeral", None)
            _add(found, mine[room], "m.receipt", content)


def _add(found: dict[str, JsonObject], room: RoomOf, kind: str, content: JsonObject) -> None:
    section = found.setdefault(room.room_id, {})
    events = section.setdefault("ephemeral", {"events": []})["events"]
    events.append({"type": kind, "content": content})


def _own(room: Room, wish: Wish) -> set[UserID]:
    """One's own membership is told with a room that is new."""
    return {wish.who.user_id} if room.is_new else set()


def _as_it_begins(members: Iterable[EventNid], timeline: Sequence[Placed]) -> list[EventNid]:
    """What stood in the place of those of the members' events that the timeline shows."""
    first: dict[KeyNid, Placed] = {}
    keys: dict[EventNid, KeyNid] = {}
    for event in timeline:
        if event.key is not None:
            first.setdefault(event.key, event)
            keys[event.nid] = event.key
    then = [first[keys[nid]].replaces if nid in keys else nid for nid in members]
    return [nid for nid in then if nid is not None]


def _state_position(room: Room, wish: Wish, up_to: int) -> int:
    """Up to where changes count for a state that is told whole."""
    if wish.wants_state_after or not room.timeline:
        return up_to
    first = room.timeline[0]
    return up_to if first.pos is None else first.pos - 1


def _summary(summary: Summary) -> JsonObject:
    counted: JsonObject = {
        "m.joined_member_count": summary.joined,
        "m.invited_member_count": summary.invited,
    }
    heroes = [hero.user_id for hero in summary.heroes]
    return {**counted, "m.heroes": heroes} if heroes else counted


def _says_something(section: JsonObject, room: Room, wish: Wish) -> bool:
    if wish.since is None or wish.full_state or room.is_new:
        return True
    state = section.get("state") or section.get("state_after") or {}
    if section["timeline"]["events"] or state.get("events") or room.limited:
        return True
    return room.is_counted_anew and "summary" in section
