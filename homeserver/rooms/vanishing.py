"""Messages that say when they vanish: nobody is shown them from then on, and what they say goes.

What is left of one is what a redaction leaves. Other servers need not do the same.

https://github.com/matrix-org/matrix-spec-proposals/pull/2228
"""

import asyncio
import random
from collections.abc import Mapping

from federation.events import Event, redacted
from homeserver.logs import get_logger
from homeserver.rooms.expiring import EMPTIED
from homeserver.rooms.lifetimes import vanishes_at
from homeserver.storage import received, redactions, vanishing
from homeserver.storage.batch import RedactedRow
from homeserver.storage.media_uses import given_in
from homeserver.storage.process import DAY, Process
from homeserver.storage.state_groups import EventNid
from homeserver.storage.vanishing import VanishingRow

log = get_logger(__name__)

_EVERY = 5.0
"""Seconds, about, between two looks."""
_AT_ONCE = 100


def rows(events: Mapping[EventNid, Event]) -> list[VanishingRow]:
    """The rows of those of some events that vanish."""
    found = ((nid, vanishes_at(event)) for nid, event in events.items())
    return [VanishingRow(nid, ts) for nid, ts in found if ts is not None]


class Vanishing:
    """Empties messages when their time has come. `run` has to run; several processes do no harm.

    Args:
        process: the one that this is part of.

    """

    def __init__(self, process: Process) -> None:
        self._process = process

    async def run(self) -> None:
        """Look again and again: one small query, where there is nothing to do."""
        while True:
            while await self.round() == _AT_ONCE:
                pass
            await asyncio.sleep(_EVERY * random.uniform(0.5, 1.5))  # noqa: S311 - nothing to guess

    async def round(self) -> int:
        """Empty some; how many."""
        now = self._process.now()
        async with self._process.database.reader() as conn:
            due = await vanishing.due(conn, now, _AT_ONCE)
            stored = await received.by_nids(conn, due) if due else {}
            emptied = [
                RedactedRow(
                    one.room, nid, EMPTIED, redacted(one.event).json, None, given_in(one.event)
                )
                for nid, one in stored.items()
            ]
            if emptied:
                await redactions.redact(conn, emptied)
            await vanishing.forget(conn, due, now - DAY)
        if due:
            log.info("messages vanished as they said", count=len(due))
        return len(due)
