"""How many people rooms have, and whom a room without a name may be named after.

https://spec.matrix.org/v1.19/client-server-api/#syncing, `RoomSummary`
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from federation.events import Event, StateKey
from federation.identifiers import UserID
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.sync import Hero
from homeserver.sync.room_memory import RoomMemory

_HEROES = 5
NAME: StateKey = ("m.room.name", "")
ALIAS: StateKey = ("m.room.canonical_alias", "")
NAMES = (NAME, ALIAS)
"""What of a state names a room."""


class Summary(NamedTuple):
    """Of one room, for one of its members."""

    joined: int = 0
    invited: int = 0
    heroes: Sequence[Hero] = ()
    """Empty where the room has a name."""


async def summaries(
    conn: Connection,
    memory: RoomMemory,
    user_id: UserID,
    rooms: Collection[RoomNid],
    naming: Collection[StateKey] = NAMES,
) -> dict[RoomNid, Summary]:
    """The summary of each of the rooms for one member: at most five queries, mostly none.

    Args:
        conn: to read with.
        memory: of rooms.
        user_id: the member.
        rooms: which.
        naming: the entries of a state that name a room as far as it matters.

    """
    counts = await memory.counts(conn, rooms)
    named = await _named(conn, memory, rooms, naming)
    # One of them may be who asks.
    heroes = await memory.heroes(conn, [r for r in rooms if r not in named], _HEROES + 1)
    found = {room: Summary(*count) for room, count in counts.items()}
    for room, those in heroes.items():
        others = [hero for hero in those if hero.user_id != user_id]
        found[room] = found[room]._replace(heroes=others[:_HEROES])
    return found


async def _named(
    conn: Connection,
    memory: RoomMemory,
    rooms: Collection[RoomNid],
    naming: Collection[StateKey],
) -> set[RoomNid]:
    """The rooms that have a name: not those where it is "unset or empty"."""
    entries = await memory.entries(conn, dict.fromkeys(rooms, naming))
    wanted = {room: [entry.event for entry in found.values()] for room, found in entries.items()}
    events = await memory.events(conn, {room: nids for room, nids in wanted.items() if nids})
    return {placed.room for placed in events.values() if _is_name(placed.event)}


def _is_name(event: Event) -> bool:
    value = event.content.get("name" if event.type == NAME[0] else "alias")
    return isinstance(value, str) and bool(value)
