"""Rooms that nobody of this server wants any more, and those that are being deleted."""

from typing import NamedTuple

from federation.identifiers import ServerName
from homeserver.storage.batch import Membership
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection, OwnConnection


class Unwanted(NamedTuple):
    """A room that is to be deleted."""

    room: RoomNid
    is_closed: bool
    """Whether it was begun already."""


async def find(
    conn: Connection, server: ServerName, before: int, limit: int, room: RoomNid | None = None
) -> list[Unwanted]:
    """Rooms that everybody here has left, and forgot before a moment, and those that are closed.

    Whoever is invited or knocks has not left. Of a room whose members are not all known yet, it is
    first found out who they are.

    Args:
        conn: to read with.
        server: ours.
        before: milliseconds since the epoch.
        limit: how many at most.
        room: the only one that counts, if given.

    """
    rows = await conn.fetch(
        """
        SELECT room_nid, true FROM closing_rooms WHERE room_nid = coalesce($5, room_nid)
         UNION ALL
        SELECT DISTINCT f.room_nid, false
          FROM forgotten f
         WHERE f.forgotten_ts < $2
           AND f.room_nid = coalesce($5, f.room_nid)
           AND NOT EXISTS (SELECT FROM room_servers r JOIN servers s ON s.server_nid = r.server_nid
                            WHERE r.room_nid = f.room_nid AND r.joined > 0 AND s.server_name = $1)
           AND NOT EXISTS (SELECT FROM partial_rooms p WHERE p.room_nid = f.room_nid)
           AND NOT EXISTS (
               SELECT FROM memberships m
                 JOIN accounts a ON a.user_nid = m.user_nid
                 LEFT JOIN forgotten g ON g.user_nid = m.user_nid AND g.room_nid = m.room_nid
                WHERE m.room_nid = f.room_nid
                  AND (m.membership <> ALL ($3) OR g.pos IS NULL OR g.pos < m.pos
                       OR g.forgotten_ts >= $2))
         LIMIT $4
        """,
        server,
        before,
        [Membership.LEAVE, Membership.BAN],
        limit,
        room,
    )
    return [Unwanted(RoomNid(row[0]), row[1]) for row in rows]


async def hold(conn: OwnConnection, room: RoomNid) -> None:
    """Let nobody want the room again until the transaction ends."""
    await conn.execute("SELECT FROM forgotten WHERE room_nid = $1 FOR UPDATE", room)


async def want(conn: Connection, room: RoomNid, now: int) -> None:
    """Somebody is about to join the room: it counts as if it were forgotten only now."""
    await conn.execute("UPDATE forgotten SET forgotten_ts = $2 WHERE room_nid = $1", room, now)


async def is_closing(conn: Connection, room: RoomNid) -> bool:
    """Whether the room is being deleted."""
    found: bool = await conn.fetchval(
        "SELECT EXISTS (SELECT FROM closing_rooms WHERE room_nid = $1)", room
    )
    return found


async def lock(conn: OwnConnection, room: RoomNid) -> bool:
    """Let nobody else delete the room until the transaction ends; whether it is to be deleted."""
    rows = await conn.fetch("SELECT FROM closing_rooms WHERE room_nid = $1 FOR UPDATE", room)
    return bool(rows)
