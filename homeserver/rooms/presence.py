"""Who is online: known for the moment, and only where the settings allow it at all.

Every process knows it all, told by the one that was asked; stamps are as in `typing`.

https://spec.matrix.org/v1.19/client-server-api/#presence
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Literal, NamedTuple

from federation.canonical_json import JsonObject
from federation.errors import IdentifierError
from federation.identifiers import ServerName, UserID, domain_of, parse_user_id
from homeserver.errors import Forbidden
from homeserver.rooms.standings import Reader
from homeserver.storage import standings
from homeserver.storage.bus import Bus, Message
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process

KIND = "presence"
"""Of the messages between processes."""
GONE_AFTER = 60_000
"""Milliseconds without a sign after which somebody of this server counts as offline."""
LONGEST_STATUS = 1000
"""Characters."""
_TELL_EVERY = 25_000
"""Milliseconds between signs of life that the other processes are told of."""
_MOST = 50_000
"""People that are known of."""
_MOST_IN_EDU = 100
_MOST_AT_ONCE = 1000
"""People that one transaction of another server tells of."""

Word = Literal["online", "unavailable", "offline"]
_WORDS: dict[object, Word] = {
    "online": "online",
    "unavailable": "unavailable",
    "offline": "offline",
}

Changed = Callable[[UserID], None]


class State(NamedTuple):
    """What is known of one user."""

    user_id: UserID
    presence: Word
    status_msg: str | None
    active: int
    """When they last did something: milliseconds since the epoch."""
    seen: int
    """When there was the last sign of them."""
    stamp: int


class Presence:
    """Who is online, as this process knows it.

    Args:
        process: this one.
        bus: to the others.
        enabled: by the settings; otherwise everybody is offline.
        idle_after: milliseconds after which who does nothing is `unavailable`.

    """

    def __init__(self, process: Process, bus: Bus, *, enabled: bool, idle_after: int) -> None:
        self._process = process
        self._bus = bus
        self.enabled = enabled
        self._idle_after = idle_after
        self._states: OrderedDict[UserID, State] = OrderedDict()
        self._listeners: list[Changed] = []
        self._timer: asyncio.TimerHandle | None = None
        self.latest = process.now()
        """The stamp of the last change: goes into tokens."""
        bus.hear(KIND, self._hear)

    def on_change(self, changed: Changed) -> None:
        """Call back with each user whose presence changes."""
        self._listeners.append(changed)

    def since(self, users: Iterable[UserID], stamp: int) -> list[JsonObject]:
        """An `m.presence` event for each of the users whose presence changed after a stamp."""
        found = [self._states[user] for user in users if user in self._states]
        return [
            {"type": "m.presence", "sender": state.user_id, "content": self._content(state)}
            for state in found
            if state.stamp > stamp
        ]

    def changed_after(self, stamp: int) -> list[UserID]:
        """Whose presence changed after a stamp, the latest first."""
        found = []
        for user, state in reversed(self._states.items()):
            if state.stamp <= stamp:
                break
            found.append(user)
        return found

    async def get(self, reader: Reader, user_id: UserID) -> JsonObject:
        """What the reader may know of a user.

        Raises:
            Forbidden: nothing, as they share no room.

        """
        if user_id != reader.user_id and self.enabled:
            async with self._process.database.reader() as conn:
                users = await self._process.numbers.users.find(conn, [user_id])
                other = users.get(user_id)
                if other is None or not await standings.share_a_room(conn, reader.user, other):
                    raise Forbidden("you share no room with them")
        state = self._states.get(user_id)
        return self._content(state) if state and self.enabled else {"presence": "offline"}

    async def set(self, reader: Reader, presence: Word, status_msg: str | None) -> None:
        """Somebody of this server says what they are."""
        if not self.enabled:
            return
        now = self._process.now()
        told = self._say(reader.user_id, presence, status_msg, active=now, seen=now)
        async with self._process.database.reader() as conn:
            await self._tell_servers(conn, reader, told)

    async def seen(self, reader: Reader, presence: Word) -> None:
        """There was a sign of somebody: a sync, with the presence that it sets."""
        if not self.enabled:
            return
        now = self._process.now()
        old = self._states.get(reader.user_id)
        if old and old.presence == presence and now - old.seen < _TELL_EVERY:
            return
        active = now if presence == "online" or old is None else old.active
        status = old.status_msg if old else None
        told = self._say(reader.user_id, presence, status, active=active, seen=now)
        if old is None or old.presence != presence:
            async with self._process.database.reader() as conn:
                await self._tell_servers(conn, reader, told)

    async def receive(self, origin: ServerName, *contents: JsonObject) -> None:
        """Take what another server tells in `m.presence`; what is wrong in it is passed over.

        https://spec.matrix.org/v1.19/server-server-api/#presence
        """
        now = self._process.now()
        every = (state for content in contents for state in parse(content, origin, now))
        latest = {state.user_id: state for state in islice(every, _MOST_AT_ONCE)}
        told = {user: state for user, state in latest.items() if self._is_news(state)}
        if not told or not self.enabled:
            return
        # Of people who never were in a room of ours nobody here wants to know.
        async with self._process.database.reader() as conn:
            known = await self._process.numbers.users.find(conn, told)
        for state in (told[user_id] for user_id in told if user_id in known):
            self._say(
                state.user_id,
                state.presence,
                state.status_msg,
                active=state.active,
                seen=state.seen,
            )

    def _is_news(self, told: State) -> bool:
        """Whether it says more than that what is known is still so."""
        known = self._states.get(told.user_id)
        return known is None or known[1:3] != told[1:3] or told.seen - known.seen >= _TELL_EVERY

    async def _tell_servers(self, conn: Connection, reader: Reader, state: State) -> None:
        servers = await standings.servers_with(conn, reader.user, self._process.server)
        if servers:
            push = {"user_id": state.user_id, **self._content(state)}
            message = {"servers": servers, "type": "m.presence", "content": {"push": [push]}}
            self._bus.tell("edu", message)

    def _content(self, state: State) -> JsonObject:
        now = self._process.now()
        content: JsonObject = {"presence": state.presence}
        if state.presence != "offline":
            content["last_active_ago"] = max(0, now - state.active)
            content["currently_active"] = self._is_active(state, now)
        if state.status_msg is not None:
            content["status_msg"] = state.status_msg
        return content

    def _is_active(self, state: State, now: int) -> bool:
        return state.presence == "online" and now - state.active < self._idle_after

    def _say(
        self, user_id: UserID, presence: Word, status_msg: str | None, *, active: int, seen: int
    ) -> State:
        stamp = max(self._process.now(), self.latest + 1)
        state = State(user_id, presence, status_msg, active, seen, stamp)
        self._bus.tell(KIND, state._asdict())
        return state

    def _hear(self, message: Message) -> None:
        self._put(State(**message))
        if self._timer is None:
            self._wind()

    def _put(self, new: State) -> None:
        old = self._states.get(new.user_id)
        same = old is not None and old[1:3] == new[1:3]
        if not same:  # what changes goes to the end, so that all are in the order of their stamps
            self._states.pop(new.user_id, None)
        self.latest = max(new.stamp, self.latest + (not same))
        stamp = old.stamp if same and old else self.latest
        self._states[new.user_id] = new._replace(stamp=stamp)
        while len(self._states) > _MOST:
            self._states.popitem(last=False)
        for changed in self._listeners if not same else ():
            changed(new.user_id)

    def expire(self) -> None:
        """Let those be idle who do nothing, and those offline of whom there is no sign."""
        now = self._process.now()
        for state in list(self._states.values()):
            if state.presence == "offline":
                continue
            if domain_of(state.user_id) == self._process.server and now - state.seen > GONE_AFTER:
                self._put(state._replace(presence="offline", stamp=now))
            elif state.presence == "online" and not self._is_active(state, now):
                self._put(state._replace(presence="unavailable", stamp=now))
        self._timer = None
        if any(state.presence != "offline" for state in self._states.values()):
            self._wind()

    def _wind(self) -> None:
        seconds = min(GONE_AFTER, self._idle_after) / 4000
        self._timer = asyncio.get_running_loop().call_later(seconds, self.expire)


def parse(content: JsonObject, origin: ServerName, now: int) -> Iterator[State]:
    """What an `m.presence` EDU says of users of `origin`; without what is none."""
    pushed = content.get("push")
    for told in pushed[:_MOST_IN_EDU] if isinstance(pushed, list) else ():
        state = _state(told, now) if isinstance(told, dict) else None
        if state is not None and domain_of(state.user_id) == origin:
            yield state


def _state(told: dict[str, Any], now: int) -> State | None:
    word, status, ago = (told.get(k) for k in ("presence", "status_msg", "last_active_ago"))
    presence = _WORDS.get(word) if isinstance(word, str) else None
    if presence is None:
        return None
    try:
        user_id = parse_user_id(str(told.get("user_id")))
    except IdentifierError:
        return None
    text = status[:LONGEST_STATUS] if isinstance(status, str) else None
    active = now - ago if type(ago) is int and 0 <= ago <= now else now
    return State(user_id, presence, text, active, now, 0)
