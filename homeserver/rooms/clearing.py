"""Taking back all that somebody said who is put out of a room, if the one who does it says so.

There are no redactions: the membership stands in their place. It goes on behind, part by part, for
as long as that is the membership; what comes late is redacted as it comes.

https://github.com/matrix-org/matrix-spec-proposals/pull/4293
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from federation.events import Event, StateKey, redacted
from federation.identifiers import EventID, UserID
from federation.power_levels import LevelError, PowerLevels
from homeserver.logs import get_logger
from homeserver.rooms.intake import Means
from homeserver.storage import clearings, received, redactions
from homeserver.storage.batch import ClearingRow, EventRow, Fate, RedactedRow
from homeserver.storage.history import EARLIEST
from homeserver.storage.media_uses import given_in
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process
from homeserver.storage.standings import MOST_CHANGES, Change, read_changes
from homeserver.storage.state_groups import EventNid
from homeserver.storage.stream_tokens import ORDER_BITS

log = get_logger(__name__)

FLAG = "org.matrix.msc4293.redact_events"
_CREATE: StateKey = ("m.room.create", "")
_POWER_LEVELS: StateKey = ("m.room.power_levels", "")
_AT_A_STRETCH = 1000
"""Events that are looked at in one query."""
_BREATH = 0.02
"""Seconds between two parts, for everybody else."""
_LEASE = 60_000
"""Milliseconds after which somebody else goes on, if we do not."""
_LOOK_AGAIN = 600.0
"""Seconds after which it is looked for what somebody left undone."""
_STALE = 3_600_000
"""Milliseconds after which an event that did not come is not waited for."""


def asks(event: Event) -> bool:
    """Whether somebody puts somebody else out, and wants all redacted that they said."""
    if event.type != "m.room.member" or event.content.get(FLAG) is not True:
        return False
    return event.membership == "ban" or (
        event.membership == "leave" and event.sender != event.state_key
    )


def rows(
    room: RoomNid,
    events: Iterable[Event],
    numbers: Mapping[EventID, EventNid] | Mapping[str, EventNid],
    users: Mapping[str, UserNid],
    state: Mapping[StateKey, Event],
) -> list[ClearingRow]:
    """Rows of those of some accepted events that ask for it, by somebody who may.

    Args:
        room: of all of them.
        events: in it.
        numbers: of the events.
        users: of whom they may be about.
        state: with the create event and the power levels.

    """
    asking = [event for event in events if asks(event)]
    if not asking or _CREATE not in state:
        return []
    levels = PowerLevels(state[_CREATE], state.get(_POWER_LEVELS))
    return [
        ClearingRow(numbers[event.event_id], room, users[event.state_key or ""])
        for event in asking
        if _may(event.sender, levels)
    ]


def _may(sender: UserID, levels: PowerLevels) -> bool:
    """Whether somebody could redact others' events."""
    try:
        needed = max(levels.named("redact"), levels.required("m.room.redaction", is_state=False))
        return levels.of(sender) >= needed
    except LevelError:
        return False


async def late_rows(
    conn: Connection,
    means: Means,
    room: RoomNid,
    judged: Sequence[EventRow],
    events: Mapping[EventNid, Event],
    orders: Mapping[EventNid, int] | None = None,
) -> list[RedactedRow]:
    """Rows that redact those of the events that come when their sender was put out already.

    Args:
        conn: to read with.
        means: as the intake has them.
        room: of the events.
        judged: what is to be written.
        events: the same.
        orders: the places of events of the past; live ones that were accepted are never late.

    """
    wanted = [row for row in judged if orders is not None or row.fate is not Fate.ACCEPTED]
    senders = {events[row.event].sender for row in wanted}
    active = await clearings.active(conn, room, senders) if senders else {}
    late = []
    for row in wanted:
        found = active.get(events[row.event].sender)
        is_within = orders is None or (
            found is not None and found.since is not None and orders[row.event] > found.since
        )
        if found is not None and is_within:
            late.append(_redacted(room, row.event, events[row.event], found.event, means.until))
    return late


def _redacted(
    room: RoomNid, nid: EventNid, event: Event, by: EventNid, until: int | None
) -> RedactedRow:
    return RedactedRow(room, nid, by, redacted(event).json, until, given_in(event))


class Clearing:
    """Does what is to be done, this process's share of it. `run` has to run."""

    def __init__(self, process: Process, means: Means) -> None:
        self._process = process
        self._means = means

    async def run(self) -> None:
        """Clear up, whenever somebody here asks for it, and what others left undone."""
        while True:
            self._means.clearing.clear()
            while await self.next():
                pass
            try:
                async with asyncio.timeout(_LOOK_AGAIN):
                    await self._means.clearing.wait()
            except TimeoutError:
                pass

    async def next(self) -> bool:
        """Do what is to be done next; whether there was something."""
        now = self._process.now()
        async with self._process.database.reader() as conn:
            found = await clearings.claim(conn, now, now + _LEASE)
        if found is None:
            return False
        count = await self._clear(found)
        if count:
            log.info("messages of somebody who was put out were redacted", count=count)
        return True

    async def _clear(self, found: clearings.Clearing) -> int:
        count, reached = 0, found.reached
        while True:
            async with self._process.database.reader() as conn:
                if not await clearings.counts(conn, found.event):
                    await clearings.forget(conn, found.event, self._process.now() - _STALE)
                    return count
                if reached is None:
                    reached = await self._since(conn, found)
                    await clearings.begin(conn, found.event, reached)
                part = await clearings.part(conn, found.room, reached, found.user_id, _AT_A_STRETCH)
                count += await self._redact(conn, found, part.events)
                await clearings.advance(conn, found.event, part.last, self._process.now() + _LEASE)
            if part.last is None:
                self._means.heads.drop(found.room)
                return count
            reached = part.last
            await asyncio.sleep(_BREATH)

    async def _redact(
        self, conn: Connection, found: clearings.Clearing, nids: Sequence[EventNid]
    ) -> int:
        stored = await received.by_nids(conn, nids) if nids else {}
        late = [
            _redacted(found.room, nid, one.event, found.event, self._means.until)
            for nid, one in stored.items()
            if one.event.sender == found.user_id and one.event.type != _CREATE[0]
        ]
        if late:
            await redactions.redact(conn, late)
        return len(late)

    async def _since(self, conn: Connection, found: clearings.Clearing) -> int:
        """The place at which they came into the room."""
        member: StateKey = ("m.room.member", found.user_id)
        keys = await self._means.numbers.state_keys.find(conn, [member])
        changes = await read_changes(conn, [found.room], keys[member]) if member in keys else {}
        return _arrival(changes.get(found.room, []))


def _arrival(changes: Sequence[Change]) -> int:
    """The place at which somebody came who is not there any more.

    Args:
        changes: of their membership, the latest first.

    """
    came = None
    for change in changes:
        if change.event.membership == "join":
            came = change.pos
        elif came is not None:
            return came << ORDER_BITS
    # They were there before anything that is known, or came and went too often to tell.
    return came << ORDER_BITS if came and len(changes) == MOST_CHANGES else EARLIEST
