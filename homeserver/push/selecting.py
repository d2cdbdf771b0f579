"""Whom the log's rows concern who has pushers, and what their rules make of it.

Rooms in which nobody has a pusher cost one look into memory per event.

https://spec.matrix.org/v1.19/client-server-api/#push-rules
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from federation.identifiers import UserID
from homeserver.push.evaluating import Around, Outcome, evaluate, flattened
from homeserver.push.naming import Place, look_at_names, names_in
from homeserver.push.rulesets import Ruleset, Rulesets
from homeserver.storage import public_rooms, push_queue, pushers, thread_subscriptions
from homeserver.storage.log import Entry, Kind
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.process import Process
from homeserver.storage.push_queue import Notice, Subject
from homeserver.storage.state_groups import EventNid
from homeserver.storage.unread import is_for_all

_REMEMBERED = 100_000
"""Rooms, most of them without anybody of interest."""
_AT_A_STRETCH = 100
"""Rulesets that are tried while everybody else waits: some 5 ms."""
_WHO = frozenset({Kind.PUSHER, Kind.DEVICE, Kind.DEVICE_GONE, Kind.ACCOUNT})
"""What in the log may change who has pushers."""

Ignored = Callable[[Collection[UserNid]], Awaitable[Mapping[UserNid, "Unwanted"]]]
"""What users do not want to hear of."""


class Unwanted(Protocol):
    """What one user does not want to hear of."""

    @property
    def ignored(self) -> Collection[str]:
        """People."""

    def hides(self, sender: str | None) -> bool:
        """Whether an invitation by somebody is not shown."""


@dataclass(frozen=True, slots=True)
class _Happened:
    """An event, and who of those with pushers may be told."""

    pos: int
    subject: Subject
    event: dict[str, Any]
    users: Sequence[UserNid]


class Selecting:
    """Finds what is to be told; `begin` before, then `follow` and `select` rows in order.

    Args:
        process: the one that this is part of.
        rulesets: the push rules of users.
        ignored: what they do not want to hear of.

    """

    def __init__(self, process: Process, rulesets: Rulesets, ignored: Ignored) -> None:
        self._process = process
        self._rulesets = rulesets
        self._ignored = ignored
        self._watched: dict[UserNid, UserID] = {}
        self._numbers: dict[UserID, UserNid] = {}
        self._members: OrderedDict[RoomNid, dict[UserNid, int]] = OrderedDict()
        """Those who are watched in each room, and since when they are there."""

    @property
    def has_any(self) -> bool:
        """Whether anybody has a pusher."""
        return bool(self._watched)

    async def begin(self) -> None:
        """Learn who has pushers."""
        async with self._process.database.reader() as conn:
            self._watched = await pushers.users_with_pushers(conn)
        self._numbers = {user_id: user for user, user_id in self._watched.items()}
        self._members.clear()

    async def follow(self, entries: Iterable[Entry]) -> set[UserNid]:
        """Learn who has pushers by now; whose pushers were changed."""
        entries = list(entries)
        changed = {e.user for e in entries if e.kind == Kind.PUSHER and e.user is not None}
        asked = changed | {e.user for e in entries if e.kind in _WHO and e.user in self._watched}
        users = {user for user in asked if user is not None}
        if users:
            async with self._process.database.reader() as conn:
                found = await pushers.users_with_pushers(conn, users)
            if found.keys() != users & self._watched.keys():
                self._members.clear()
            for user in users & self._watched.keys():
                self._numbers.pop(self._watched.pop(user), None)
            self._watched |= found
            self._numbers |= {user_id: user for user, user_id in found.items()}
        return changed & self._watched.keys()

    async def select(self, entries: Sequence[Entry]) -> list[Notice]:
        """What is to be told of these rows, in their order."""
        happened = await self._happened(entries)
        notices = [
            Notice(entry.user, entry.pos)
            for entry in entries
            if entry.kind == Kind.RECEIPT and entry.user in self._watched
        ]
        notices += [Notice(user, one.pos) for one in happened for user in self._relieved(one)]
        if any(one.users for one in happened):
            notices += await self._judged(happened)
        return sorted(notices, key=lambda notice: notice.pos)

    def _relieved(self, one: _Happened) -> Sequence[UserNid]:
        """Who may have less to read: whoever speaks has read what was said before."""
        if one.event["type"] == "m.room.redaction":
            return one.users
        user = self._numbers.get(one.event["sender"])
        return [] if user is None else [user]

    async def _happened(self, entries: Sequence[Entry]) -> list[_Happened]:
        """The events in rooms where somebody is watched, with all who are."""
        wanted: dict[EventNid, list[UserNid]] = {}
        invited: dict[Place, int] = {}
        await self._load(entries)
        for entry in entries:
            if entry.room is None:
                continue
            if entry.kind == Kind.EVENT and entry.item is not None:
                there = self._members.get(entry.room, {})
                users = {user for user, since in there.items() if since <= entry.pos}
                if entry.user in self._watched:
                    users.add(entry.user)
                if users:
                    wanted[EventNid(entry.item)] = sorted(users)
            elif entry.kind == Kind.FORGOTTEN and entry.user in self._watched:
                # So are invitations noted that come from other servers.
                invited[entry.room, entry.user] = entry.pos
        return await self._found(entries, wanted, invited)

    async def _found(
        self,
        entries: Iterable[Entry],
        wanted: Mapping[EventNid, list[UserNid]],
        invited: Mapping[Place, int],
    ) -> list[_Happened]:
        if not wanted and not invited:
            return []
        async with self._process.database.reader() as conn:
            subjects = await push_queue.subjects(conn, wanted) if wanted else {}
            invitations = await push_queue.invitations(conn, invited) if invited else {}
        happened = [
            _Happened(entry.pos, subject, readable(subject), wanted[subject.event])
            for entry in entries
            if entry.kind == Kind.EVENT
            and entry.item is not None
            and (subject := subjects.get(EventNid(entry.item))) is not None
        ]
        return happened + [
            _Happened(invited[place], subject, readable(subject), [place[1]])
            for place, subject in invitations.items()
        ]

    async def _load(self, entries: Iterable[Entry]) -> None:
        """Learn who is in the rooms, where that is not known."""
        events = [entry for entry in entries if entry.kind == Kind.EVENT]
        for entry in events:
            if entry.room is not None and entry.user in self._watched:
                self._members.pop(entry.room, None)
        new = {entry.room for entry in events if entry.room is not None} - self._members.keys()
        if new:
            async with self._process.database.reader() as conn:
                self._members.update(await push_queue.members(conn, new))
        while len(self._members) > _REMEMBERED:
            self._members.popitem(last=False)

    async def _judged(self, happened: Sequence[_Happened]) -> list[Notice]:
        """Whom the events are worth a notification to."""
        await self._process.tail.catch_up()
        users = {user for one in happened for user in one.users}
        rulesets = await self._rulesets.of_many({user: self._watched[user] for user in users})
        ignored = await self._ignored(users)
        rooms = {one.subject.room for one in happened}
        async with self._process.database.reader() as conn:
            counted = await public_rooms.counted(conn, rooms)
        names = await self._names(happened, rulesets)
        followers = await self._followers(happened, users)
        found, tried = [], 0
        for one in happened:
            values = flattened(one.event)
            members = counted[one.subject.room].joined if one.subject.room in counted else 0
            permitted = ("room",) if is_for_all(one.subject.flags) else ()
            for user in one.users:
                tried += 1
                if tried % _AT_A_STRETCH == 0:
                    await asyncio.sleep(0)
                sender = one.event["sender"]
                if sender == self._watched.get(user) or _is_unwanted(one.event, ignored[user]):
                    continue
                name, thread = names.get((one.subject.room, user)), one.subject.thread
                follows = None if thread is None else (user, thread) in followers
                around = Around(members, permitted, name, follows)
                outcome = evaluate(rulesets[user].rules, one.event, around, values)
                if outcome.notify:
                    found.append(_notice(user, one, outcome))
        return found

    async def _followers(
        self, happened: Iterable[_Happened], users: Collection[UserNid]
    ) -> Collection[tuple[UserNid, EventNid]]:
        """Who follows which of the threads in which something was said."""
        threads = {one.subject.thread for one in happened if one.subject.thread is not None}
        if not threads:
            return ()
        async with self._process.database.reader() as conn:
            return await thread_subscriptions.followers(conn, users, threads)

    async def _names(
        self, happened: Iterable[_Happened], rulesets: Mapping[UserNid, Ruleset]
    ) -> Mapping[Place, str]:
        """How users are called in the rooms, if their rules look at that."""
        asking = {
            user
            for user, ruleset in rulesets.items()
            if not ruleset.is_default and look_at_names(ruleset.rules)
        }
        places = {(one.subject.room, user) for one in happened for user in asking & {*one.users}}
        if not places:
            return {}
        async with self._process.database.reader() as conn:
            return await names_in(conn, places)


def readable(subject: Subject) -> dict[str, Any]:
    """An event as rules look at it."""
    event = orjson.loads(subject.json)
    shown = {key: event[key] for key in ("type", "sender", "content", "state_key") if key in event}
    return shown | {"room_id": subject.room_id, "event_id": subject.event_id}


def _is_unwanted(event: dict[str, Any], unwanted: Unwanted) -> bool:
    content, sender = event["content"], event["sender"]
    if event["type"] == "m.room.member" and content.get("membership") == "invite":
        return unwanted.hides(sender)
    return sender in unwanted.ignored


def _notice(user: UserNid, one: _Happened, outcome: Outcome) -> Notice:
    tweaks = orjson.dumps(dict(outcome.tweaks)) if outcome.tweaks else None
    return Notice(user, one.pos, one.subject.room, one.subject.event, tweaks)
