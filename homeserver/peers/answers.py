"""What other servers were answered when they sent a transaction.

https://spec.matrix.org/v1.19/server-server-api/#transactions
"""

from collections import OrderedDict

from federation.identifiers import ServerName
from homeserver.storage import answered
from homeserver.storage.process import Process

TRIMMED_AFTER = 1 << 20
"""Bytes that a process adds before it looks whether there are too many."""
_MOST_RECALLED = 1000
_MOST_RECALLED_BYTES = 10_000


class Answers:
    """Keeps them, as far as they are few.

    Args:
        process: the one that this is part of.

    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._added = 0
        self._last: OrderedDict[ServerName, tuple[str, bytes]] = OrderedDict()
        """What a server was answered last, by this process."""

    def recall(self, origin: ServerName, txn_id: str) -> bytes | None:
        """What a transaction was answered, if it was the last of its server here."""
        last, answer = self._last.get(origin, ("", b""))
        return answer if last == txn_id and answer else None

    async def find(self, origin: ServerName, txn_id: str) -> bytes | None:
        """What a transaction was answered before, by whatever process."""
        async with self._process.database.reader() as conn:
            return await answered.find(conn, origin, txn_id)

    async def keep(self, origin: ServerName, txn_id: str, answer: bytes) -> None:
        """Keep what a transaction was answered; older answers make place."""
        now = self._process.now()
        async with self._process.database.reader() as conn:
            self._added += await answered.keep(conn, origin, txn_id, answer, now)
            if self._added >= TRIMMED_AFTER:
                self._added = 0
                await answered.trim(conn, now)
        self.remember(origin, txn_id, answer)

    def remember(self, origin: ServerName, txn_id: str, answer: bytes) -> None:
        """Remember what a transaction was answered, for when it comes again at once."""
        if len(answer) <= _MOST_RECALLED_BYTES:
            self._last[origin] = txn_id, answer
            self._last.move_to_end(origin)
            if len(self._last) > _MOST_RECALLED:
                self._last.popitem(last=False)
