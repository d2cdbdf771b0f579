"""What somebody changed about the threads that they follow, the latest first.

https://github.com/matrix-org/matrix-spec-proposals/pull/4308
"""

from collections.abc import Iterable
from typing import NamedTuple

from federation.canonical_json import JsonObject
from homeserver.storage import thread_subscriptions
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process
from homeserver.storage.stream_tokens import StreamToken
from homeserver.storage.thread_subscriptions import Changed

MOST = 100
"""Threads of one page."""


class Page(NamedTuple):
    """Some changes."""

    sections: JsonObject
    """`subscribed` and `unsubscribed`, each where there is anything in it."""
    rest: StreamToken | None
    """From where earlier ones are read; `None`: there are none."""


class SubscriptionPages:
    """Reads them; `epoch` is of the installation."""

    def __init__(self, process: Process, epoch: int) -> None:
        self._process = process
        self._epoch = epoch

    async def page(self, user: UserNid, after: int, up_to: int, limit: int) -> Page:
        """The last changes after one position and not after another."""
        most = min(limit, MOST)
        async with self._process.database.reader() as conn:
            found = await thread_subscriptions.page(conn, user, after, up_to, most + 1)
        shown = found[:most]
        is_all = len(found) <= most
        rest = None if is_all else StreamToken(self._epoch, shown[-1].subscription.pos - 1)
        return Page(_sections(shown), rest)

    async def before(
        self, user: UserNid, start: StreamToken | None, to: StreamToken | None, limit: int
    ) -> Page:
        """The same between two tokens, of which each may be missing."""
        up_to = start.pos if start else self._process.clock.position
        return await self.page(user, to.pos if to else 0, up_to, limit)


def _sections(changes: Iterable[Changed]) -> JsonObject:
    found: JsonObject = {}
    for room_id, root, (subscribed, automatic, pos) in changes:
        name = "subscribed" if subscribed else "unsubscribed"
        told = {"automatic": automatic} if subscribed else {}
        threads = found.setdefault(name, {}).setdefault(str(room_id), {})
        threads[str(root)] = told | {"bump_stamp": pos}
    return found
