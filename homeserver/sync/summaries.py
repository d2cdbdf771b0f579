"""How many people rooms have, and whom a room without a name may be named after.

https://spec.matrix.org/v1.19/client-server-api/#syncing, `RoomSummary`
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from federation.identifiers import UserID
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.sync import Hero
from homeserver.sync.room_memory import RoomMemory

_HEROES = 5
NAMES = (("m.room.name", ""), ("m.room.canonical_alias", ""))
"""What of a state names a room."""


class Summary(NamedTuple):
    """Of one room, for one of its members."""

    joined: int = 0
    invited: int = 0
    heroes: Sequence[Hero] = ()
    """Empty where the room has a name."""


async def summaries(
    conn: Connection, memory: RoomMemory, user_id: UserID, rooms: Collection[RoomNid]
) -> dict[RoomNid, Summary]:
    """The summary of each of the rooms for one member: at most four queries, mostly none."""
    counts = await memory.counts(conn, rooms)
    names = await memory.entries(conn, dict.fromkeys(rooms, NAMES))
    # One of them may be who asks.
    heroes = await memory.heroes(conn, [r for r in rooms if not names[r]], _HEROES + 1)
    found = {room: Summary(*count) for room, count in counts.items()}
    for room, those in heroes.items():
        others = [hero for hero in those if hero.user_id != user_id]
        found[room] = found[room]._replace(heroes=others[:_HEROES])
    return found
