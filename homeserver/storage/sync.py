"""What only `/sync` asks: states of many rooms at positions, and what changed between two.

https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from federation.identifiers import UserID, is_user_id
from homeserver.storage.batch import Membership
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid, KeyNid


class Change(NamedTuple):
    """A change of a room's current state."""

    room: RoomNid
    pos: int
    key: KeyNid
    old: EventNid | None
    new: EventNid | None


class Count(NamedTuple):
    """How many users of a membership a room has."""

    room: RoomNid
    membership: Membership
    users: int


class Hero(NamedTuple):
    """A member that a room may be named after."""

    user_id: UserID
    event: EventNid
    """Of their membership; another one if none says so any more."""


async def states_at(
    conn: Connection, rooms: Mapping[RoomNid, int]
) -> dict[RoomNid, dict[KeyNid, EventNid]]:
    """The whole state of each room, with all changes up to its position."""
    rows = await conn.fetch(
        """
        WITH wanted AS (
            SELECT * FROM unnest($1::bigint[], $2::bigint[]) AS w (room_nid, pos)
        ), later AS (
            SELECT DISTINCT ON (c.room_nid, c.state_key_nid)
                   c.room_nid, c.state_key_nid, c.old_event_nid
              FROM wanted w
              JOIN state_changes c ON c.room_nid = w.room_nid AND c.pos > w.pos
             ORDER BY c.room_nid, c.state_key_nid, c.pos
        ), now AS (
            SELECT s.room_nid, s.state_key_nid, s.event_nid
              FROM wanted w JOIN current_state s ON s.room_nid = w.room_nid
        )
        SELECT coalesce(n.room_nid, l.room_nid), coalesce(n.state_key_nid, l.state_key_nid),
               CASE WHEN l.state_key_nid IS NULL THEN n.event_nid ELSE l.old_event_nid END
          FROM now n
          FULL JOIN later l ON l.room_nid = n.room_nid AND l.state_key_nid = n.state_key_nid
         WHERE l.state_key_nid IS NULL OR l.old_event_nid IS NOT NULL
        """,
        list(rooms),
        list(rooms.values()),
    )
    found: dict[RoomNid, dict[KeyNid, EventNid]] = {room: {} for room in rooms}
    for room, key, event in rows:
        found[room][key] = event
    return found


async def changes(
    conn: Connection, rooms: Mapping[RoomNid, int], up_to: int
) -> dict[RoomNid, list[Change]]:
    """The changes of each room's state after its position and not after `up_to`, in order."""
    rows = await conn.fetch(
        """
        SELECT c.room_nid, c.pos, c.state_key_nid, c.old_event_nid, c.new_event_nid
          FROM unnest($1::bigint[], $2::bigint[]) AS w (room_nid, after)
          JOIN state_changes c
            ON c.room_nid = w.room_nid AND c.pos > w.after AND c.pos <= $3
         ORDER BY c.room_nid, c.pos
        """,
        list(rooms),
        list(rooms.values()),
        up_to,
    )
    found: dict[RoomNid, list[Change]] = {room: [] for room in rooms}
    for row in rows:
        found[row[0]].append(Change(*row))
    return found


async def entries_at(
    conn: Connection, rooms: Iterable[RoomNid], key: KeyNid, pos: int
) -> dict[RoomNid, EventNid | None]:
    """What stood under one key in each room, with all changes up to a position."""
    rows = await conn.fetch(
        """
        SELECT w.room_nid,
               CASE WHEN l.pos IS NULL THEN s.event_nid ELSE l.old_event_nid END
          FROM unnest($1::bigint[]) AS w (room_nid)
          LEFT JOIN current_state s ON s.room_nid = w.room_nid AND s.state_key_nid = $2
          LEFT JOIN LATERAL (
               SELECT c.pos, c.old_event_nid
                 FROM state_changes c
                WHERE c.room_nid = w.room_nid AND c.state_key_nid = $2 AND c.pos > $3
                ORDER BY c.pos
                LIMIT 1
               ) l ON true
        """,
        list(rooms),
        key,
        pos,
    )
    return {RoomNid(row[0]): row[1] for row in rows}


async def current_entries(
    conn: Connection, wanted: Iterable[tuple[RoomNid, KeyNid]]
) -> dict[tuple[RoomNid, KeyNid], EventNid]:
    """Entries of current states, where there are any."""
    pairs = list(wanted)
    rows = await conn.fetch(
        """
        SELECT s.room_nid, s.state_key_nid, s.event_nid
          FROM unnest($1::bigint[], $2::bigint[]) AS w (room_nid, state_key_nid)
          JOIN current_state s
            ON s.room_nid = w.room_nid AND s.state_key_nid = w.state_key_nid
        """,
        [room for room, _ in pairs],
        [key for _, key in pairs],
    )
    return {(row[0], row[1]): row[2] for row in rows}


async def counts(conn: Connection, rooms: Iterable[RoomNid]) -> list[Count]:
    """How many users are joined and invited."""
    rows = await conn.fetch(
        """
        SELECT room_nid, membership, count(*)
          FROM memberships
         WHERE room_nid = ANY ($1) AND membership = ANY ($2)
         GROUP BY room_nid, membership
        """,
        list(rooms),
        [Membership.JOIN, Membership.INVITE],
    )
    return [Count(row[0], Membership(row[1]), row[2]) for row in rows]


async def heroes(
    conn: Connection, rooms: Iterable[RoomNid], most: int
) -> dict[RoomNid, list[Hero]]:
    """Some members that a room without a name may be named after: who is there, else who was.

    The rules let others invite what is no user: nobody is named after that.
    """
    rows = await conn.fetch(
        """
        SELECT w.room_nid, h.user_id, h.event_nid
          FROM unnest($1::bigint[]) AS w (room_nid)
         CROSS JOIN LATERAL (
               SELECT u.user_id, m.membership, m.event_nid
                 FROM memberships m JOIN users u ON u.user_nid = m.user_nid
                WHERE m.room_nid = w.room_nid AND u.user_id LIKE '@%:_%'
                ORDER BY m.membership NOT IN (1, 2), m.event_nid
                LIMIT $2
               ) h
         ORDER BY w.room_nid, h.membership NOT IN (1, 2), h.event_nid
        """,
        list(rooms),
        most,
    )
    found: dict[RoomNid, list[Hero]] = {}
    for room, user_id, event in rows:
        if is_user_id(user_id):
            found.setdefault(room, []).append(Hero(UserID(user_id), event))
    return found
