"""What people are shown of rooms that they are invited to, or knock at.

https://spec.matrix.org/v1.19/client-server-api/#stripped-state
"""

from collections.abc import Iterable, Sequence

import orjson

from federation.canonical_json import JsonObject
from federation.events import Event, StateKey
from federation.identifiers import UserID
from homeserver.rooms.showing import client_event
from homeserver.rooms.standings import Reader
from homeserver.rooms.stripped import KEYS, stripped
from homeserver.storage import history, invites, sync
from homeserver.storage.memberships import RoomOf
from homeserver.storage.numbers import Numbers, RoomNid, UserNid
from homeserver.storage.pool import Connection


def inviter(state: Iterable[JsonObject], user_id: UserID) -> str | None:
    """Who invites, by stripped state, which another server may have written."""
    for event in state:
        if event.get("type") == "m.room.member" and event.get("state_key") == user_id:
            sender = event.get("sender")
            return sender if isinstance(sender, str) else None
    return None


async def stripped_states(
    conn: Connection, numbers: Numbers, user: UserNid, user_id: UserID, rooms: Sequence[RoomOf]
) -> dict[RoomNid, list[JsonObject]]:
    """What is shown of the rooms: as they are, or as the server that invites told us."""
    if not rooms:
        return {}
    told = await invites.stripped_states(conn, [r.room for r in rooms], user)
    found: dict[RoomNid, list[JsonObject]] = {
        room: orjson.loads(state) for room, state in told.items()
    }
    member: StateKey = ("m.room.member", user_id)
    keys = await numbers.state_keys.find(conn, [*KEYS, member])
    pairs = [(r.room, key) for r in rooms if r.room not in told for key in keys.values()]
    entries = await sync.current_entries(conn, pairs) if pairs else {}
    # One who invited is shown, too.
    events = await history.by_nid(conn, set(entries.values())) if entries else {}
    for room in rooms:
        if room.room not in found:
            own = [events[n] for (r, _), n in entries.items() if r == room.room and n in events]
            found[room.room] = stripped(event.event for event in own)
    return found


async def asking_events(
    conn: Connection, numbers: Numbers, reader: Reader, rooms: Sequence[RoomOf], now: int
) -> dict[RoomNid, JsonObject]:
    """The invitations and knocks themselves, as events, with what is shown of their rooms.

    Not the invitations that the reader does not want. `now` is in milliseconds since the epoch.
    """
    if not rooms:
        return {}
    states = await stripped_states(conn, numbers, reader.user, reader.user_id, rooms)
    told = await invites.events(conn, [room.room for room in rooms], reader.user)
    own = await history.by_nid(conn, [room.event for room in rooms if room.room not in told])
    found: dict[RoomNid, JsonObject] = {}
    for room in rooms:
        placed = own.get(room.event)
        event = told.get(room.room) or (placed.event if placed else None)
        if event is None or _is_unwanted(event, reader):
            continue
        key = f"{event.membership}_room_state"
        unsigned = {"age": now - event.origin_server_ts, key: states[room.room]}
        found[room.room] = {**client_event(event), "unsigned": unsigned}
    return found


def _is_unwanted(event: Event, reader: Reader) -> bool:
    return event.membership == "invite" and reader.invitations.hides(event.sender)
