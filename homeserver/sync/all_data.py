"""All account data of somebody, read once while nothing of it changes.

https://spec.matrix.org/v1.19/client-server-api/#client-config
"""

from collections.abc import Sequence

from homeserver.storage import account_data
from homeserver.storage.account_data import Datum
from homeserver.storage.log import Entry, Kind
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process
from homeserver.sync.remembered import Remembered

_MOST_BYTES = 8_000_000
_USER = 100
_DATUM = 200
"""Bytes beside the contents, about."""


class AllData:
    """Reads it; follows the log."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._known: Remembered[UserNid, Sequence[Datum]] = Remembered(_MOST_BYTES, _size)
        process.tail.feed(self._apply)

    async def of(self, user: UserNid) -> Sequence[Datum]:
        """What the user has; the caller has caught up with the log."""

        async def read() -> Sequence[Datum]:
            async with self._process.database.reader() as conn:
                return await account_data.read(conn, user)

        return await self._known.of(user, read)

    def _apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.kind == Kind.ACCOUNT_DATA and entry.user is not None:
                self._known.drop(entry.user)


def _size(data: Sequence[Datum]) -> int:
    return _USER + sum(_DATUM + len(datum.content or b"") for datum in data)
