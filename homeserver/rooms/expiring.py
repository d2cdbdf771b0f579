"""Deleting messages that are too old, from time to time.

One process at a time does it, a part of a room after the other. The last events of a room stay, as
what happens next builds on them, without what they said.
"""

import asyncio
import secrets

from federation.events import redacted
from homeserver.logs import get_logger
from homeserver.rooms.lifetimes import Lifetimes
from homeserver.storage import duties, expiring, media_uses, received, redactions
from homeserver.storage.batch import RedactedRow
from homeserver.storage.expiring import Allowed, Due
from homeserver.storage.media_uses import given_in
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process
from homeserver.storage.state_groups import EventNid

log = get_logger(__name__)

EMPTIED = EventNid(0)
"""Stands for the redaction of an event that was emptied as it was too old."""
_DUTY = "delete old messages"
_ROOMS = 100
"""That are looked for at a time."""
_AT_A_STRETCH = 500
"""Events of one transaction."""
_MOST = 50_000
"""Events of one round; what is left is for the next, which comes soon."""
_BREATH = 0.02
"""Seconds between two parts, for everybody else."""


class Expiring:
    """Has the duty, or waits for it. `run` has to run.

    Args:
        process: the one that this is part of.
        lifetimes: of messages.
        interval: seconds between two rounds.

    """

    def __init__(self, process: Process, lifetimes: Lifetimes, interval: float) -> None:
        self._process = process
        allowed = lifetimes.allowed
        self._allowed = Allowed(allowed.default, allowed.least, allowed.most)
        self._interval = interval
        self._holder = secrets.token_hex(8)

    async def run(self) -> None:
        """Delete, again and again: one query each time, where there is nothing to do."""
        while True:
            await asyncio.sleep(self._interval)
            # Whoever dies over it is replaced in the next round.
            until = self._process.now() + int(self._interval * 900)
            async with self._process.database.reader() as conn:
                held = await duties.hold(
                    conn, _DUTY, self._holder, self._process.now(), until, begin=0
                )
            if held is not None:
                while await self.round() >= _MOST:
                    pass

    async def round(self) -> int:
        """Delete what is too old, and no more than is good at a time; how many messages."""
        count, rooms, after = 0, 0, RoomNid(0)
        while count < _MOST:
            async with self._process.database.reader() as conn:
                found = await expiring.due(conn, self._allowed, self._process.now(), after, _ROOMS)
            for due in found:
                count += await self._delete(due, _MOST - count)
                rooms, after = rooms + 1, due.room
                if count >= _MOST:
                    break
            if len(found) < _ROOMS:
                break
        if count:
            log.info("old messages were deleted", count=count, rooms=rooms)
        return count

    async def _delete(self, due: Due, most: int) -> int:
        """Delete messages of a room, up to about `most`; how many."""
        count = 0
        while count < most:
            async with self._process.database.reader() as conn:
                part = await expiring.old(conn, due, _AT_A_STRETCH)
                await self._empty(conn, due.room, [old.event for old in part if old.is_last])
                gone = [old.event for old in part if not old.is_last]
                await self._note_files(conn, gone)
                await expiring.delete(conn, due.room, gone)
            count += len(part)
            if len(part) < _AT_A_STRETCH:
                break
            await asyncio.sleep(_BREATH)
        return count

    async def _note_files(self, conn: Connection, events: list[EventNid]) -> None:
        """Have the files deleted that go with some events."""
        naming = await media_uses.that_name_files(conn, events)
        stored = await received.by_nids(conn, naming) if naming else {}
        rows = [(nid, None, given) for nid, one in stored.items() for given in given_in(one.event)]
        await media_uses.note(conn, rows)

    async def _empty(self, conn: Connection, room: RoomNid, events: list[EventNid]) -> None:
        """Leave of some events what a redaction would."""
        if events:
            stored = await received.by_nids(conn, events)
            rows = [
                RedactedRow(room, nid, EMPTIED, redacted(one.event).json, None, given_in(one.event))
                for nid, one in stored.items()
            ]
            await redactions.redact(conn, rows)
