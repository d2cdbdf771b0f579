"""Whose devices changed, for whom that matters.

https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user
"""

from collections.abc import Collection
from typing import NamedTuple

from federation.identifiers import UserID
from homeserver.storage.log import Kind
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Connection

_KINDS = [Kind.DEVICE_KEYS, Kind.DEVICE_GONE]


class Shared(NamedTuple):
    """A room that somebody is in, or has to do with since lately."""

    room: RoomNid
    is_in: bool
    pos: int
    """When it became so."""


class Moved(NamedTuple):
    """A membership that became otherwise."""

    room: RoomNid
    user: UserNid
    user_id: UserID
    before: bytes | None
    """The event before, as JSON."""
    after: bytes | None
    is_in: bool
    """What they are by now."""


async def touched(conn: Connection, user: UserNid, after: int, up_to: int) -> list[UserID]:
    """Users who share a room with somebody, and whose devices or keys are new; be it their own."""
    rows = await conn.fetch(
        """
        WITH touched AS (
            SELECT DISTINCT user_nid FROM log
             WHERE kind <> 1 AND pos > $2 AND pos <= $3 AND kind = ANY ($4)
        )
        SELECT u.user_id FROM touched t JOIN users u ON u.user_nid = t.user_nid
         WHERE t.user_nid = $1 OR EXISTS (
               SELECT FROM memberships o
                 JOIN memberships m ON m.room_nid = o.room_nid AND m.user_nid = $1
                WHERE o.user_nid = t.user_nid AND o.membership = 1 AND m.membership = 1)
        """,
        user,
        after,
        up_to,
        _KINDS,
    )
    return [UserID(row[0]) for row in rows]


async def shared_rooms(conn: Connection, user: UserNid, after: int) -> list[Shared]:
    """The rooms that somebody is in, or is otherwise to since a position."""
    rows = await conn.fetch(
        """
        SELECT room_nid, membership = 1, pos FROM memberships
         WHERE user_nid = $1 AND (membership = 1 OR pos > $2)
        """,
        user,
        after,
    )
    return [Shared(*row) for row in rows]


async def moved(conn: Connection, rooms: Collection[RoomNid], after: int) -> list[Moved]:
    """The memberships that became otherwise in rooms since a position, as often as they did."""
    rows = await conn.fetch(
        """
        SELECT c.room_nid, u.user_nid, u.user_id, o.json, n.json, coalesce(m.membership = 1, false)
          FROM state_changes c
          JOIN state_keys k ON k.state_key_nid = c.state_key_nid AND k.type = 'm.room.member'
          JOIN users u ON u.user_id = k.state_key
          LEFT JOIN events o ON o.event_nid = c.old_event_nid
          LEFT JOIN events n ON n.event_nid = c.new_event_nid
          LEFT JOIN memberships m ON m.room_nid = c.room_nid AND m.user_nid = u.user_nid
         WHERE c.room_nid = ANY ($1) AND c.pos > $2
        """,
        list(rooms),
        after,
    )
    return [Moved(*row) for row in rows]


async def people_in(
    conn: Connection, rooms: Collection[RoomNid], but: UserNid | None = None
) -> list[UserID]:
    """Whoever is in any of these rooms, but for one."""
    rows = await conn.fetch(
        """
        SELECT DISTINCT u.user_id
          FROM memberships m JOIN users u ON u.user_nid = m.user_nid
         WHERE m.room_nid = ANY ($1) AND m.membership = 1 AND m.user_nid IS DISTINCT FROM $2
        """,
        list(rooms),
        but,
    )
    return [UserID(row[0]) for row in rows]


async def strangers_to(conn: Connection, user: UserNid, others: Collection[UserID]) -> list[UserID]:
    """Those of the others who share no room with somebody."""
    rows = await conn.fetch(
        """
        SELECT u.user_id FROM users u
         WHERE u.user_id = ANY ($2) AND u.user_nid <> $1 AND NOT EXISTS (
               SELECT FROM memberships o
                 JOIN memberships m ON m.room_nid = o.room_nid AND m.user_nid = $1
                WHERE o.user_nid = u.user_nid AND o.membership = 1 AND m.membership = 1)
        """,
        user,
        list(others),
    )
    return [UserID(row[0]) for row in rows]


async def rooms_of(conn: Connection, users: Collection[UserNid]) -> list[RoomNid]:
    """The rooms that any of the users is in."""
    rows = await conn.fetch(
        "SELECT DISTINCT room_nid FROM memberships WHERE user_nid = ANY ($1) AND membership = 1",
        list(users),
    )
    return [RoomNid(row[0]) for row in rows]


async def touch(conn: Connection, users: Collection[UserNid]) -> int | None:
    """Note that the devices of users of other servers changed; the position."""
    pos: int | None = await conn.fetchval(
        """
        SELECT append_log(array_agg($2::smallint), array_agg(NULL::bigint), array_agg(u),
                          array_agg(NULL::bigint))
          FROM unnest($1::bigint[]) AS u
        """,
        list(users),
        Kind.DEVICE_KEYS,
    )
    return pos
