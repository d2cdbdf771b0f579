"""How many messages somebody has not read, in the answer that brings the last of them.

What was counted once is kept, and what is new is added: for whom nothing but a message comes, the
database is asked once per message, whoever reads it.

https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from federation.canonical_json import JsonObject
from federation.identifiers import UserID
from homeserver.push.evaluating import Around, evaluate
from homeserver.push.naming import look_at_names, names_in
from homeserver.push.rulesets import Ruleset, Rulesets
from homeserver.rooms.showing import client_event
from homeserver.storage import history, public_rooms, thread_subscriptions, unread
from homeserver.storage.log import Entry, Kind
from homeserver.storage.memberships import RoomOf
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process
from homeserver.storage.state_groups import EventNid
from homeserver.storage.stream_tokens import ORDER_BITS
from homeserver.storage.unread import MAIN, Flag, Notable, is_for_all
from homeserver.sync.activity import Activity

_REMEMBERED = 100_000
"""Rooms of users, at some 300 bytes each."""
_RECENT_ROOMS = 2000
_LEAST_BACK = 50
"""Positions before the first that is asked for: others ask for a little more."""


@dataclass(slots=True)
class Tally:
    """What is unread in a thread."""

    notifications: int = 0
    highlights: int = 0

    def add(self, *, highlight: bool) -> None:
        """One more."""
        self.notifications += 1
        self.highlights += highlight

    def shown(self) -> JsonObject:
        """As clients are told."""
        return {
            "notification_count": self.notifications,
            "highlight_count": self.highlights,
        }


@dataclass(slots=True)
class _Counted:
    """What somebody has not read in a room, up to a position."""

    up_to: int
    threads: dict[EventNid, Tally] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Recent:
    """The last messages of a room."""

    after: int
    up_to: int
    messages: Sequence[Notable]


class Unread:
    """Counts for all users of this process.

    Args:
        process: this one.
        activity: tells who read on, and where.
        rulesets: the push rules of users.

    """

    def __init__(self, process: Process, activity: Activity, rulesets: Rulesets) -> None:
        self._process = process
        self._rulesets = rulesets
        self._counted: OrderedDict[tuple[UserNid, RoomNid], _Counted] = OrderedDict()
        self._recent: OrderedDict[RoomNid, _Recent] = OrderedDict()
        self._reading: dict[tuple[RoomNid, int], asyncio.Task[_Recent]] = {}
        activity.feed(self._apply)

    async def of(
        self, user: UserNid, user_id: UserID, rooms: Iterable[RoomOf], up_to: int
    ) -> dict[RoomNid, Mapping[EventNid, Tally]]:
        """What the user has not read in each of the rooms, by thread.

        Args:
            user: who reads.
            user_id: the same.
            rooms: that they are in.
            up_to: the position up to which is counted; the caller has caught up with it.

        """
        ruleset = await self._rulesets.of(user, user_id)
        wanted = {room.room: room for room in rooms}
        known = {nid: one for nid in wanted if (one := self._known(user, nid, up_to))}
        stale = {nid: one for nid, one in known.items() if one.up_to < up_to}
        new = [room for nid, room in wanted.items() if nid not in known]
        for nid, messages in (await self._news(stale, up_to)).items():
            if not await self._add(user, ruleset, stale[nid], messages, up_to):
                new.append(wanted[nid])
        if new:
            known |= await self._count(user, ruleset, new, up_to)
        return {nid: one.threads for nid, one in known.items()}

    def _known(self, user: UserNid, room: RoomNid, up_to: int) -> _Counted | None:
        one = self._counted.get((user, room))
        return one if one is not None and one.up_to <= up_to else None

    async def _news(
        self, stale: Mapping[RoomNid, _Counted], up_to: int
    ) -> Mapping[RoomNid, Sequence[Notable]]:
        """What is new in rooms that were counted before."""
        if len(stale) == 1:
            ((room, counted),) = stale.items()
            recent = await self._shared(room, counted.up_to, up_to)
            if recent.after <= counted.up_to:
                return {room: recent.messages}
        if not stale:
            return {}
        async with self._process.database.reader() as conn:
            spans = {room: counted.up_to for room, counted in stale.items()}
            return await unread.since(conn, spans, up_to)

    async def _shared(self, room: RoomNid, after: int, up_to: int) -> _Recent:
        """The last messages of a room, read once for all who want them at the same moment."""
        written = self._process.tail.log.events(room, after, up_to)
        if written is not None:
            return _Recent(after, up_to, [one.notable for one in written if one.notable])
        recent = self._recent.get(room)
        if recent is not None and recent.after <= after and recent.up_to == up_to:
            return recent
        task = self._reading.get((room, up_to))
        if task is None:
            task = asyncio.create_task(self._read(room, max(0, after - _LEAST_BACK), up_to))
            self._reading[room, up_to] = task
            task.add_done_callback(lambda _: self._reading.pop((room, up_to), None))
        return await asyncio.shield(task)

    async def _read(self, room: RoomNid, after: int, up_to: int) -> _Recent:
        async with self._process.database.reader() as conn:
            messages = (await unread.since(conn, {room: after}, up_to))[room]
        recent = _Recent(after, up_to, messages)
        self._recent[room] = recent
        self._recent.move_to_end(room)
        if len(self._recent) > _RECENT_ROOMS:
            self._recent.popitem(last=False)
        return recent

    async def _add(
        self,
        user: UserNid,
        ruleset: Ruleset,
        counted: _Counted,
        messages: Sequence[Notable],
        up_to: int,
    ) -> bool:
        """Add what is new; false if it has to be counted anew."""
        new = [one for one in messages if one.order > counted.up_to << ORDER_BITS]
        if any(one.flags & Flag.REDACTION for one in new):
            return False
        outcomes = await self._outcomes(user, ruleset, new)
        for one in new:
            if one.sender == user:
                # Whoever speaks has read what was said before.
                counted.threads.pop(one.thread, None)
            elif one.event in outcomes:
                tally = counted.threads.setdefault(one.thread, Tally())
                tally.add(highlight=outcomes[one.event])
        counted.up_to = up_to
        return True

    async def _count(
        self, user: UserNid, ruleset: Ruleset, rooms: Sequence[RoomOf], up_to: int
    ) -> dict[RoomNid, _Counted]:
        """Count from the beginning."""
        found = {room.room: _Counted(up_to) for room in rooms}
        since = {room.room: room.pos for room in rooms}
        async with self._process.database.reader() as conn:
            if ruleset.is_default:
                for row in await unread.count(conn, user, since, up_to):
                    tally = Tally(row.notifications, row.highlights)
                    found[row.room].threads[row.thread] = tally
            else:
                messages = await unread.unread(conn, user, since, up_to)
                outcomes = await self._evaluated(conn, user, ruleset, messages)
                for one in messages:
                    if one.event in outcomes:
                        tally = found[one.room].threads.setdefault(one.thread, Tally())
                        tally.add(highlight=outcomes[one.event])
        for room, counted in found.items():
            self._counted[user, room] = counted
        while len(self._counted) > _REMEMBERED:
            self._counted.popitem(last=False)
        return found

    async def _outcomes(
        self, user: UserNid, ruleset: Ruleset, messages: Sequence[Notable]
    ) -> Mapping[EventNid, bool]:
        """The messages that notify somebody, and whether they are highlights."""
        if ruleset.is_default:
            return {
                one.event: bool(one.flags & Flag.HIGHLIGHT)
                or (user in one.mentioned and not one.flags & Flag.RING)
                for one in messages
                if one.flags & (Flag.NOTIFY | Flag.HIGHLIGHT) or user in one.mentioned
            }
        async with self._process.database.reader() as conn:
            return await self._evaluated(conn, user, ruleset, messages)

    async def _evaluated(
        self, conn: Connection, user: UserNid, ruleset: Ruleset, messages: Sequence[Notable]
    ) -> Mapping[EventNid, bool]:
        """The same by rules of one's own."""
        if not messages:
            return {}
        events = await history.by_nid(conn, [one.event for one in messages])
        rooms = await public_rooms.counted(conn, {one.room for one in messages})
        places = {(room, user) for room in rooms} if look_at_names(ruleset.rules) else ()
        names = await names_in(conn, places)
        threads = {one.thread for one in messages} - {MAIN}
        followed = await thread_subscriptions.followers(conn, [user], threads) if threads else ()
        found = {}
        for one in messages:
            if one.event not in events or one.room not in rooms:
                continue
            permitted = ("room",) if is_for_all(one.flags) else ()
            name = names.get((one.room, user))
            follows = None if one.thread == MAIN else (user, one.thread) in followed
            around = Around(rooms[one.room].joined, permitted, name, follows)
            said = evaluate(ruleset.rules, client_event(events[one.event].event), around)
            if said.notify:
                found[one.event] = said.highlight
        return found

    def _apply(self, entries: Sequence[Entry]) -> None:
        """Who read on, came, went or changed their rules is counted anew."""
        for entry in entries:
            if entry.user is None:
                continue
            if entry.kind == Kind.PUSH_RULES:
                for key in [key for key in self._counted if key[0] == entry.user]:
                    del self._counted[key]
            elif entry.room is not None:
                self._counted.pop((entry.user, entry.room), None)


def room_total(threads: Mapping[EventNid, Tally]) -> Tally:
    """All threads of a room together."""
    return Tally(
        sum(tally.notifications for tally in threads.values()),
        sum(tally.highlights for tally in threads.values()),
    )


def main_only(threads: Mapping[EventNid, Tally]) -> Tally:
    """What is in no thread."""
    return threads.get(MAIN, Tally())
