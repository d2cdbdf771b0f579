"""What the processes of a server tell each other without keeping it: typing, presence.

Nothing here is stored, and nothing touches the clock. `NOTIFY` carries it to all processes; what
one tells, it hears itself too, at once. Messages of a moment go out together, in pieces that
PostgreSQL takes.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Any

import orjson

from homeserver.storage.clock import Listener

CHANNEL = "bus"
_MOST_BYTES = 7000
"""Of one notification; PostgreSQL takes less than 8000."""
_MOST_WAITING = 10_000
"""Messages that are kept while there is no connection; older ones have lost their meaning."""

Message = dict[str, Any]
Hear = Callable[[Message], None]


class Bus:
    """One process's end of it. `run` has to run for others to hear and be heard."""

    def __init__(self) -> None:
        self._me = os.urandom(8).hex()
        self._hearers: dict[str, list[Hear]] = {}
        self._waiting: list[bytes] = []
        self._filled = asyncio.Event()

    def hear(self, kind: str, hear: Hear) -> None:
        """Call back with each message of the kind, in the order of each teller."""
        self._hearers.setdefault(kind, []).append(hear)

    def tell(self, kind: str, message: Message) -> None:
        """Tell all processes, this one before the call returns; too large a message only this."""
        self._deliver(kind, message)
        packed = orjson.dumps([kind, message])
        if len(packed) < _MOST_BYTES and len(self._waiting) < _MOST_WAITING:
            self._waiting.append(packed)
            self._filled.set()

    async def run(self, conn: Listener) -> None:
        """Exchange messages over this connection, until it is lost."""
        await conn.execute("SET synchronous_commit = off")
        await conn.add_listener(CHANNEL, self._heard)
        while True:
            await self._filled.wait()
            self._filled.clear()
            await conn.execute(
                "SELECT pg_notify($1, m) FROM unnest($2::text[]) AS m", CHANNEL, self._take()
            )

    def _take(self) -> list[str]:
        """Everything that waits, packed into as few notifications as may be."""
        packs: list[list[bytes]] = []
        room = 0
        for message in self._waiting:
            if len(message) + 1 > room:
                packs.append([])
                room = _MOST_BYTES
            packs[-1].append(message)
            room -= len(message) + 1
        self._waiting.clear()
        return [f'["{self._me}",{b",".join(pack).decode()}]' for pack in packs]

    def _heard(self, _conn: Any, _process: int, _channel: str, payload: str) -> None:
        teller, *messages = orjson.loads(payload)
        if teller != self._me:
            for kind, message in messages:
                self._deliver(kind, message)

    def _deliver(self, kind: str, message: Message) -> None:
        for hear in self._hearers.get(kind, ()):
            hear(message)
