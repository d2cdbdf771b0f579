"""The events with which somebody left rooms.

https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

from collections.abc import Sequence

from federation.events import Event
from federation.identifiers import UserID
from homeserver.rooms.standings import Reader, Standings, departure
from homeserver.storage import history, invites
from homeserver.storage.batch import Fate, Membership
from homeserver.storage.history import Placed
from homeserver.storage.memberships import RoomOf
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Connection


async def departures(
    conn: Connection, user: UserNid, user_id: UserID, rooms: Sequence[RoomOf]
) -> dict[RoomNid, Placed]:
    """Of each room that the user left: the event with which they did, if there is one.

    Who rejected an invitation is in a room that we know nothing else of; and whom the resolution of
    states put out, no event did.
    """
    events = await history.by_nid(conn, [room.event for room in rooms])
    found = {room.room: events[room.event] for room in rooms if room.event in events}
    strange = [room for room in rooms if room.event not in events]
    if strange:
        told = await invites.events(conn, [room.room for room in strange], user)
        found |= {r.room: _outlier(r, told[r.room]) for r in strange if r.room in told}
    return {room: placed for room, placed in found.items() if _is_of(placed.event, user_id)}


async def before_invitations(
    conn: Connection, standings: Standings, reader: Reader, rooms: Sequence[RoomOf]
) -> list[RoomOf]:
    """What rooms are to a reader who does not want to be invited to them: those that they left.

    Clients "must not" be sent such an invitation, but have to learn that one is out of the room.
    """
    changes = await standings.changes(conn, reader, [room.room for room in rooms])
    left = {room: departure(of_room) for room, of_room in changes.items()}
    return [
        room._replace(membership=Membership.LEAVE, event=change.nid, pos=change.pos)
        for room in rooms
        if (change := left.get(room.room)) is not None
    ]


def _is_of(event: Event, user_id: UserID) -> bool:
    return event.type == "m.room.member" and event.state_key == user_id


def _outlier(room: RoomOf, event: Event) -> Placed:
    return Placed(room.event, room.room, None, None, None, None, None, Fate.ACCEPTED, event)
