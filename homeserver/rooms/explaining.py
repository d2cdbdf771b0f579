"""Why an entry of a room's state is what it is: which events competed, and what became of each.

https://spec.matrix.org/v1.19/server-server-api/#room-state-resolution
"""

from collections.abc import Sequence
from typing import NamedTuple

from federation.events import StateKey
from federation.identifiers import EventID, RoomID, UserID
from homeserver.errors import NotFound
from homeserver.storage import state_histories
from homeserver.storage.batch import Fate
from homeserver.storage.process import Process
from homeserver.storage.state_histories import Change, Said


class Competitor(NamedTuple):
    """An event about the entry, and what became of it."""

    event_id: EventID
    sender: UserID
    ts: int
    """When it was sent, as its server says: milliseconds since the epoch."""
    is_current: bool
    outcome: str


async def explain(process: Process, room_id: RoomID, key: StateKey) -> list[Competitor]:
    """The events about an entry, in the order in which they came.

    Raises:
        NotFound: there is no such room, or never was such an entry.

    """
    async with process.database.reader() as conn:
        room = (await process.numbers.rooms.find(conn, [room_id])).get(room_id)
        if room is None:
            raise NotFound("there is no such room here")
        said = await state_histories.said(conn, room, key)
        changes = await state_histories.changes(conn, room, key)
    if not said:
        raise NotFound("the room's state never had such an entry")
    return [
        Competitor(one.event_id, one.sender, one.ts, one.is_current, _outcome(one, changes))
        for one in said
    ]


def _outcome(one: Said, changes: Sequence[Change]) -> str:
    """What became of an event, in words."""
    if one.fate is Fate.REJECTED:
        return "rejected: what it cites, or the state before it, did not allow it"
    if one.fate is Fate.SOFT_FAILED:
        return "soft failed: the room's state, when it came, did not allow it"
    came = [change for change in changes if change.new == one.event_id]
    went = [change for change in changes if change.old == one.event_id]
    if not came:
        if one.order is None:
            return "known from the states that other servers told; never the entry here"
        return "never the entry: state resolution preferred another one of a fork"
    words = [_how_it_came(one, came[-1])]
    if not one.is_current and went:
        words.append(_how_it_went(went[-1]))
    return "; ".join(words)


def _how_it_came(one: Said, change: Change) -> str:
    if change.came_with == one.event_id:
        return "became the entry when it came"
    return f"state resolution chose it when {change.came_with} came, which joined forks"


def _how_it_went(change: Change) -> str:
    if change.new is None:
        return f"state resolution left no entry when {change.came_with} came"
    if change.came_with == change.new:
        return f"replaced by {change.new}, which was sent later and knew of it, or won against it"
    return f"state resolution preferred {change.new} when {change.came_with} came"
