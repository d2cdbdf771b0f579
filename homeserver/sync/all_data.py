"""All account data of somebody, read once while nothing of it changes.

https://spec.matrix.org/v1.19/client-server-api/#client-config
"""

from collections import OrderedDict
from collections.abc import Sequence

from homeserver.storage import account_data
from homeserver.storage.account_data import Datum
from homeserver.storage.log import Entry, Kind
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process

_MOST_BYTES = 8_000_000
_LARGEST_SHARE = 16
"""Of whom it takes more than this part of that, nothing is kept."""
_DATUM = 200
"""Bytes of one beside its content, about."""


class AllData:
    """Reads it; follows the log."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._kept: OrderedDict[UserNid, tuple[list[Datum], int]] = OrderedDict()
        self._used = 0
        self._drops = 0
        """Counts what changed, so that nothing older is kept after it."""
        process.tail.feed(self._apply)

    async def of(self, user: UserNid) -> list[Datum]:
        """What the user has; the caller has caught up with the log."""
        if user in self._kept:
            self._kept.move_to_end(user)
            return self._kept[user][0]
        drops = self._drops
        async with self._process.database.reader() as conn:
            found = await account_data.read(conn, user)
        if drops == self._drops:
            self._keep(user, found)
        return found

    def _keep(self, user: UserNid, data: list[Datum]) -> None:
        size = sum(_DATUM + len(datum.content or b"") for datum in data)
        if user in self._kept or size > _MOST_BYTES // _LARGEST_SHARE:
            return
        self._kept[user] = data, size
        self._used += size
        while self._used > _MOST_BYTES:
            self._used -= self._kept.popitem(last=False)[1][1]

    def _apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.kind == Kind.ACCOUNT_DATA and entry.user is not None:
                self._drops += 1
                _, size = self._kept.pop(entry.user, ([], 0))
                self._used -= size
