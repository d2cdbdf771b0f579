"""What was soft failed, and sticks after all.

https://github.com/matrix-org/matrix-spec-proposals/pull/4354
"""

from federation.auth import auth_events_for, authorise
from federation.decision import Denied
from homeserver.rooms.judging import CREATE, Judging
from homeserver.storage import received, sticky
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import StateGroup


async def accept_late(
    conn: Connection, judging: Judging, state: StateGroup, room: RoomNid, now: int
) -> int | None:
    """Accept what the state, as it is by now, allows; the position, if that is anything.

    "Soft-failure checks MUST be re-evaluated when the membership state changes for a user with
    unexpired sticky events."
    """
    waiting = await sticky.soft_failed(conn, room, now)
    if not waiting:
        return None
    found = await received.by_nids(conn, waiting)
    keys = {key for one in found.values() for key in auth_events_for(one.event)} | {CREATE}
    entries = await judging.entries(state, keys)
    good = [
        nid for nid, one in found.items() if not isinstance(authorise(one.event, entries), Denied)
    ]
    return await sticky.accept(conn, room, good) if good else None
