"""What waits to be sent to other servers.

https://spec.matrix.org/v1.19/server-server-api/#transactions
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import orjson

from federation.identifiers import RoomID, ServerName, UserID, domain_of
from homeserver.storage.batch import Membership
from homeserver.storage.log import Kind
from homeserver.storage.numbers import RoomNid, ServerNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid
from homeserver.storage.stream_tokens import ORDER_BITS


class Edu(NamedTuple):
    """Something that is told to other servers, and kept until they have it."""

    type: str
    content: bytes
    """A JSON object."""
    key: str | None = None
    """An unsent one of the same type and key is replaced; the new one comes last."""


class QueuedEdu(NamedTuple):
    """An EDU in the queue."""

    edu: int
    type: str
    content: bytes


class QueuedEvent(NamedTuple):
    """An event in the queue."""

    pos: int
    event: EventNid
    json: bytes


class Waiting(NamedTuple):
    """What waits for a server, the earlier first."""

    events: list[QueuedEvent]
    edus: list[QueuedEdu]


async def queue_edu(conn: Connection, servers: Collection[ServerNid], edu: Edu) -> int | None:
    """Put an EDU into the queues of these servers; answers the position, if there are any."""
    return await queue_edus(conn, [(server, edu) for server in servers])


async def queue_edus(conn: Connection, edus: Collection[tuple[ServerNid, Edu]]) -> int | None:
    """Put EDUs into queues, each server its own in order; the position, if there are any."""
    if not edus:
        return None
    last = {
        (server, edu.type, edu.key or number): (server, edu)
        for number, (server, edu) in enumerate(edus)
    }
    rows = sorted(last.values(), key=lambda row: (row[0], row[1].type))
    pos: int | None = await conn.fetchval(
        """
        WITH queued AS (
            INSERT INTO outgoing_edus (server_nid, type, key, content)
            SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[])
            ON CONFLICT (server_nid, type, key) WHERE key IS NOT NULL
               -- The one that it replaces may be on its way, and is gone once that arrives.
               DO UPDATE SET content = excluded.content, edu_nid = DEFAULT
            RETURNING server_nid
        ), servers AS (
            SELECT array_agg(DISTINCT server_nid) AS nids FROM queued
        )
        SELECT append_log(array_fill($5::smallint, ARRAY[cardinality(nids)]),
                          array_fill(NULL::bigint, ARRAY[cardinality(nids)]),
                          array_fill(NULL::bigint, ARRAY[cardinality(nids)]), nids)
          FROM servers
        """,
        [server for server, _ in rows],
        [edu.type for _, edu in rows],
        [edu.key for _, edu in rows],
        [edu.content for _, edu in rows],
        Kind.OUTGOING,
    )
    return pos


async def queue_events(
    conn: Connection,
    events: Sequence[tuple[ServerNid, int, RoomNid, EventNid]],
    duty: str,
    holder: str,
    pos: int,
) -> bool:
    """Put events into queues, and move on to `pos`; false if the duty is somebody else's by now.

    The disk is not waited for: if this is lost, the same is found in the log again.
    """
    moved = await conn.fetchval(
        """
        WITH moved AS (
            UPDATE duties SET pos = $7
              FROM (SELECT set_config('synchronous_commit', 'off', true)) AS unhurried
             WHERE name = $5 AND holder = $6
            RETURNING name
        ), queued AS (
            INSERT INTO outgoing_events (server_nid, pos, room_nid, event_nid)
            SELECT e.* FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS e,
                   moved
            ON CONFLICT DO NOTHING
        )
        SELECT name FROM moved
        """,
        [event[0] for event in events],
        [event[1] for event in events],
        [event[2] for event in events],
        [event[3] for event in events],
        duty,
        holder,
        pos,
    )
    return moved is not None


async def queue_again(
    conn: Connection, rows: Sequence[tuple[ServerNid, RoomNid, EventNid]]
) -> int | None:
    """Put older events into queues, behind all that waits there; the position, if there are any."""
    if not rows:
        return None
    pos: int | None = await conn.fetchval(
        """
        WITH given AS (
            SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) WITH ORDINALITY
                   AS g (server_nid, room_nid, event_nid, nr)
        ), logged AS MATERIALIZED (
            SELECT append_log(array_agg($4::smallint), array_agg(NULL::bigint),
                              array_agg(NULL::bigint), array_agg(server_nid ORDER BY nr)) AS base
              FROM given
        ), queued AS (
            INSERT INTO outgoing_events (server_nid, pos, room_nid, event_nid)
            SELECT g.server_nid, l.base + g.nr - 1, g.room_nid, g.event_nid
              FROM given g, logged l
            RETURNING pos
        )
        SELECT max(pos) FROM queued
        """,
        *[list(column) for column in zip(*rows, strict=True)],
        Kind.OUTGOING,
    )
    return pos


async def waiting(
    conn: Connection, server: ServerNid, events: int, edus: int, most_bytes: int = 1 << 30
) -> Waiting:
    """So many of the first events and EDUs in a server's queue: one query.

    EDUs go up to the one with which they are that many bytes.
    """
    rows = await conn.fetch(
        """
        (SELECT o.pos, o.event_nid, NULL, e.json
           FROM outgoing_events o JOIN events e ON e.event_nid = o.event_nid
          WHERE o.server_nid = $1
          ORDER BY o.pos
          LIMIT $2)
         UNION ALL
        (SELECT edu_nid, NULL, type, content
           FROM (SELECT edu_nid, type, content,
                        sum(octet_length(content)) OVER (ORDER BY edu_nid) AS bytes
                   FROM (SELECT edu_nid, type, content FROM outgoing_edus
                          WHERE server_nid = $1 ORDER BY edu_nid LIMIT $3) first) summed
          WHERE bytes - octet_length(content) < $4
          ORDER BY edu_nid)
        """,
        server,
        events,
        edus,
        most_bytes,
    )
    return Waiting(
        [QueuedEvent(pos, event, raw) for pos, event, _, raw in rows if event is not None],
        [QueuedEdu(edu, kind, raw) for edu, _, kind, raw in rows if kind is not None],
    )


async def keep_newest(conn: Connection, server: ServerNid, most: int, now: int) -> None:
    """Of a queue that has grown long, keep each room's newest event, and what sticks: what is
    between, the server fetches when it is back.
    """
    await conn.execute(
        """
        DELETE FROM outgoing_events o
         WHERE o.server_nid = $1
           AND (SELECT count(*) FROM outgoing_events WHERE server_nid = $1) > $2
           AND EXISTS (SELECT FROM outgoing_events later
                        WHERE later.server_nid = $1 AND later.room_nid = o.room_nid
                          AND later.pos > o.pos)
           AND NOT EXISTS (SELECT FROM sticky_events s
                            WHERE s.event_nid = o.event_nid AND s.expires_ts > $3)
        """,
        server,
        most,
        now,
    )


async def shorten(
    conn: Connection, servers: Collection[ServerNid], most: int, most_bytes: int
) -> None:
    """Of EDUs that are too many for a server, keep the newest.

    Of somebody's devices the newest update is kept in any case, and tells by the one that it names
    that some are missing; and what is said of their signing keys, which is never more than one.
    """
    await conn.execute(
        """
        DELETE FROM outgoing_edus WHERE edu_nid = ANY (ARRAY(
            SELECT o.edu_nid
              FROM unnest($1::bigint[]) AS s (server_nid)
             CROSS JOIN LATERAL (
                   SELECT edu_nid, type,
                          count(*) OVER newest AS nr,
                          sum(octet_length(content)) OVER newest AS bytes,
                          row_number() OVER (PARTITION BY type, split_part(key, ' ', 1)
                                             ORDER BY edu_nid DESC) AS of_user
                     FROM outgoing_edus WHERE server_nid = s.server_nid
                   WINDOW newest AS (PARTITION BY type ORDER BY edu_nid DESC)) o
             WHERE (nr > $2 OR bytes > $3)
               AND NOT (type = ANY ($4) AND of_user = 1)))
        """,
        list(servers),
        most,
        most_bytes,
        ["m.device_list_update", "m.signing_key_update", "org.matrix.signing_key_update"],
    )


async def catch_up(
    conn: Connection,
    server: ServerNid,
    up_to: int,
    ours: ServerName,
    now: int,
    duty: str,
    holder: str,
) -> bool:
    """Queue again for a server; now what of ours sticks and the newest of each room that it is in.

    Of rooms where others have said a lot since, they tell it of what we said. False, and nothing is
    done, if the duty is somebody else's by now: for them the server would still be away.
    """
    is_ours = await conn.fetchval(
        """
        WITH mine AS (
            SELECT FROM duties WHERE name = $6 AND holder = $7 FOR SHARE
        ), back AS (
            UPDATE destinations d
               SET behind = NULL
              FROM mine, (SELECT server_nid, behind FROM destinations
                           WHERE server_nid = $1 AND behind IS NOT NULL FOR UPDATE) old
             WHERE d.server_nid = old.server_nid
            RETURNING old.behind
        ), queued AS (
        INSERT INTO outgoing_events (server_nid, pos, room_nid, event_nid)
        SELECT $1, newest.room_order >> $4, r.room_nid, newest.event_nid
          FROM back
          JOIN room_servers r ON r.server_nid = $1 AND r.joined > 0
         CROSS JOIN LATERAL (
               SELECT late.event_nid, late.room_order
                 FROM (SELECT event_nid, room_order, fate, json
                         FROM events e
                        WHERE e.room_nid = r.room_nid
                          AND e.room_order >= (back.behind + 1) << $4
                          AND e.room_order < ($2::bigint + 1) << $4
                        ORDER BY e.room_order DESC
                        LIMIT 100) late
                WHERE late.fate = 0 AND late.json LIKE $3
                ORDER BY late.room_order DESC
                LIMIT 1) newest
        UNION
        SELECT $1, e.room_order >> $4, s.room_nid, s.event_nid
          FROM back
          JOIN room_servers r ON r.server_nid = $1 AND r.joined > 0
          JOIN sticky_events s
            ON s.room_nid = r.room_nid AND s.is_ours AND s.expires_ts > $5
          JOIN events e ON e.event_nid = s.event_nid
         WHERE e.fate = 0 AND e.redacted_by IS NULL AND e.room_order < ($2::bigint + 1) << $4
        ON CONFLICT DO NOTHING
        )
        SELECT EXISTS (SELECT FROM mine)
        """,
        server,
        up_to,
        f'%"sender":"@%:{ours}"%'.encode(),
        ORDER_BITS,
        now,
        duty,
        holder,
    )
    return bool(is_ours)


async def forget(conn: Connection, server: ServerNid) -> None:
    """Drop all that waits for a server."""
    await conn.execute(
        """
        WITH events AS (DELETE FROM outgoing_events WHERE server_nid = $1),
             edus AS (DELETE FROM outgoing_edus WHERE server_nid = $1)
        DELETE FROM destinations WHERE server_nid = $1
        """,
        server,
    )


async def waiting_servers(conn: Connection) -> list[ServerNid]:
    """The servers for which something waits."""
    rows = await conn.fetch(
        """
        SELECT server_nid FROM outgoing_events UNION SELECT server_nid FROM outgoing_edus
         UNION SELECT server_nid FROM destinations WHERE txn_id IS NOT NULL
        """
    )
    return [ServerNid(row[0]) for row in rows]


async def awaits_departure(
    conn: Connection, room_id: RoomID, user_id: UserID, ours: ServerName, duty: str, since: int
) -> bool:
    """Whether the server of a user has still to be told that we put them out of a room, since then.

    Args:
        conn: a connection.
        room_id: the room.
        user_id: the user.
        ours: this server.
        duty: to put into queues what is to be told.
        since: in milliseconds since the epoch, as the event says.

    """
    row = await conn.fetchrow(
        """
        SELECT e.json, old.json
          FROM rooms r
          JOIN memberships m ON m.room_nid = r.room_nid
          JOIN users u ON u.user_nid = m.user_nid
          JOIN events e ON e.event_nid = m.event_nid
          JOIN state_changes c ON c.room_nid = m.room_nid AND c.pos = m.pos
                              AND c.new_event_nid = m.event_nid
          JOIN events old ON old.event_nid = c.old_event_nid
          JOIN duties d ON d.name = $4
         WHERE r.room_id = $1 AND u.user_id = $2 AND m.membership = ANY ($5)
           AND e.origin_server_ts >= $6
           AND (d.pos < m.pos OR EXISTS (
                   SELECT FROM outgoing_events o JOIN servers s ON s.server_nid = o.server_nid
                    WHERE s.server_name = $3 AND o.event_nid = m.event_nid))
        """,
        room_id,
        user_id,
        domain_of(user_id),
        duty,
        [Membership.LEAVE, Membership.BAN],
        since,
    )
    if row is None:
        return False
    event, before = map(orjson.loads, row)
    # Whoever was banned is not there: their server is not told that they no longer are.
    return domain_of(event["sender"]) == ours and before["content"].get("membership") != "ban"
