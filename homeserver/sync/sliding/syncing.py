"""Simplified sliding sync.

https://github.com/matrix-org/matrix-spec-proposals/pull/4186
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from federation.canonical_json import JsonObject
from homeserver.errors import UnknownPos
from homeserver.rooms.ignoring import Ignoring
from homeserver.rooms.standings import Reader
from homeserver.storage.batch import Membership
from homeserver.storage.memberships import RoomOf
from homeserver.storage.numbers import RoomNid
from homeserver.storage.process import Process
from homeserver.storage.stream_tokens import StreamToken
from homeserver.sync.account import AccountSections
from homeserver.sync.activity import Activity
from homeserver.sync.sliding.connections import Connections
from homeserver.sync.sliding.due import Due, advanced, due, fallen_behind
from homeserver.sync.sliding.extensions import ExtensionSections, Moment, wanted_names
from homeserver.sync.sliding.lists import Lists, Windows
from homeserver.sync.sliding.members import KnownMembers
from homeserver.sync.sliding.personal import PersonalData
from homeserver.sync.sliding.positions import Position
from homeserver.sync.sliding.recency import Recency
from homeserver.sync.sliding.sections import Said, Sections
from homeserver.sync.sliding.wishes import Rules, SlidingToken, SlidingWish
from homeserver.sync.syncing import LONGEST_WAIT
from homeserver.sync.to_device import ToDevice
from homeserver.sync.user_rooms import UserRooms
from homeserver.sync.wishes import Wish

_REMEMBERED = 500_000
"""Rooms that the rules of connections selected last, at some 200 bytes each."""


class Parts(NamedTuple):
    """What sliding sync is put together from."""

    process: Process
    epoch: int
    activity: Activity
    user_rooms: UserRooms
    ignoring: Ignoring
    account: AccountSections
    to_device: ToDevice
    connections: Connections
    personal: PersonalData
    recency: Recency
    lists: Lists
    sections: Sections
    members: KnownMembers
    extensions: ExtensionSections
    stamp: Callable[[], int]
    """Milliseconds: now, for what is not in the log."""


class _Answer(NamedTuple):
    """What could be answered now."""

    body: JsonObject
    has_news: bool
    said: Said
    position: Position
    """What the connection was sent then."""
    pos: StreamToken


class _Selected(NamedTuple):
    """What the rules of a connection selected when it was last answered."""

    rules: Rules
    position: Position
    up_to: int
    windows: Windows

    @property
    def size(self) -> int:
        """In rooms."""
        return 1 + len(self.windows.matches)


class SlidingSync:
    """Answers it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._selected: OrderedDict[tuple[int, str], _Selected] = OrderedDict()
        self._used = 0

    async def sync(self, wish: SlidingWish, seconds: float, stopping: asyncio.Event) -> JsonObject:
        """What is new; if nothing is, what is new once something is, or time is over.

        Args:
            wish: who asks for what.
            seconds: how long to wait.
            stopping: ends the waiting.

        Raises:
            UnknownPos: the client has to begin anew.

        """
        parts, loop = self._parts, asyncio.get_running_loop()
        ends = loop.time() + min(seconds, LONGEST_WAIT)
        position = await self._begin(wish)
        while True:
            await parts.activity.catch_up(wish.after)
            await parts.process.tail.catch_up()
            # What is read later than this may be newer, and is told again then.
            rooms, up_to = await parts.user_rooms.caught_up(wish.who.user)
            answer = await self._answer(wish, position, rooms, up_to)
            left = ends - loop.time()
            is_over = left <= 0 or stopping.is_set()
            if is_over or wish.pos is None or answer.has_news:
                return await self._finished(wish, position, answer)
            waited = [room.room for room in rooms if room.membership is Membership.JOIN]
            await parts.activity.wait(wish.who.user, waited, up_to, left)
            if stopping.is_set():
                return await self._finished(wish, position, answer)

    async def _begin(self, wish: SlidingWish) -> Position:
        """What the connection was sent; what the client has got is noted."""
        parts, device = self._parts, wish.who.device
        position = await parts.connections.find(wish)
        await parts.activity.catch_up(wish.after)
        if wish.after > parts.activity.position:
            raise UnknownPos
        parts.members.begin(int(device), wish.conn_id, wish.pos.answer if wish.pos else None)
        asked = wish.extensions.to_device
        if asked and asked.since and asked.since.epoch == parts.epoch and asked.since.to_device:
            await parts.to_device.acknowledge(device, asked.since.to_device)
        return position

    async def _answer(
        self, wish: SlidingWish, position: Position, rooms: Sequence[RoomOf], up_to: int
    ) -> _Answer:
        parts, who, stamp = self._parts, wish.who, self._parts.stamp()
        reader = await parts.ignoring.reader(who)
        windows, dues = await self._dues(wish, position, rooms, reader)
        said = await parts.sections.read(wish, reader, dues, up_to)
        moment = Moment(rooms, windows, position, said, up_to, reader)
        told = await parts.extensions.read(wish, moment)
        missed = await self._missed(wish, position, rooms, windows, up_to)
        changes = {**fallen_behind(position, wish.after, missed), **said.sent}
        # Who wants an extension no more is told everything again when they do.
        after = advanced(position, changes, frozenset(wanted_names(wish)))
        if not windows.is_passing:
            self._remember(wish, _Selected(wish.rules, after, up_to, windows))
        body: JsonObject = {
            "lists": {name: {"count": count} for name, count in windows.counts.items()},
            "rooms": said.rooms,
            "extensions": told.sections,
        }
        since = wish.pos.stream.ephemeral if wish.pos else 0
        pos = StreamToken(parts.epoch, up_to, ephemeral=max(stamp, since))
        return _Answer(body, bool(said.rooms) or told.has_news, said, after, pos)

    async def _dues(
        self, wish: SlidingWish, position: Position, rooms: Sequence[RoomOf], reader: Reader
    ) -> tuple[Windows, list[Due]]:
        """What the rules select, and of which of it something has to be said."""
        parts, who = self._parts, wish.who
        if not (wish.rules.lists or wish.rules.subscriptions):
            return Windows(), []
        directs = (await parts.personal.of(who.user)).directs
        nids = [room.room for room in rooms]
        # What is new to the connection is said, whether it changed or not.
        changed = await parts.recency.changed(rooms, wish.after) if position.rooms else set()
        known = self._selected.get((int(who.device), wish.conn_id))
        if known and self._still_holds(known, wish, position, nids):
            # All else was said when it was selected.
            matches = {r: known.windows.matches[r] for r in changed & known.windows.matches.keys()}
            some = Windows(known.windows.counts, matches)
            return known.windows, due(some, position, wish.after, changed, directs)
        personal = await parts.personal.of(who.user)
        windows = await parts.lists.select(who, rooms, wish.rules, personal, position.rooms, reader)
        return windows, due(windows, position, wish.after, changed, directs)

    def _still_holds(
        self, known: _Selected, wish: SlidingWish, position: Position, nids: Collection[RoomNid]
    ) -> bool:
        """Whether the rules select what they did."""
        activity = self._parts.activity
        if known.position is not position or known.rules != wish.rules:
            return False
        if activity.user_changed(wish.who.user, known.up_to):
            return False
        return not activity.changed(nids, known.up_to)

    async def _missed(
        self,
        wish: SlidingWish,
        position: Position,
        rooms: Sequence[RoomOf],
        windows: Windows,
        up_to: int,
    ) -> set[RoomNid]:
        """Rooms that are not wanted now and in which something happened."""
        activity, after = self._parts.activity, wish.after
        others = position.rooms.keys() - windows.matches.keys()
        if not others:
            return set()
        hidden = [room for room in rooms if room.room in others]
        missed = await self._parts.recency.changed(hidden, after)
        if "receipts" in position.extensions:
            missed.update(activity.with_receipts(others, after))
        missed.update(room.room for room in hidden if room.pos > after)
        if "account_data" in position.extensions and wish.pos is not None:
            data = await self._parts.account.data(Wish(wish.who, wish.pos.stream), up_to)
            missed.update(datum.room for datum in data if datum.room in others)
        return missed

    async def _finished(self, wish: SlidingWish, before: Position, answer: _Answer) -> JsonObject:
        """With the token of what the connection was sent then."""
        parts, device = self._parts, int(wish.who.device)
        version = await parts.connections.store(wish, before, answer.position)
        name = 1 + secrets.randbelow(10**9)
        parts.members.note(device, wish.conn_id, name, answer.said.members)
        body = answer.body | {"pos": str(SlidingToken(answer.pos, version, name))}
        return body if wish.txn_id is None else body | {"txn_id": wish.txn_id}

    def _remember(self, wish: SlidingWish, selected: _Selected) -> None:
        key = (int(wish.who.device), wish.conn_id)
        before = self._selected.pop(key, None)
        self._used += selected.size - (before.size if before else 0)
        self._selected[key] = selected
        while self._used > _REMEMBERED and len(self._selected) > 1:
            _, gone = self._selected.popitem(last=False)
            self._used -= gone.size
