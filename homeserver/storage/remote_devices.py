"""Device lists of people of other servers, as far as they are known here.

A list is kept while its owner shares a room with somebody here. It is fresh, or stale: then it may
be otherwise by now, and is fetched once somebody wants it.

https://spec.matrix.org/v1.19/server-server-api/#device-management
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from federation.identifiers import ServerName, UserID
from homeserver.storage.numbers import RoomNid, ServerNid, UserNid
from homeserver.storage.pool import Connection


class Standing(NamedTuple):
    """Of somebody who shares a room with somebody here: what is known of their list."""

    user: UserNid
    user_id: UserID
    is_known: bool
    """Whether there is a list, be it stale."""
    is_stale: bool
    changes: int
    stream_id: int | None
    master_key: bytes | None
    self_signing_key: bytes | None


class DeviceRow(NamedTuple):
    """A device of somebody's."""

    user: UserNid
    device_id: str
    json: bytes | None
    """`None`: it is gone."""


class Move(NamedTuple):
    """What updates make of a list that was fresh."""

    user: UserNid
    before: int | None
    """The last update that was in it; if it is not any more, nothing is done."""
    after: int | None
    master_key: bytes | None
    """`None`: as it was."""
    self_signing_key: bytes | None


class Fetched(NamedTuple):
    """A list as its server tells it."""

    user: UserNid
    changes: int
    """How many updates had made it stale when it was asked for: what came since is not in it."""
    stream_id: int | None
    master_key: bytes | None
    self_signing_key: bytes | None


class Due(NamedTuple):
    """A list that somebody wants and nobody has."""

    user_id: UserID
    server: ServerName


async def standings(conn: Connection, users: Collection[str], me: ServerNid) -> list[Standing]:
    """Those of the users who share a room with somebody here."""
    rows = await conn.fetch(
        """
        SELECT u.user_nid, u.user_id, l.user_nid IS NOT NULL, coalesce(l.stale, true),
               coalesce(l.changes, 0), l.stream_id, l.master_key, l.self_signing_key
          FROM users u LEFT JOIN remote_device_lists l ON l.user_nid = u.user_nid
         WHERE u.user_id = ANY ($1) AND EXISTS (
               SELECT FROM memberships m
                 JOIN room_servers r ON r.room_nid = m.room_nid AND r.server_nid = $2
                                    AND r.joined > 0
                WHERE m.user_nid = u.user_nid AND m.membership = 1)
        """,
        list(users),
        me,
    )
    return [Standing(*row) for row in rows]


async def devices_of(conn: Connection, users: Collection[UserNid]) -> list[DeviceRow]:
    """The devices that are known of these users."""
    rows = await conn.fetch(
        "SELECT user_nid, device_id, json FROM remote_devices WHERE user_nid = ANY ($1)",
        list(users),
    )
    return [DeviceRow(*row) for row in rows]


async def want(conn: Connection, users: Collection[UserNid]) -> None:
    """Note that somebody asked for these lists."""
    await conn.execute(
        "UPDATE remote_device_lists SET wanted = true WHERE user_nid = ANY ($1) AND NOT wanted",
        list(users),
    )


async def begin(
    conn: Connection, users: Collection[UserNid], server: ServerNid
) -> dict[UserNid, int]:
    """Before lists are asked for: note that they are wanted; how many updates came of each."""
    rows = await conn.fetch(
        """
        INSERT INTO remote_device_lists AS old (user_nid, server_nid, stale, wanted)
        SELECT u, $2, true, true FROM unnest($1::bigint[]) AS u ORDER BY u
        ON CONFLICT (user_nid) DO UPDATE SET wanted = true
        RETURNING user_nid, changes
        """,
        list(users),
        server,
    )
    return {UserNid(row[0]): row[1] for row in rows}


async def store(
    conn: Connection,
    lists: Sequence[Fetched],
    devices: Sequence[DeviceRow],
    *,
    wanted: bool,
    again_ts: int,
) -> set[UserNid]:
    """Keep lists as they were fetched; one that an update came for meanwhile stays stale.

    One that somebody else fetched meanwhile is left as it is: updates may be in it by now that are
    not in this one.

    Answers whose list could not be had for a while.

    Args:
        conn: to write with.
        lists: one of each user; those that are not known any more are left out.
        devices: all of these users.
        wanted: whether somebody asked for them.
        again_ts: when those that stay stale may be fetched again, in milliseconds.

    """
    rows = await conn.fetch(
        """
        WITH given AS (
            SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[])
                          AS g (user_nid, changes, stream_id, master_key, self_signing_key)
        ), before AS MATERIALIZED (
            SELECT user_nid, pause FROM remote_device_lists WHERE user_nid = ANY ($1)
        ), devices AS (
            SELECT * FROM unnest($6::bigint[], $7::text[], $8::bytea[])
                          AS d (user_nid, device_id, json)
        ), kept AS (
            UPDATE remote_device_lists l
               SET stream_id = g.stream_id, master_key = g.master_key,
                   self_signing_key = g.self_signing_key, stale = l.changes <> g.changes,
                   wanted = $9 OR l.changes <> g.changes, pause = 0, next_ts = $10
              FROM given g
             WHERE l.user_nid = g.user_nid AND l.stale
            RETURNING l.user_nid
        ), gone AS (
            DELETE FROM remote_devices r USING kept k
             WHERE r.user_nid = k.user_nid
               AND NOT EXISTS (SELECT FROM devices d
                                WHERE d.user_nid = r.user_nid AND d.device_id = r.device_id)
        ), put AS (
            INSERT INTO remote_devices AS old (user_nid, device_id, json)
            SELECT d.user_nid, d.device_id, d.json FROM devices d JOIN kept USING (user_nid)
             ORDER BY 1, 2
            ON CONFLICT (user_nid, device_id) DO UPDATE SET json = excluded.json
             WHERE old.json <> excluded.json
        )
        SELECT user_nid FROM kept JOIN before USING (user_nid) WHERE pause > 0
        """,
        *([row[column] for row in lists] for column in range(5)),
        *([row[column] for row in devices] for column in range(3)),
        wanted,
        again_ts,
    )
    return {UserNid(row[0]) for row in rows}


async def apply(
    conn: Connection, moves: Sequence[Move], devices: Sequence[DeviceRow], most: int
) -> set[UserNid]:
    """Put updates into fresh lists; whose lists were as they were taken to be.

    Those of `most` devices or more are left as they are.
    """
    rows = await conn.fetch(
        """
        WITH given AS (
            SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[])
                          AS g (user_nid, before, after, master_key, self_signing_key)
        ), devices AS (
            SELECT * FROM unnest($6::bigint[], $7::text[], $8::bytea[])
                          AS d (user_nid, device_id, json)
        ), moved AS (
            UPDATE remote_device_lists l
               SET stream_id = g.after, master_key = coalesce(g.master_key, l.master_key),
                   self_signing_key = coalesce(g.self_signing_key, l.self_signing_key)
              FROM given g
             WHERE l.user_nid = g.user_nid AND NOT l.stale
               AND l.stream_id IS NOT DISTINCT FROM g.before
               AND (SELECT count(*) FROM remote_devices r WHERE r.user_nid = l.user_nid) < $9
            RETURNING l.user_nid
        ), gone AS (
            DELETE FROM remote_devices r USING devices d, moved m
             WHERE d.user_nid = m.user_nid AND d.json IS NULL
               AND r.user_nid = d.user_nid AND r.device_id = d.device_id
        ), put AS (
            INSERT INTO remote_devices (user_nid, device_id, json)
            SELECT d.user_nid, d.device_id, d.json FROM devices d JOIN moved USING (user_nid)
             WHERE d.json IS NOT NULL
             ORDER BY 1, 2
            ON CONFLICT (user_nid, device_id) DO UPDATE SET json = excluded.json
        )
        SELECT user_nid FROM moved
        """,
        *([row[column] for row in moves] for column in range(5)),
        *([row[column] for row in devices] for column in range(3)),
        most,
    )
    return {UserNid(row[0]) for row in rows}


async def mark_stale(
    conn: Connection, users: Collection[UserNid], server: ServerNid, next_ts: int
) -> set[UserNid]:
    """Note that these lists may be otherwise; those that were fresh, or not known at all.

    Those that were fresh are fetched from `next_ts` on, in milliseconds, if somebody wants them.
    """
    rows = await conn.fetch(
        """
        WITH before AS MATERIALIZED (
            SELECT user_nid, stale FROM remote_device_lists
             WHERE user_nid = ANY ($1) ORDER BY user_nid FOR UPDATE
        ), marked AS (
            INSERT INTO remote_device_lists AS old (user_nid, server_nid, stale, wanted, changes)
            SELECT u, $2, true, false, 1
              FROM unnest($1::bigint[]) AS u, (SELECT count(*) FROM before) AS first
             ORDER BY u
            ON CONFLICT (user_nid) DO UPDATE
               SET stale = true, changes = old.changes + 1,
                   next_ts = CASE WHEN old.stale THEN old.next_ts ELSE $3 END
            RETURNING user_nid
        )
        SELECT m.user_nid FROM marked m LEFT JOIN before b ON b.user_nid = m.user_nid
         WHERE b.stale IS NOT TRUE
        """,
        list(users),
        server,
        next_ts,
    )
    return {UserNid(row[0]) for row in rows}


async def doubt_server(conn: Connection, server: ServerNid, *, everything: bool) -> None:
    """A server is back: what could not be had of it is worth another try.

    With `everything`, it was away for long: all that is known of its people may be otherwise.
    """
    await conn.execute(
        """
        UPDATE remote_device_lists
           SET stale = true, next_ts = 0,
               changes = changes + CASE WHEN stale THEN 0 ELSE 1 END
         WHERE server_nid = $1 AND (stale OR $2)
        """,
        server,
        everything,
    )


async def put_off(
    conn: Connection,
    server: ServerNid,
    users: Collection[UserNid],
    now: int,
    pauses: tuple[int, int],
) -> None:
    """A server did not tell lists of users: leave its stale ones alone for longer than before.

    `pauses` are the first and the longest, in milliseconds.
    """
    await conn.execute(
        """
        UPDATE remote_device_lists
           SET pause = least(greatest(pause * 2, $4), $5),
               next_ts = $3 + least(greatest(pause * 2, $4), $5)
         WHERE server_nid = $1 AND stale
           AND (next_ts <= $3 OR (pause = 0 AND user_nid = ANY ($2)))
        """,
        server,
        list(users),
        now,
        *pauses,
    )


async def due(conn: Connection, now: int, limit: int) -> list[Due]:
    """Lists that are to be fetched now."""
    rows = await conn.fetch(
        """
        SELECT u.user_id, s.server_name
          FROM remote_device_lists l
          JOIN users u ON u.user_nid = l.user_nid
          JOIN servers s ON s.server_nid = l.server_nid
         WHERE l.stale AND l.wanted AND l.next_ts <= $1
         ORDER BY l.next_ts
         LIMIT $2
        """,
        now,
        limit,
    )
    return [Due(*row) for row in rows]


async def next_due(conn: Connection) -> int | None:
    """When the next list is to be fetched, in milliseconds; `None`: none is."""
    found: int | None = await conn.fetchval(
        "SELECT min(next_ts) FROM remote_device_lists WHERE stale AND wanted"
    )
    return found


async def drop_unshared(
    conn: Connection,
    left: Collection[tuple[UserID, RoomNid]],
    rooms: Collection[RoomNid],
    me: ServerNid,
) -> None:
    """Forget lists of people who share no room with anybody here any more.

    Args:
        conn: to write with.
        left: users and rooms that they left: they may be back, but updates may be lost.
        rooms: that people here left, perhaps the last.
        me: this server.

    """
    await conn.execute(
        """
        WITH perhaps AS (
            SELECT u.user_nid, p.room_nid
              FROM unnest($1::text[], $2::bigint[]) AS p (user_id, room_nid)
              JOIN users u ON u.user_id = p.user_id
             UNION
            SELECT l.user_nid, NULL
              FROM memberships m JOIN remote_device_lists l ON l.user_nid = m.user_nid
             WHERE m.room_nid = ANY ($3)
               AND NOT EXISTS (SELECT FROM room_servers r
                                WHERE r.room_nid = m.room_nid AND r.server_nid = $4
                                  AND r.joined > 0)
        ), gone AS (
            DELETE FROM remote_device_lists l USING perhaps p
             WHERE l.user_nid = p.user_nid
               AND NOT EXISTS (
                   SELECT FROM memberships m
                     JOIN room_servers r ON r.room_nid = m.room_nid AND r.server_nid = $4
                                        AND r.joined > 0
                    WHERE m.user_nid = l.user_nid AND m.membership = 1
                      AND m.room_nid IS DISTINCT FROM p.room_nid)
            RETURNING l.user_nid
        )
        DELETE FROM remote_devices d USING gone g WHERE d.user_nid = g.user_nid
        """,
        [user_id for user_id, _ in left],
        [room for _, room in left],
        list(rooms),
        me,
    )
