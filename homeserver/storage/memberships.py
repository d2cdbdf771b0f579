"""Who is in which rooms, by their current state.

https://spec.matrix.org/v1.19/client-server-api/#room-membership
"""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from federation.identifiers import RoomID, ServerName, UserID
from homeserver.storage.batch import Membership
from homeserver.storage.log import Kind
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid


class RoomOf(NamedTuple):
    """A room that a user has, or had, something to do with."""

    room: RoomNid
    room_id: RoomID
    membership: Membership
    event: EventNid
    pos: int
    """When it became so."""
    forgotten: int
    """Position at which the user forgot it; 0: never."""

    @property
    def is_forgotten(self) -> bool:
        """Whether it was forgotten and nothing came of it since."""
        return self.forgotten >= self.pos


async def rooms_of(conn: Connection, user: UserNid) -> list[RoomOf]:
    """All rooms of a user, those that were left too; where something came of it last, last."""
    rows = await conn.fetch(
        """
        SELECT m.room_nid, r.room_id, m.membership, m.event_nid, m.pos, coalesce(f.pos, 0)
          FROM memberships m
          JOIN rooms r ON r.room_nid = m.room_nid
          LEFT JOIN forgotten f ON f.user_nid = m.user_nid AND f.room_nid = m.room_nid
         WHERE m.user_nid = $1
         ORDER BY m.pos
        """,
        user,
    )
    return [RoomOf(r[0], r[1], Membership(r[2]), r[3], r[4], r[5]) for r in rows]


async def membership_of(conn: Connection, room: RoomNid, user: UserNid) -> Membership | None:
    """What the user is to the room."""
    found = await conn.fetchval(
        "SELECT membership FROM memberships WHERE room_nid = $1 AND user_nid = $2", room, user
    )
    return None if found is None else Membership(found)


async def among(
    conn: Connection, user: UserNid, rooms: Iterable[RoomNid]
) -> dict[RoomNid, Membership]:
    """What the user is to each of the rooms that they have to do with."""
    rows = await conn.fetch(
        """
        SELECT room_nid, membership FROM memberships WHERE user_nid = $1 AND room_nid = ANY ($2)
        """,
        user,
        list(rooms),
    )
    return {RoomNid(room): Membership(membership) for room, membership in rows}


async def joined_rooms(conn: Connection, user: UserNid) -> list[RoomID]:
    """The rooms that the user is in."""
    rows = await conn.fetch(
        """
        SELECT r.room_id
          FROM memberships m JOIN rooms r ON r.room_nid = m.room_nid
         WHERE m.user_nid = $1 AND m.membership = $2
         ORDER BY m.pos
        """,
        user,
        Membership.JOIN,
    )
    return [RoomID(row[0]) for row in rows]


async def joined_rooms_of(
    conn: Connection, users: Iterable[UserNid]
) -> dict[UserNid, frozenset[RoomNid]]:
    """The rooms that each of some users is in: one query."""
    wanted = list(users)
    rows = await conn.fetch(
        """
        SELECT user_nid, array_agg(room_nid) FROM memberships
         WHERE user_nid = ANY ($1) AND membership = $2
         GROUP BY user_nid
        """,
        wanted,
        Membership.JOIN,
    )
    found = {UserNid(user): frozenset(map(RoomNid, rooms)) for user, rooms in rows}
    return {user: found.get(user, frozenset()) for user in wanted}


async def events_of(
    conn: Connection, pairs: Collection[tuple[RoomNid, UserNid]]
) -> dict[tuple[RoomNid, UserNid], bytes]:
    """The membership events of users in rooms, as JSON."""
    rows = await conn.fetch(
        """
        SELECT m.room_nid, m.user_nid, e.json
          FROM unnest($1::bigint[], $2::bigint[]) AS w (room_nid, user_nid)
          JOIN memberships m ON m.room_nid = w.room_nid AND m.user_nid = w.user_nid
          JOIN events e ON e.event_nid = m.event_nid
        """,
        [room for room, _ in pairs],
        [user for _, user in pairs],
    )
    return {(RoomNid(row[0]), UserNid(row[1])): row[2] for row in rows}


async def users_with(
    conn: Connection, room: RoomNid, membership: Membership, limit: int
) -> list[UserID]:
    """The users who have a membership in a room."""
    rows = await conn.fetch(
        """
        SELECT u.user_id
          FROM memberships m JOIN users u ON u.user_nid = m.user_nid
         WHERE m.room_nid = $1 AND m.membership = $2
         LIMIT $3
        """,
        room,
        membership,
        limit,
    )
    return [UserID(row[0]) for row in rows]


async def rooms_of_any(conn: Connection, users: Iterable[UserNid]) -> list[RoomNid]:
    """The rooms that any of these users is in."""
    rows = await conn.fetch(
        "SELECT DISTINCT room_nid FROM memberships WHERE user_nid = ANY ($1) AND membership = 1",
        list(users),
    )
    return [RoomNid(row[0]) for row in rows]


async def shared_rooms(
    conn: Connection, one: UserNid, other: UserNid, after: RoomNid, limit: int
) -> tuple[list[tuple[RoomNid, RoomID]], int]:
    """Rooms that both users are in, beyond a room by number; and how many there are in all."""
    rows = await conn.fetch(
        """
        WITH shared AS MATERIALIZED (
            SELECT m.room_nid
              FROM memberships m
              JOIN memberships o ON o.room_nid = m.room_nid AND o.user_nid = $2
             WHERE m.user_nid = $1 AND m.membership = $5 AND o.membership = $5
        )
        SELECT r.room_nid, r.room_id, c.many
          FROM (SELECT count(*) AS many FROM shared) c
          LEFT JOIN LATERAL (
               SELECT s.room_nid, r.room_id
                 FROM shared s JOIN rooms r ON r.room_nid = s.room_nid
                WHERE s.room_nid > $3
                ORDER BY s.room_nid
                LIMIT $4
               ) r ON true
         ORDER BY r.room_nid
        """,
        one,
        other,
        after,
        limit,
        Membership.JOIN,
    )
    rooms = [(RoomNid(row[0]), RoomID(row[1])) for row in rows if row[0] is not None]
    return rooms, rows[0][2]


class Known(NamedTuple):
    """What is known of a user and some rooms."""

    is_joined: bool
    """To any of them that this server is in."""
    is_all: bool
    """Whether all members are known of any of those."""


async def in_one_of(
    conn: Connection, user: UserNid | None, rooms: Iterable[str], ours: ServerName
) -> Known:
    """Whether the user is joined to any of these rooms; of those that we left nothing is known."""
    row = await conn.fetchrow(
        """
        SELECT coalesce(bool_or(m.room_nid IS NOT NULL), false),
               coalesce(bool_or(p.room_nid IS NULL), false)
          FROM rooms r
          JOIN room_servers s ON s.room_nid = r.room_nid AND s.joined > 0
          JOIN servers n ON n.server_nid = s.server_nid AND n.server_name = $4
          LEFT JOIN memberships m
            ON m.room_nid = r.room_nid AND m.user_nid = $1 AND m.membership = $2
          LEFT JOIN partial_rooms p ON p.room_nid = r.room_nid
         WHERE r.room_id = ANY ($3)
        """,
        user,
        Membership.JOIN,
        list(rooms),
        ours,
    )
    return Known(*row)


async def local_members(conn: Connection, room: RoomNid) -> Sequence[UserID]:
    """The people with an account here who are joined to the room, those longest in it first."""
    rows = await conn.fetch(
        """
        SELECT u.user_id
          FROM memberships m
          JOIN accounts a ON a.user_nid = m.user_nid
          JOIN users u ON u.user_nid = m.user_nid
         WHERE m.room_nid = $1 AND m.membership = $2 AND NOT a.deactivated
         ORDER BY m.pos
         LIMIT 10000
        """,
        room,
        Membership.JOIN,
    )
    return [UserID(row[0]) for row in rows]


async def rooms_with(
    conn: Connection, rooms: Iterable[RoomNid], server: ServerName
) -> set[RoomNid]:
    """Those of the rooms to which anybody of the server is joined."""
    rows = await conn.fetch(
        """
        SELECT r.room_nid FROM room_servers r JOIN servers s ON s.server_nid = r.server_nid
         WHERE r.room_nid = ANY ($1) AND s.server_name = $2 AND r.joined > 0
        """,
        list(rooms),
        server,
    )
    return {RoomNid(row[0]) for row in rows}


async def has_server(conn: Connection, room: RoomNid, server: ServerName) -> bool:
    """Whether anybody of the server is joined to the room."""
    found: bool = await conn.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM room_servers r JOIN servers s ON s.server_nid = r.server_nid
             WHERE r.room_nid = $1 AND s.server_name = $2 AND r.joined > 0
        )
        """,
        room,
        server,
    )
    return found


class Door(NamedTuple):
    """What there is of a room to somebody who wants to come in."""

    head: int
    """The number of its head."""
    is_blocked: bool
    is_here: bool
    """Whether anybody of this server is in it."""
    is_stranger: bool
    """Whether nothing was ever said of the user's membership."""


async def door(conn: Connection, room: RoomNid, user: UserID, server: ServerName) -> Door:
    """A room of which we have heard, to a user of this server: one query."""
    row = await conn.fetchrow(
        """
        SELECT r.head,
               EXISTS (SELECT FROM blocked_rooms b WHERE b.room_nid = r.room_nid),
               EXISTS (SELECT FROM room_servers p JOIN servers s ON s.server_nid = p.server_nid
                        WHERE p.room_nid = r.room_nid AND s.server_name = $3 AND p.joined > 0),
               NOT EXISTS (SELECT FROM memberships m JOIN users u ON u.user_nid = m.user_nid
                            WHERE m.room_nid = r.room_nid AND u.user_id = $2)
          FROM rooms r WHERE r.room_nid = $1
        """,
        room,
        user,
        server,
    )
    return Door(*row)


async def rooms_inviting(
    conn: Connection, rooms: Iterable[RoomNid], server: ServerName
) -> set[RoomNid]:
    """Those of the rooms to which anybody of the server is invited."""
    rows = await conn.fetch(
        """
        SELECT DISTINCT m.room_nid
          FROM memberships m JOIN users u ON u.user_nid = m.user_nid
         WHERE m.room_nid = ANY ($1) AND m.membership = $3
           AND right(u.user_id, length($2) + 1) = ':' || $2
        """,
        list(rooms),
        server,
        Membership.INVITE,
    )
    return {RoomNid(row[0]) for row in rows}


async def of_server(conn: Connection, room: RoomNid, server: ServerName) -> list[UserID]:
    """Users of a server that have, or had, anything to do with a room."""
    rows = await conn.fetch(
        """
        SELECT u.user_id FROM memberships m JOIN users u ON u.user_nid = m.user_nid
         WHERE m.room_nid = $1 AND right(u.user_id, length($2) + 1) = ':' || $2
         -- Whoever came first and is still there was there most of the time.
         ORDER BY m.membership <> 1, m.pos
         LIMIT 1000
        """,
        room,
        server,
    )
    return [UserID(row[0]) for row in rows]


async def servers_in(conn: Connection, room: RoomNid, limit: int = 10_000) -> list[ServerName]:
    """The servers of which somebody is joined, those with the most people first."""
    rows = await conn.fetch(
        """
        SELECT s.server_name
          FROM room_servers r JOIN servers s ON s.server_nid = r.server_nid
         WHERE r.room_nid = $1 AND r.joined > 0
         ORDER BY r.joined DESC, s.server_name
         LIMIT $2
        """,
        room,
        limit,
    )
    return [ServerName(row[0]) for row in rows]


async def forget(conn: Connection, user: UserNid, room: RoomNid, now: int) -> int | None:
    """Note that the user forgets the room, if it was left; the position, or `None`."""
    pos: int | None = await conn.fetchval(
        """
        WITH left_behind AS MATERIALIZED (
            SELECT m.user_nid FROM memberships m
             WHERE m.user_nid = $1 AND m.room_nid = $2 AND m.membership = ANY ($3)
        ), logged AS MATERIALIZED (
            SELECT append_log(ARRAY[$4::smallint], ARRAY[$2::bigint], ARRAY[$1::bigint],
                              ARRAY[NULL::bigint]) AS pos
              FROM left_behind
        )
        INSERT INTO forgotten (user_nid, room_nid, pos, forgotten_ts)
        SELECT $1, $2, pos, $5 FROM logged
        ON CONFLICT (user_nid, room_nid) DO UPDATE
           SET pos = excluded.pos, forgotten_ts = excluded.forgotten_ts
        RETURNING pos
        """,
        user,
        room,
        [Membership.LEAVE, Membership.BAN],
        Kind.FORGOTTEN,
        now,
    )
    return pos


async def forget_all(conn: Connection, user: UserNid, now: int) -> int | None:
    """Note that the user forgets all rooms that were left; the position, or `None`."""
    pos: int | None = await conn.fetchval(
        """
        WITH left_behind AS MATERIALIZED (
            SELECT m.room_nid FROM memberships m
             WHERE m.user_nid = $1 AND m.membership = ANY ($2)
        ), logged AS MATERIALIZED (
            SELECT append_log(array_agg($3::smallint), array_agg(room_nid), array_agg($1::bigint),
                              array_agg(NULL::bigint)) AS pos
              FROM left_behind HAVING count(*) > 0
        ), forgotten_ AS (
            INSERT INTO forgotten (user_nid, room_nid, pos, forgotten_ts)
            SELECT $1, b.room_nid, l.pos, $4 FROM left_behind b, logged l
            ON CONFLICT (user_nid, room_nid) DO UPDATE
               SET pos = excluded.pos, forgotten_ts = excluded.forgotten_ts
        )
        SELECT pos FROM logged
        """,
        user,
        [Membership.LEAVE, Membership.BAN],
        Kind.FORGOTTEN,
        now,
    )
    return pos


async def forget_left(conn: Connection, after: int, upto: int, now: int) -> int | None:
    """Note that people of this server forget the rooms that a part of the log put them out of.

    Answers the position, or `None` if nobody forgot anything.
    """
    pos: int | None = await conn.fetchval(
        """
        WITH left_behind AS MATERIALIZED (
            SELECT DISTINCT m.user_nid, m.room_nid
              FROM log l
              JOIN accounts a ON a.user_nid = l.user_nid
              JOIN memberships m ON m.user_nid = l.user_nid AND m.room_nid = l.room_nid
              LEFT JOIN forgotten f ON f.user_nid = m.user_nid AND f.room_nid = m.room_nid
             WHERE l.pos > $1 AND l.pos <= $2 AND l.kind = ANY ($3)
               AND m.membership = ANY ($4) AND (f.pos IS NULL OR f.pos < m.pos)
        ), logged AS MATERIALIZED (
            SELECT append_log(array_agg($5::smallint), array_agg(room_nid), array_agg(user_nid),
                              array_agg(NULL::bigint)) AS pos
              FROM left_behind HAVING count(*) > 0
        ), forgotten_ AS (
            INSERT INTO forgotten (user_nid, room_nid, pos, forgotten_ts)
            SELECT b.user_nid, b.room_nid, l.pos, $6 FROM left_behind b, logged l
            ON CONFLICT (user_nid, room_nid) DO UPDATE
               SET pos = excluded.pos, forgotten_ts = excluded.forgotten_ts
        )
        SELECT pos FROM logged
        """,
        after,
        upto,
        [Kind.EVENT, Kind.STATE],
        [Membership.LEAVE, Membership.BAN],
        Kind.FORGOTTEN,
        now,
    )
    return pos


async def local_people(conn: Connection, room: RoomNid) -> Sequence[UserID]:
    """The people with an account here who are invited, knock or are in the room, in that order.

    Once nobody is in it, the server is not, and cannot take back the rest by itself.
    """
    rows = await conn.fetch(
        """
        SELECT u.user_id
          FROM memberships m
          JOIN accounts a ON a.user_nid = m.user_nid
          JOIN users u ON u.user_nid = m.user_nid
         WHERE m.room_nid = $1 AND m.membership = ANY ($2)
         ORDER BY m.membership = $3, m.pos
         LIMIT 100000
        """,
        room,
        [Membership.JOIN, Membership.INVITE, Membership.KNOCK],
        Membership.JOIN,
    )
    return [UserID(row[0]) for row in rows]


async def has_any(conn: Connection, room: RoomNid) -> bool:
    """Whether anybody ever had anything to do with the room."""
    found: bool = await conn.fetchval(
        "SELECT EXISTS (SELECT FROM memberships WHERE room_nid = $1)", room
    )
    return found
