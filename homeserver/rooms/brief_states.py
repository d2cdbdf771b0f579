"""States without most of the members, for servers that want to join soon and be told all later.

https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid
"""

from federation.events import StateKey
from federation.identifiers import UserID
from homeserver.storage import federation_reads, sync
from homeserver.storage.numbers import Numbers, RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid, StateGroup

_HEROES = 5
_NAMED: tuple[StateKey, ...] = (("m.room.name", ""), ("m.room.canonical_alias", ""))


async def brief_state(
    conn: Connection, numbers: Numbers, room: RoomNid, group: StateGroup, joiner: UserID
) -> list[EventNid]:
    """The entries of a state that are no memberships, the joiner's, and those of the heroes.

    "If the room to be joined has no `m.room.name` nor `m.room.canonical_alias` events in its
    current state, the resident server should determine the room members who would be included in
    the `m.heroes` property".
    """
    entries = group.entries()
    kept = await federation_reads.not_members(conn, entries)
    members = {joiner}
    named = await numbers.state_keys.find(conn, _NAMED)
    if not any(key in entries for key in named.values()):
        # One of them may be who joins.
        heroes = (await sync.heroes(conn, [room], _HEROES + 1)).get(room, [])
        others = [hero.user_id for hero in heroes if hero.user_id != joiner]
        members.update(others[:_HEROES])
    keys = await numbers.state_keys.find(conn, [("m.room.member", str(m)) for m in members])
    return [entries[key] for key in {*kept, *keys.values()} if key in entries]
