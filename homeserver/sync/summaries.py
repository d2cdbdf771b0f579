"""How many people rooms have, and whom a room without a name may be named after.

https://spec.matrix.org/v1.19/client-server-api/#syncing, `RoomSummary`
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from homeserver.storage import sync
from homeserver.storage.batch import Membership
from homeserver.storage.numbers import Numbers, RoomNid, UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import KeyNid
from homeserver.storage.sync import Hero

HEROES = 5
NAMES = (("m.room.name", ""), ("m.room.canonical_alias", ""))
"""What of a state names a room."""


class Summary(NamedTuple):
    """Of one room, for one of its members."""

    joined: int = 0
    invited: int = 0
    heroes: Sequence[Hero] = ()
    """Empty where the room has a name."""


async def summaries(
    conn: Connection,
    numbers: Numbers,
    user: UserNid,
    rooms: Iterable[RoomNid],
    states: Mapping[RoomNid, Collection[KeyNid]] | None = None,
) -> dict[RoomNid, Summary]:
    """The summary of each of the rooms: at most three queries.

    Args:
        conn: to read with.
        numbers: of names.
        user: the member.
        rooms: which.
        states: the keys of what there is of the state of some of them, the names at least.

    """
    found = dict.fromkeys(rooms, Summary())
    for room, membership, users in await sync.counts(conn, found):
        if membership is Membership.JOIN:
            found[room] = found[room]._replace(joined=users)
        else:
            found[room] = found[room]._replace(invited=users)
    nameless = await _nameless(conn, numbers, list(found), states or {})
    heroes = await sync.heroes(conn, nameless, user, HEROES) if nameless else {}
    return {room: s._replace(heroes=heroes.get(room, ())) for room, s in found.items()}


async def _nameless(
    conn: Connection,
    numbers: Numbers,
    rooms: Sequence[RoomNid],
    states: Mapping[RoomNid, Collection[KeyNid]],
) -> list[RoomNid]:
    keys = (await numbers.state_keys.find(conn, NAMES)).values()
    pairs = [(room, key) for room in rooms if room not in states for key in keys]
    named = {room for room, _ in await sync.current_entries(conn, pairs)} if pairs else set()
    named |= {room for room, state in states.items() if any(key in state for key in keys)}
    return [room for room in rooms if room not in named]
