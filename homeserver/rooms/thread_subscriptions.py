"""Following threads, and giving them up.

https://github.com/matrix-org/matrix-spec-proposals/pull/4306
"""

from federation.identifiers import EventID, RoomID
from homeserver.errors import ConflictingUnsubscription, Forbidden, NotFound, NotInThread
from homeserver.rooms.access import Access
from homeserver.rooms.history import Pages
from homeserver.rooms.standings import Reader
from homeserver.rooms.threads import root_of
from homeserver.storage import history, thread_subscriptions
from homeserver.storage.history import Placed
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process
from homeserver.storage.stream_tokens import ORDER_BITS
from homeserver.storage.thread_subscriptions import Subscription


class ThreadSubscriptions:
    """Those of all users.

    Args:
        process: the one that this is part of.
        access: says how far somebody may look.
        pages: finds an event.

    """

    def __init__(self, process: Process, access: Access, pages: Pages) -> None:
        self._process = process
        self._access = access
        self._pages = pages

    async def get(self, reader: Reader, room_id: RoomID, root_id: EventID) -> Subscription:
        """What the reader chose for a thread that they follow.

        Raises:
            NotFound: they do not, or there is no such thread that they may see.

        """
        async with self._process.database.reader() as conn:
            root = await self._root(conn, reader, room_id, root_id)
            found = await thread_subscriptions.find(conn, reader.user, root.nid)
        if found is None or not found.subscribed:
            raise NotFound("you do not follow this thread")
        return found

    async def subscribe(
        self, reader: Reader, room_id: RoomID, root_id: EventID, cause_id: EventID | None
    ) -> None:
        """Follow a thread.

        Args:
            reader: who.
            room_id: of the thread.
            root_id: the thread's root.
            cause_id: for which event a client does so of itself; `None`: the reader wants it.

        Raises:
            NotFound: there is no such thread that they may see.
            NotInThread: the cause is not in it.
            ConflictingUnsubscription: the thread was given up after the cause.

        """
        async with self._process.database.reader() as conn:
            root = await self._root(conn, reader, room_id, root_id)
            cause = None
            if cause_id is not None:
                cause = _position(await self._cause(conn, root, cause_id))
            before = await thread_subscriptions.find(conn, reader.user, root.nid)
            if before is not None and _is_enough(before, cause):
                return
            pos = await thread_subscriptions.subscribe(
                conn, reader.user, root.room, root.nid, cause
            )
            if pos is None and cause is not None:
                now = await thread_subscriptions.find(conn, reader.user, root.nid)
                if now is None or not now.subscribed:
                    raise ConflictingUnsubscription
        self._process.committed(pos)

    async def unsubscribe(self, reader: Reader, room_id: RoomID, root_id: EventID) -> None:
        """Give a thread up, whether it was followed or not.

        Raises:
            NotFound: there is no such thread that the reader may see.

        """
        async with self._process.database.reader() as conn:
            root = await self._root(conn, reader, room_id, root_id)
            before = await thread_subscriptions.find(conn, reader.user, root.nid)
            if before is not None and not before.subscribed:
                return
            pos = await thread_subscriptions.unsubscribe(conn, reader.user, root.room, root.nid)
        self._process.committed(pos)

    async def _root(
        self, conn: Connection, reader: Reader, room_id: RoomID, root_id: EventID
    ) -> Placed:
        try:
            reach = await self._access.reach(conn, reader, room_id)
        except Forbidden as error:
            raise NotFound("there is no such thread here") from error
        return await self._pages.get(conn, reader, reach, root_id)

    async def _cause(self, conn: Connection, root: Placed, cause_id: EventID) -> Placed:
        cause = await history.by_id(conn, root.room, cause_id)
        if cause is None or root_of(cause.event) != root.event.event_id:
            raise NotInThread
        return cause


def _position(event: Placed) -> int:
    """When the event came; history did before all that is live."""
    return 0 if event.order is None else max(0, event.order >> ORDER_BITS)


def _is_enough(before: Subscription, cause: int | None) -> bool:
    """Whether the thread is followed as it is to be."""
    return before.subscribed and (cause is not None or not before.automatic)
