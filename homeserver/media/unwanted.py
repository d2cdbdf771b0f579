"""Deleting files with the messages that brought them.

When a message is redacted or too old, the files that it named go, with their thumbnails, if who
sent it uploaded them and nothing else names them: no event, profile or account data. Who sends a
file into an encrypted room as well cannot be known: it goes all the same.
"""

import asyncio
import random

from homeserver.logs import get_logger
from homeserver.media.repository import Repository
from homeserver.storage import media_uses
from homeserver.storage.process import DAY, Process

log = get_logger(__name__)

GRACE = 5_000
"""Milliseconds in which what was begun with a message has certainly been done."""
_EVERY = 10.0
"""Seconds, about, between two looks."""
_AT_ONCE = 100
_GIVEN_UP = DAY
"""Milliseconds after which a message that stands is not waited for."""


class UnwantedMedia:
    """Looks, and deletes. `run` has to run; several processes do no harm.

    Args:
        process: the one that this is part of.
        repository: has the files.

    """

    def __init__(self, process: Process, repository: Repository) -> None:
        self._process = process
        self._repository = repository

    async def run(self) -> None:
        """Look again and again: one small query, where there is nothing to do."""
        while True:
            await asyncio.sleep(_EVERY * random.uniform(0.5, 1.5))  # noqa: S311 - nothing to guess
            while await self.round() == _AT_ONCE:
                pass

    async def round(self) -> int:
        """Look at some that may be unwanted; how many."""
        now = self._process.now()
        async with self._process.database.reader() as conn:
            found = await media_uses.due(conn, now - GRACE, _AT_ONCE)
            users = {one.user for one in found if one.user is not None}
            names = {one.name for one in found}
            used = await media_uses.used(conn, names, users, now) if found else set()
        gone = {one.media for one in found if one.name not in used}
        count = await self._repository.remove(gone) if gone else 0
        async with self._process.database.reader() as conn:
            await media_uses.forget(conn, found, now - _GIVEN_UP)
        if count:
            log.info("files went with the messages that named them", count=count)
        return len(found)
