"""Whose messages those who come later are shown without content.

"Users which had visibility on those events prior to the erasure are still able to see unredacted
copies."

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate
"""

from collections.abc import Collection, Sequence

from homeserver.storage import accounts
from homeserver.storage.log import Entry, Kind
from homeserver.storage.numbers import UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process


class Erased:
    """People of this server who wanted to be erased, all of them in memory; follows the log."""

    def __init__(self, process: Process) -> None:
        self._names: set[str] = set()
        self._unsure: set[UserNid] = set()
        """Whose accounts changed since it was looked."""
        self._is_known = False
        process.tail.feed(self._apply)

    async def names(self, conn: Connection) -> Collection[str]:
        """Their user IDs; no query but where an account changed."""
        if not self._is_known or self._unsure:
            asked = self._unsure if self._is_known else None
            found = await accounts.who_are_erased(conn, asked)
            self._names |= found
            self._unsure -= asked or set()
            self._is_known = True
        return self._names

    def _apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if self._is_known and entry.kind == Kind.ACCOUNT and entry.user is not None:
                self._unsure.add(entry.user)
