"""Who is typing where, for as long as they do: nothing of it is stored.

Every process knows it all, told by the one that was asked. A change is stamped by the teller's
clock, but never earlier than what was heard before it; the latest stamp goes into sync tokens.

https://spec.matrix.org/v1.19/client-server-api/#typing-notifications
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import NamedTuple

from federation.canonical_json import JsonObject
from federation.errors import IdentifierError
from federation.identifiers import (
    RoomID,
    ServerName,
    UserID,
    domain_of,
    parse_room_id,
    parse_user_id,
)
from homeserver.ending import Errands
from homeserver.rooms.access import Access
from homeserver.rooms.standings import Reader
from homeserver.storage import receipts
from homeserver.storage.bus import Bus, Message
from homeserver.storage.log import Entry
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import DatabaseError
from homeserver.storage.process import Process

KIND = "typing"
"""Of the messages between processes."""
LONGEST = 30_000
"""Milliseconds for which somebody counts as typing without saying so again."""
LONGEST_REMOTE = 60_000
"""The same for users of other servers, which repeat it as often as they please."""
MOST = 100
"""People who are shown typing in one room."""
_MOST_ROOMS = 20_000

Changed = Callable[[RoomNid], None]


class _Said(NamedTuple):
    """That somebody types, or with `until` of the past, does not any more."""

    room: RoomNid
    user_id: UserID
    until: int
    """Milliseconds since the epoch."""
    stamp: int


class _Alarm(NamedTuple):
    rings: int
    """Milliseconds since the epoch."""
    timer: asyncio.TimerHandle


class Typing:
    """Who is typing, as this process knows it.

    Args:
        process: this one.
        bus: to the others.
        access: says who is in a room.

    """

    def __init__(self, process: Process, bus: Bus, access: Access) -> None:
        self._process = process
        self._bus = bus
        self._access = access
        self._typing: dict[RoomNid, dict[UserID, int]] = {}
        self._changed: dict[RoomNid, int] = {}
        self._listeners: list[Changed] = []
        self._alarm: _Alarm | None = None
        self._errands = Errands(DatabaseError)
        self.latest = process.now()
        """The stamp of the last change: goes into tokens."""
        bus.hear(KIND, self._hear)

    def on_change(self, changed: Changed) -> None:
        """Call back with each room where somebody begins or ends."""
        self._listeners.append(changed)

    def now(self, room: RoomNid) -> list[UserID]:
        """Who is typing in a room."""
        users = list(self._typing.get(room, ()))
        if len(users) > MOST:
            users.sort(key=lambda user: domain_of(user) != self._process.server)
        return sorted(users[:MOST])

    def since(self, rooms: Iterable[RoomNid], stamp: int) -> dict[RoomNid, list[UserID]]:
        """Who is typing in those of the rooms where that changed after a stamp.

        Of what ended before the first look, with stamp 0, nothing is said.
        """
        found = {}
        for room in self._changed.keys() & rooms if self._changed else ():
            users = self.now(room)
            if self._changed[room] > stamp and (users or stamp):
                found[room] = users
        return found

    async def set(self, reader: Reader, room_id: RoomID, milliseconds: int | None) -> None:
        """Somebody of this server types for so long, or with `None` ends it.

        Raises:
            Forbidden: they are not in the room.

        """
        async with self._process.database.reader() as conn:
            standing = await self._access.joined(conn, reader, room_id)
            found = await receipts.servers_in(conn, [standing.room], self._process.server)
        now = self._process.now()
        until = 0 if milliseconds is None else now + min(milliseconds, LONGEST)
        self._say(standing.room, reader.user_id, until)
        servers = list(found.get(standing.room, ()))
        if servers:
            content = {"room_id": room_id, "user_id": reader.user_id, "typing": until > now}
            message = {"servers": servers, "type": "m.typing", "content": content}
            self._bus.tell("edu", message)

    def follow(self, entries: Iterable[Entry]) -> None:
        """Rows of the log: who leaves a room types there no more."""
        moved = {entry.room for entry in entries if entry.user is not None and entry.room}
        for room in moved & self._typing.keys():
            self._errands.run(self._end_absent(room))

    async def _end_absent(self, room: RoomNid) -> None:
        async with self._process.database.reader() as conn:
            typing = list(self._typing.get(room, ()))
            nids = await self._process.numbers.users.find(conn, typing)
            joined = await receipts.are_joined(conn, [(room, nid) for nid in nids.values()])
        for user_id in typing:
            if (room, nids.get(user_id)) not in joined and user_id in self._typing.get(room, ()):
                self._forget(room, user_id)
                self._mark(room, self._process.now())

    async def receive(self, origin: ServerName, *contents: JsonObject) -> None:
        """Take what another server tells in `m.typing`; what is wrong is passed over.

        Args:
            origin: the server, which speaks for its own users only.
            contents: of EDUs in their order, about rooms that are open to the server.

        """
        parsed = [told for content in contents if (told := parse(content, origin))]
        latest = {(told.room_id, told.user_id): told.typing for told in parsed}
        if not latest:
            return
        numbers = self._process.numbers
        async with self._process.database.reader() as conn:
            rooms = await numbers.rooms.find(conn, {room_id for room_id, _ in latest})
            users = await numbers.users.find(conn, {user_id for _, user_id in latest})
            pairs = {
                (rooms[room_id], users[user_id]): (user_id, typing)
                for (room_id, user_id), typing in latest.items()
                if room_id in rooms and user_id in users
            }
            joined = await receipts.are_joined(conn, list(pairs)) if pairs else set()
        now = self._process.now()
        for room, user in joined:
            user_id, typing = pairs[(room, user)]
            if self._is_news(room, user_id, now, typing=typing):
                self._say(room, user_id, now + LONGEST_REMOTE if typing else 0)

    def _is_news(self, room: RoomNid, user_id: UserID, now: int, *, typing: bool) -> bool:
        """Whether it changes anything that is worth telling other processes."""
        until = self._typing.get(room, {}).get(user_id)
        if until is None:
            return typing
        return not typing or until < now + LONGEST_REMOTE // 2

    def _say(self, room: RoomNid, user_id: UserID, until: int) -> None:
        stamp = max(self._process.now(), self.latest + 1)
        self._bus.tell(KIND, _Said(room, user_id, until, stamp)._asdict())

    def _hear(self, message: Message) -> None:
        said = _Said(**message)
        was_typing = said.user_id in self._typing.get(said.room, ())
        is_typing = said.until > self._process.now() and (was_typing or self._has_place(said))
        if is_typing:
            self._typing.setdefault(said.room, {})[said.user_id] = said.until
            self._wind(said.until)
        elif was_typing:
            self._forget(said.room, said.user_id)
        if was_typing != is_typing:
            self._mark(said.room, said.stamp)

    def _has_place(self, said: _Said) -> bool:
        """People here always have; whom other servers tell of, as long as there is any."""
        if domain_of(said.user_id) == self._process.server:
            return True
        if said.room in self._typing:
            return len(self._typing[said.room]) < MOST
        return len(self._typing) < _MOST_ROOMS

    def _forget(self, room: RoomNid, user_id: UserID) -> None:
        users = self._typing[room]
        del users[user_id]
        if not users:
            del self._typing[room]

    def _mark(self, room: RoomNid, stamp: int) -> None:
        self.latest = max(stamp, self.latest + 1)
        self._changed.pop(room, None)
        self._changed[room] = self.latest
        while len(self._changed) > _MOST_ROOMS:
            del self._changed[next(iter(self._changed))]
        for changed in self._listeners:
            changed(room)

    def expire(self) -> None:
        """End what has not been repeated in time."""
        now = self._process.now()
        late = [
            (room, user_id)
            for room, users in self._typing.items()
            for user_id, until in users.items()
            if until <= now
        ]
        for room, user_id in late:
            self._forget(room, user_id)
        for room in dict.fromkeys(room for room, _ in late):
            self._mark(room, now)
        self._alarm = None
        ends = [until for users in self._typing.values() for until in users.values()]
        if ends:
            self._wind(min(ends))

    def _wind(self, until: int) -> None:
        """Ring when the first of all will be late."""
        if self._alarm is not None and self._alarm.rings <= until:
            return
        if self._alarm is not None:
            self._alarm.timer.cancel()
        seconds = max(0, until - self._process.now()) / 1000
        timer = asyncio.get_running_loop().call_later(seconds, self.expire)
        self._alarm = _Alarm(until, timer)


class Told(NamedTuple):
    """What another server says of one of its users."""

    room_id: RoomID
    user_id: UserID
    typing: bool


def parse(content: JsonObject, origin: ServerName) -> Told | None:
    """The content of an `m.typing` EDU; `None`: it is none, or of somebody else's user.

    https://spec.matrix.org/v1.19/server-server-api/#typing-notifications
    """
    room_id, user_id, typing = (content.get(key) for key in ("room_id", "user_id", "typing"))
    if not (isinstance(room_id, str) and isinstance(user_id, str) and isinstance(typing, bool)):
        return None
    try:
        told = Told(parse_room_id(room_id), parse_user_id(user_id), typing)
    except IdentifierError:
        return None
    return told if domain_of(told.user_id) == origin else None
