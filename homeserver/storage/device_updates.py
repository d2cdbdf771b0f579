"""What other servers are told of the devices of people here, and what was told last.

https://spec.matrix.org/v1.19/server-server-api/#device-management
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from federation.identifiers import UserID
from homeserver.storage.destinations import FOLLOW_DEVICES
from homeserver.storage.log import Kind
from homeserver.storage.numbers import RoomNid, ServerNid, UserNid
from homeserver.storage.pool import Connection

_KINDS = [Kind.DEVICE_GONE, Kind.DEVICE_KEYS]


class Change(NamedTuple):
    """A row of the log after which other servers may have to be told: of devices, of who came."""

    pos: int
    kind: int
    room: RoomNid | None
    user: UserNid | None
    user_id: UserID | None
    item: int | None
    device_id: str | None
    """Of a device that is there, or was deleted and had keys."""
    after: bytes | None
    """Of a membership: the event, as JSON."""
    before: bytes | None
    """Of a membership: the one before it; `None`: there was none."""


class Told(NamedTuple):
    """The last update of somebody's devices."""

    stream_id: int
    prev_id: int | None
    device_id: str


class Move(NamedTuple):
    """A membership that became otherwise, by an event of its own or not."""

    room: RoomNid
    user_id: UserID
    before: bytes | None
    """The event before, as JSON."""
    after: bytes | None


async def changes(conn: Connection, after: int, up_to: int) -> list[Change]:
    """The changes in a span of the log."""
    rows = await conn.fetch(
        """
        SELECT l.pos, l.kind, l.room_nid, l.user_nid, u.user_id, l.item, d.device_id, m.after,
               m.before
          FROM (SELECT * FROM log
                 WHERE pos > $1 AND pos <= $2
                   AND ((kind = 1 AND user_nid IS NOT NULL) OR kind = ANY ($3))) l
          -- Row by row, as there are few.
          LEFT JOIN LATERAL (
               SELECT user_id FROM users WHERE user_nid = l.user_nid OFFSET 0) u ON true
          LEFT JOIN LATERAL (
               SELECT device_id FROM devices WHERE l.kind = $5 AND device_nid = l.item
                UNION ALL
               SELECT device_id FROM gone_devices WHERE l.kind = $4 AND device_nid = l.item
               OFFSET 0) d ON true
          LEFT JOIN LATERAL (
               SELECT e.json AS after, o.json AS before
                 FROM events e
                 LEFT JOIN state_changes c ON c.room_nid = l.room_nid AND c.pos = l.pos
                                          AND c.new_event_nid = l.item
                 LEFT JOIN events o ON o.event_nid = c.old_event_nid
                WHERE l.kind = 1 AND e.event_nid = l.item
               OFFSET 0) m ON true
         ORDER BY l.pos
        """,
        after,
        up_to,
        _KINDS,
        Kind.DEVICE_GONE,
        Kind.DEVICE_KEYS,
    )
    return [Change(*row) for row in rows]


async def moves(conn: Connection, after: int, up_to: int) -> list[Move]:
    """The memberships that became otherwise in a span of the log."""
    rows = await conn.fetch(
        """
        SELECT l.room_nid, k.state_key, o.json, n.json
          FROM log l
          JOIN state_changes c ON c.room_nid = l.room_nid AND c.pos = l.pos
          JOIN state_keys k ON k.state_key_nid = c.state_key_nid AND k.type = 'm.room.member'
          LEFT JOIN events o ON o.event_nid = c.old_event_nid
          LEFT JOIN events n ON n.event_nid = c.new_event_nid
         WHERE l.pos > $1 AND l.pos <= $2 AND l.kind IN (1, 2)
        """,
        after,
        up_to,
    )
    return [Move(*row) for row in rows]


async def told(conn: Connection, users: Collection[UserNid]) -> dict[UserNid, Told]:
    """What was told last of each of these users of whom anything was."""
    rows = await conn.fetch(
        """
        SELECT user_nid, stream_id, prev_id, device_id FROM device_updates
         WHERE user_nid = ANY ($1)
        """,
        list(users),
    )
    return {UserNid(row[0]): Told(*row[1:]) for row in rows}


async def note(
    conn: Connection, updates: Sequence[tuple[UserNid, Told]], gone: Collection[int]
) -> None:
    """These updates, one of each user, were told; and that these devices are gone."""
    await conn.execute(
        """
        WITH done AS (DELETE FROM gone_devices WHERE device_nid = ANY ($5))
        INSERT INTO device_updates AS old (user_nid, stream_id, prev_id, device_id)
        SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[])
        ON CONFLICT (user_nid) DO UPDATE
           SET stream_id = excluded.stream_id, prev_id = excluded.prev_id,
               device_id = excluded.device_id
         WHERE old.stream_id < excluded.stream_id
        """,
        [user for user, _ in updates],
        [update.stream_id for _, update in updates],
        [update.prev_id for _, update in updates],
        [update.device_id for _, update in updates],
        list(gone),
    )


async def lacking(conn: Connection) -> set[ServerNid]:
    """The servers that are not told of devices: they are away, or were until now."""
    rows = await conn.fetch("SELECT server_nid FROM destinations WHERE devices_behind IS NOT NULL")
    return {ServerNid(row[0]) for row in rows}


async def returned(conn: Connection) -> list[tuple[ServerNid, int]]:
    """The servers that answer again and lack updates, and from which position on."""
    rows = await conn.fetch(
        """
        SELECT server_nid, devices_behind FROM destinations
         WHERE devices_behind IS NOT NULL AND behind IS NULL AND pause = 0
        """
    )
    return [(ServerNid(row[0]), row[1]) for row in rows]


async def catch_up(conn: Connection, server: ServerNid, behind: int, holder: str) -> bool:
    """The server lacks nothing from this position on any more.

    False, and nothing is done, if somebody else follows devices by now: what they did not tell the
    server, because it was away, it still lacks.
    """
    is_ours = await conn.fetchval(
        """
        WITH mine AS (
            SELECT FROM duties WHERE name = $3 AND holder = $4 FOR SHARE
        ), back AS (
            UPDATE destinations SET devices_behind = NULL FROM mine
             WHERE server_nid = $1 AND devices_behind = $2
        )
        SELECT EXISTS (SELECT FROM mine)
        """,
        server,
        behind,
        FOLLOW_DEVICES,
        holder,
    )
    return bool(is_ours)


async def missed(
    conn: Connection, server: ServerNid, behind: int, after: UserNid, limit: int
) -> dict[UserNid, tuple[UserID, Told]]:
    """The last updates of people, in order, that a server was not told, or not of people it met.

    Args:
        conn: to read with.
        server: which shares rooms with them.
        behind: the position from which on it was told nothing.
        after: the person after whom to begin.
        limit: of people.

    """
    rows = await conn.fetch(
        """
        SELECT d.user_nid, u.user_id, d.stream_id, d.prev_id, d.device_id
          FROM device_updates d JOIN users u ON u.user_nid = d.user_nid
         WHERE d.user_nid > $3
           AND EXISTS (SELECT FROM memberships m
                         JOIN room_servers r ON r.room_nid = m.room_nid AND r.server_nid = $1
                                            AND r.joined > 0
                        WHERE m.user_nid = d.user_nid AND m.membership = 1
                          AND (d.stream_id > $2 OR m.pos > $2))
         ORDER BY d.user_nid
         LIMIT $4
        """,
        server,
        behind,
        after,
        limit,
    )
    return {UserNid(row[0]): (UserID(row[1]), Told(*row[2:])) for row in rows}


async def servers_sharing(
    conn: Connection, users: Collection[UserNid], but: ServerNid
) -> dict[UserNid, list[ServerNid]]:
    """The other servers that are in a room with each of these users."""
    rows = await conn.fetch(
        """
        SELECT m.user_nid, array_agg(DISTINCT r.server_nid)
          FROM memberships m
          JOIN room_servers r ON r.room_nid = m.room_nid AND r.joined > 0 AND r.server_nid <> $2
         WHERE m.user_nid = ANY ($1) AND m.membership = 1
         GROUP BY m.user_nid
        """,
        list(users),
        but,
    )
    return {UserNid(row[0]): list(row[1]) for row in rows}


async def servers_met(
    conn: Connection, joins: Collection[tuple[UserNid, RoomNid, int]], but: ServerNid
) -> dict[UserNid, list[ServerNid]]:
    """The other servers that users met by joining rooms at positions, and did not share before."""
    rows = await conn.fetch(
        """
        WITH joined AS (
            SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])
                          AS j (user_nid, room_nid, pos)
        ), met AS (
            SELECT j.user_nid, r.server_nid
              FROM joined j
              JOIN room_servers r ON r.room_nid = j.room_nid AND r.joined > 0
             WHERE r.server_nid <> $4
            EXCEPT
            SELECT j.user_nid, r.server_nid
              FROM joined j
              JOIN memberships m ON m.user_nid = j.user_nid AND m.membership = 1
                                AND m.room_nid <> j.room_nid AND m.pos < j.pos
              JOIN room_servers r ON r.room_nid = m.room_nid AND r.joined > 0
        )
        SELECT user_nid, array_agg(server_nid) FROM met GROUP BY user_nid
        """,
        [join[0] for join in joins],
        [join[1] for join in joins],
        [join[2] for join in joins],
        but,
    )
    return {UserNid(row[0]): list(row[1]) for row in rows}
