"""Whose devices changed, for whom that matters.

https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user
"""

from collections.abc import Collection

from federation.identifiers import ServerName, UserID
from homeserver.storage.log import Kind
from homeserver.storage.numbers import RoomNid, ServerNid, UserNid
from homeserver.storage.pool import Connection

_KINDS = [Kind.DEVICE_KEYS, Kind.DEVICE_GONE]


async def changed(conn: Connection, user: UserNid, after: int, up_to: int) -> list[UserID]:
    """Users who share a room with somebody, and whose devices, or sharing, are new."""
    rows = await conn.fetch(
        """
        WITH mine AS (
            SELECT room_nid, pos FROM memberships WHERE user_nid = $1 AND membership = 1
        ), touched AS (
            SELECT DISTINCT user_nid FROM log
             WHERE kind <> 1 AND pos > $2 AND pos <= $3 AND kind = ANY ($4)
        ), shared AS (
            SELECT t.user_nid FROM touched t
             WHERE t.user_nid = $1 OR EXISTS (
                   SELECT FROM mine m JOIN memberships o ON o.room_nid = m.room_nid
                    WHERE o.user_nid = t.user_nid AND o.membership = 1)
        ), came AS (
            SELECT o.user_nid
              FROM mine m JOIN memberships o ON o.room_nid = m.room_nid AND o.membership = 1
             WHERE (o.pos > $2 OR m.pos > $2) AND o.user_nid <> $1
        )
        SELECT u.user_id FROM users u
         WHERE u.user_nid IN (SELECT user_nid FROM shared UNION SELECT user_nid FROM came)
        """,
        user,
        after,
        up_to,
        _KINDS,
    )
    return [UserID(row[0]) for row in rows]


async def left(conn: Connection, user: UserNid, after: int) -> list[UserID]:
    """Users with whom somebody shared a room until lately, and shares none any more."""
    rows = await conn.fetch(
        """
        WITH rooms AS (
            SELECT room_nid, membership, pos FROM memberships
             WHERE user_nid = $1 AND (membership = 1 OR (membership IN (0, 4) AND pos > $2))
        ), gone AS (
            SELECT DISTINCT o.user_nid
              FROM rooms m JOIN memberships o ON o.room_nid = m.room_nid
             WHERE o.user_nid <> $1
               AND ((m.membership = 1 AND o.membership IN (0, 4) AND o.pos > $2)
                 OR (m.membership <> 1 AND (o.membership = 1 OR o.pos > $2)))
        )
        SELECT u.user_id FROM gone g JOIN users u ON u.user_nid = g.user_nid
         WHERE NOT EXISTS (
               SELECT FROM memberships a JOIN memberships b ON b.room_nid = a.room_nid
                WHERE a.user_nid = $1 AND a.membership = 1
                  AND b.user_nid = g.user_nid AND b.membership = 1)
        """,
        user,
        after,
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


async def servers_sharing(conn: Connection, user: UserNid, but: ServerName) -> list[ServerNid]:
    """The other servers that are in a room with somebody."""
    rows = await conn.fetch(
        """
        SELECT DISTINCT r.server_nid
          FROM memberships m
          JOIN room_servers r ON r.room_nid = m.room_nid AND r.joined > 0
          JOIN servers s ON s.server_nid = r.server_nid
         WHERE m.user_nid = $1 AND m.membership = 1 AND s.server_name <> $2
        """,
        user,
        but,
    )
    return [ServerNid(row[0]) for row in rows]
