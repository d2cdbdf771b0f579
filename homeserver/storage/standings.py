"""What rooms are to one user now, and when that user came and went.

https://spec.matrix.org/v1.19/client-server-api/#room-membership
"""

from collections.abc import Iterable
from typing import NamedTuple

from federation.events import Event
from homeserver.storage.batch import Membership
from homeserver.storage.loading import load_event
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid, KeyNid

MOST_CHANGES = 100
"""Changes of one membership that are looked at; somebody who has more has seen it all."""


class StandingRow(NamedTuple):
    """What the current state says about a room and a user."""

    room: RoomNid
    membership: Membership | None
    """`None`: the user never had anything to do with the room, or has forgotten it."""
    pos: int
    """Since when, or since when with this event; 0 without membership."""
    visibility: EventNid | None
    """The event that says who may see the history."""


class Change(NamedTuple):
    """A membership event that was current once."""

    room: RoomNid
    pos: int
    nid: EventNid
    event: Event


async def read(
    conn: Connection, rooms: Iterable[RoomNid], user: UserNid, visibility: KeyNid | None
) -> dict[RoomNid, StandingRow]:
    """Each room's row; `visibility` names `m.room.history_visibility`."""
    rows = await conn.fetch(
        """
        SELECT wanted.room_nid, CASE WHEN f.pos >= m.pos THEN NULL ELSE m.membership END,
               coalesce(m.pos, 0), s.event_nid
          FROM unnest($1::bigint[]) AS wanted (room_nid)
          LEFT JOIN memberships m ON m.room_nid = wanted.room_nid AND m.user_nid = $2
          LEFT JOIN forgotten f ON f.user_nid = m.user_nid AND f.room_nid = m.room_nid
          LEFT JOIN current_state s
            ON s.room_nid = wanted.room_nid AND s.state_key_nid = $3
        """,
        list(rooms),
        user,
        visibility,
    )
    return {
        RoomNid(row[0]): StandingRow(
            row[0], None if row[1] is None else Membership(row[1]), row[2], row[3]
        )
        for row in rows
    }


async def read_changes(
    conn: Connection, rooms: Iterable[RoomNid], member: KeyNid
) -> dict[RoomNid, list[Change]]:
    """The last changes of one member's entry in each of the rooms, the latest first."""
    rows = await conn.fetch(
        """
        SELECT c.room_nid, c.pos, c.new_event_nid, i.event_id, r.version, e.json
          FROM unnest($1::bigint[]) AS wanted (room_nid)
         CROSS JOIN LATERAL (
               SELECT room_nid, pos, new_event_nid
                 FROM state_changes
                WHERE room_nid = wanted.room_nid AND state_key_nid = $2
                  AND new_event_nid IS NOT NULL
                ORDER BY pos DESC
                LIMIT $3
               ) c
          JOIN events e ON e.event_nid = c.new_event_nid
          JOIN event_ids i ON i.event_nid = e.event_nid
          JOIN rooms r ON r.room_nid = c.room_nid
         ORDER BY c.pos DESC
        """,
        list(rooms),
        member,
        MOST_CHANGES,
    )
    found: dict[RoomNid, list[Change]] = {}
    for room, pos, nid, event_id, version, raw in rows:
        event = load_event(raw, event_id, version)
        found.setdefault(room, []).append(Change(room, pos, nid, event))
    return found


async def share_a_room(conn: Connection, one: UserNid, other: UserNid) -> bool:
    """Whether both users are in some room now."""
    shared: bool = await conn.fetchval(
        """
        SELECT EXISTS (
               SELECT
                 FROM memberships a
                 JOIN memberships b ON b.room_nid = a.room_nid
                WHERE a.user_nid = $1 AND a.membership = 1
                  AND b.user_nid = $2 AND b.membership = 1
               )
        """,
        one,
        other,
    )
    return shared


async def servers_with(conn: Connection, user: UserNid, but: str) -> list[str]:
    """The servers that are in any of the rooms that a user is in, but for one."""
    rows = await conn.fetch(
        """
        SELECT DISTINCT s.server_name
          FROM memberships m
          JOIN room_servers r ON r.room_nid = m.room_nid AND r.joined > 0
          JOIN servers s ON s.server_nid = r.server_nid
         WHERE m.user_nid = $1 AND m.membership = 1 AND s.server_name <> $2
        """,
        user,
        but,
    )
    return [row[0] for row in rows]
