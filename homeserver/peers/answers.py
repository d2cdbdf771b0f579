"""What other servers were answered when they sent a transaction.

https://spec.matrix.org/v1.19/server-server-api/#transactions
"""

from federation.identifiers import ServerName
from homeserver.storage import answered
from homeserver.storage.process import Process

TRIMMED_AFTER = 1 << 20
"""Bytes that a process adds before it looks whether there are too many."""


class Answers:
    """Keeps them, as far as they are few.

    Args:
        process: the one that this is part of.

    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._added = 0

    async def find(self, origin: ServerName, txn_id: str) -> bytes | None:
        """What a transaction was answered before."""
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
