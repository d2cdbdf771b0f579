"""Telling push gateways: what waits for a pusher goes out in order, one after the other.

Each pusher has a task of its own while something waits for it, so none waits for the gateway of
another. What was not answered is repeated; the gateway knows by the event's ID what it was told.

https://spec.matrix.org/v1.19/push-gateway-api/#homeserver-behaviour
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any

import orjson

from federation.canonical_json import JsonObject
from federation.errors import FederationError, HttpError
from federation.identifiers import UserID
from homeserver.config.settings import Push
from homeserver.ending import end
from homeserver.logs import get_logger
from homeserver.push import gateways, notifications
from homeserver.push.gateways import Post
from homeserver.push.notifications import Around
from homeserver.push.selecting import readable
from homeserver.storage import public_rooms, push_queue, pushers
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.process import DAY, Process
from homeserver.storage.push_queue import Subject, Waiting
from homeserver.storage.pushers import Pusher, PusherNid

log = get_logger(__name__)

_MOST = 100
"""In the queue of one pusher: nobody looks at more."""
_STANDS_STILL = 30.0
"""Seconds, after what nobody foresaw."""
LASTS = DAY
"""Milliseconds after which nobody need be told any more."""

CountUnread = Callable[[UserNid, UserID], Awaitable[int]]
"""How much somebody has not read, as the number on an icon."""


class Delivering:
    """Has a task for each pusher that is to tell something.

    Args:
        process: the one that this is part of.
        post: the way to gateways.
        count: how much users have not read.
        settings: the section `push`.

    """

    def __init__(self, process: Process, post: Post, count: CountUnread, settings: Push) -> None:
        self._process = process
        self._post = post
        self._count = count
        self._settings = settings
        self._tasks: dict[PusherNid, asyncio.Task[None]] = {}
        self._more: dict[PusherNid, asyncio.Event] = {}
        self._is_open = False

    def begin(self) -> None:
        """From now on there is something to do."""
        self._is_open = True

    def wake(self, waiting: Iterable[PusherNid]) -> None:
        """There is, or may be, something to tell for these pushers."""
        for nid in waiting if self._is_open else ():
            self._more.setdefault(nid, asyncio.Event()).set()
            if nid not in self._tasks:
                self._tasks[nid] = asyncio.create_task(self._serve(nid))
                self._tasks[nid].add_done_callback(partial(self._ended, nid))

    async def end(self) -> None:
        """Leave everything as it is; somebody else goes on."""
        self._is_open = False
        await end(*self._tasks.values())

    def _ended(self, nid: PusherNid, task: "asyncio.Task[None]") -> None:
        del self._tasks[nid]
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("a pusher stands still", kind=type(error).__name__)
            asyncio.get_running_loop().call_later(_STANDS_STILL, self.wake, [nid])
        if self._more.pop(nid).is_set() and error is None:
            self.wake([nid])

    async def _serve(self, nid: PusherNid) -> None:
        """Tell until nothing waits."""
        more = self._more[nid]
        is_late = False
        while True:
            more.clear()
            async with self._process.database.reader() as conn:
                pusher = await pushers.find(conn, nid)
            if pusher is None:
                return
            is_late = is_late or pusher.pause > 0
            wait = pusher.retry_ts - self._process.now()
            if wait > 0:
                # Whoever sets the pusher anew ends the pause.
                await _until(more, wait / 1000)
                continue
            waiting = await self._next(pusher, is_late=is_late)
            if waiting is not None:
                await self._try(pusher, waiting)
            elif not more.is_set():
                return

    async def _next(self, pusher: Pusher, *, is_late: bool) -> Waiting | None:
        async with self._process.database.reader() as conn:
            if is_late:
                before = self._process.now() - LASTS
                await push_queue.drop_old(conn, pusher.nid, before, _MOST)
            return await push_queue.first(conn, pusher.nid, pusher.user)

    async def _try(self, pusher: Pusher, waiting: Waiting) -> None:
        try:
            rejected, unread = await self._tell(pusher, waiting)
        except FederationError as error:
            await self._failed(pusher, error)
            return
        async with self._process.database.reader() as conn:
            if pusher.pushkey in rejected:
                gone = await pushers.delete(conn, pusher.user, pusher.app_id, pusher.pushkey)
                self._process.committed(gone)
                log.info("a push gateway rejected a key")
            elif unread is None:
                await push_queue.skip(conn, pusher.nid, waiting.pos)
            else:
                await push_queue.finish(conn, pusher.nid, waiting.pos, unread)

    async def _tell(self, pusher: Pusher, waiting: Waiting) -> tuple[frozenset[str], int | None]:
        """Tell what waits, if it is still worth it: the keys that are rejected, and the count."""
        notification: JsonObject | None = None
        if waiting.event is not None and waiting.room is not None:
            subject = None if waiting.is_read else await self._subject(pusher, waiting)
            if subject is None:
                return frozenset(), None
            unread = await self._count(pusher.user, pusher.user_id)
            notification = await self._of_event(pusher, waiting, subject, unread)
        elif notifications.counts_itself(pusher):
            return frozenset(), None
        else:
            unread = await self._count(pusher.user, pusher.user_id)
            if unread == pusher.unread:
                return frozenset(), None
            notification = notifications.of_count(pusher, unread)
        url = notifications.url_of(pusher)
        return await gateways.notify(self._post, url, notification), unread

    async def _subject(self, pusher: Pusher, waiting: Waiting) -> Subject | None:
        """The event, if nobody took it back."""
        if waiting.event is None or waiting.room is None:
            return None
        place = (waiting.room, pusher.user)
        async with self._process.database.reader() as conn:
            found = (await push_queue.subjects(conn, [waiting.event])).get(waiting.event)
            return found or (await push_queue.invitations(conn, [place])).get(place)

    async def _of_event(
        self, pusher: Pusher, waiting: Waiting, subject: Subject, unread: int
    ) -> JsonObject:
        event = readable(subject)
        tweaks = orjson.loads(waiting.tweaks) if waiting.tweaks else {}
        around = None
        if self._settings.include_content and notifications.wants_content(pusher):
            async with self._process.database.reader() as conn:
                around = await self._around(conn, subject.room, event)
        return notifications.of_event(pusher, event, tweaks, unread, around)

    async def _around(self, conn: Connection, room: RoomNid, event: Mapping[str, Any]) -> Around:
        """What the room and the sender are called."""
        wanted = {
            "room_name": ("m.room.name", ""),
            "room_alias": ("m.room.canonical_alias", ""),
            "sender": ("m.room.member", event["sender"]),
        }
        keys = await self._process.numbers.state_keys.find(conn, list(wanted.values()))
        state = (await public_rooms.states(conn, [room], list(keys.values())))[room]
        contents = {
            what: state[key].content if key in state else {} for what, key in wanted.items()
        }
        return Around(
            _text(contents["sender"].get("displayname")),
            _text(contents["room_name"].get("name")),
            _text(contents["room_alias"].get("alias")),
        )

    async def _failed(self, pusher: Pusher, error: FederationError) -> None:
        """Leave the gateway alone for longer than last time."""
        least = self._settings.retry_minimum.milliseconds
        most = self._settings.retry_maximum.milliseconds
        gone = isinstance(error, HttpError) and error.status == 410
        pause = most if gone else min(max(pusher.pause * 2, least), most)
        async with self._process.database.reader() as conn:
            await pushers.fail(conn, pusher.nid, pause, self._process.now() + pause)
        log.debug("a push gateway does not answer", reason=str(error), pause=pause)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


async def _until(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
