"""How other servers fare, and the transactions on their way to them.

https://spec.matrix.org/v1.19/server-server-api/#transactions
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from federation.identifiers import ServerName
from homeserver.storage.batch import Fate
from homeserver.storage.log import Kind
from homeserver.storage.numbers import RoomNid, ServerNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid

FOLLOW_DEVICES = "follow devices"
"""The duty of whoever tells other servers of devices."""


class Transaction(NamedTuple):
    """What is sent in one request: repeated until it arrives, and never changed."""

    txn_id: str
    content: bytes
    last_pos: int | None
    """Of the last event in it: those are queued in the order of the log."""
    edus: Sequence[int]
    """All that are in it: one may be written late that had its number before."""


class Standing(NamedTuple):
    """How a server fares."""

    pause: int = 0
    """Milliseconds that it is left alone; 0: it answers."""
    retry_ts: int = 0
    transaction: Transaction | None = None
    """The one that did not arrive."""
    was_tried: bool = False
    """Whether anything was ever sent to it."""


class LocalEvent(NamedTuple):
    """An event that other servers may have to be told of."""

    pos: int
    room: RoomNid
    event: EventNid
    json: bytes
    member: str | None
    """Of a membership: whose, by user ID."""


async def find(conn: Connection, server: ServerNid) -> Standing:
    """How a server fares."""
    return (await look_up(conn, [server]))[server][1]


async def answering(conn: Connection, servers: Collection[ServerNid]) -> list[ServerNid]:
    """Those of the servers that are not left alone."""
    rows = await conn.fetch(
        "SELECT server_nid FROM destinations WHERE server_nid = ANY ($1) AND pause = 0",
        list(servers),
    )
    return [ServerNid(row[0]) for row in rows]


async def away(conn: Connection) -> list[ServerNid]:
    """The servers for which nothing is queued."""
    rows = await conn.fetch("SELECT server_nid FROM destinations WHERE behind IS NOT NULL")
    return [ServerNid(row[0]) for row in rows]


async def look_up(
    conn: Connection, servers: Collection[ServerNid]
) -> dict[ServerNid, tuple[ServerName, Standing]]:
    """The servers' names, and how they fare."""
    rows = await conn.fetch(
        """
        SELECT s.server_nid, s.server_name, d.pause, d.retry_ts,
               d.txn_id, d.txn_content, d.txn_last_pos,
               -- COMPAT(processes of the version before, while one is replaced by the other)
               COALESCE(d.txn_edus, ARRAY(SELECT edu_nid FROM outgoing_edus o
                                           WHERE o.server_nid = s.server_nid
                                             AND o.edu_nid <= d.txn_last_edu))
          FROM servers s LEFT JOIN destinations d ON d.server_nid = s.server_nid
         WHERE s.server_nid = ANY ($1)
        """,
        list(servers),
    )
    return {ServerNid(nid): (ServerName(name), _standing(*parts)) for nid, name, *parts in rows}


def _standing(pause: int | None, retry_ts: int, txn_id: str | None, *parts: Any) -> Standing:
    if pause is None:
        return Standing()
    transaction = None if txn_id is None else Transaction(txn_id, *parts)
    return Standing(pause, retry_ts, transaction, was_tried=True)


async def finish(conn: Connection, server: ServerNid, transaction: Transaction) -> bool:
    """The transaction arrived: what was in it waits no more. The disk is not waited for.

    Answers whether the server may lack updates of devices.
    """
    lacks = await conn.fetchval(
        """
        WITH events AS (
            DELETE FROM outgoing_events WHERE server_nid = $1 AND pos <= $2
        ), edus AS (
            DELETE FROM outgoing_edus WHERE server_nid = $1 AND edu_nid = ANY ($3)
        ), answers AS (
            INSERT INTO destinations AS d (server_nid)
            SELECT $1 FROM (SELECT set_config('synchronous_commit', 'off', true)) AS unhurried
            ON CONFLICT (server_nid) DO UPDATE
               SET pause = 0, retry_ts = 0, txn_id = NULL, txn_content = NULL,
                   txn_last_pos = NULL, txn_last_edu = NULL, txn_edus = NULL
             WHERE d.pause > 0 OR d.txn_id IS NOT NULL
        )
        SELECT devices_behind IS NOT NULL FROM destinations WHERE server_nid = $1
        """,
        server,
        transaction.last_pos,
        transaction.edus,
    )
    return bool(lacks)


async def fail(
    conn: Connection,
    server: ServerNid,
    pause: int,
    retry_ts: int,
    transaction: Transaction | None,
    behind: int | None,
    duty: str,
    holder: str,
) -> bool:
    """Leave a server alone for a while; from the position `behind` on nothing is queued for it.

    Nor are updates of devices, from where those are told by now. The transaction that did not
    arrive is what is sent next, if there is any. False, and nothing is done, if the duty is
    somebody else's by now: they would not know of it.
    """
    written = await conn.fetchval(
        """
        WITH mine AS (SELECT FROM duties WHERE name = $10 AND holder = $11 FOR SHARE)
        INSERT INTO destinations AS old (server_nid, pause, retry_ts, behind, devices_behind,
                                         txn_id, txn_content, txn_last_pos, txn_edus, txn_last_edu)
        SELECT $1, $2, $3, $4::bigint,
               CASE WHEN $4::bigint IS NOT NULL
                    THEN COALESCE((SELECT pos FROM duties WHERE name = $5), 0) END,
               $6, $7, $8, $9::bigint[], (SELECT max(edu) FROM unnest($9::bigint[]) AS edu)
          FROM mine
        ON CONFLICT (server_nid) DO UPDATE
           SET pause = excluded.pause, retry_ts = excluded.retry_ts,
               behind = COALESCE(old.behind, excluded.behind),
               devices_behind = COALESCE(old.devices_behind, excluded.devices_behind),
               txn_id = excluded.txn_id, txn_content = excluded.txn_content,
               txn_last_pos = excluded.txn_last_pos, txn_edus = excluded.txn_edus,
               txn_last_edu = excluded.txn_last_edu
        RETURNING server_nid
        """,
        server,
        pause,
        retry_ts,
        behind,
        FOLLOW_DEVICES,
        *(transaction or (None,) * 4),
        duty,
        holder,
    )
    return written is not None


async def forgive(conn: Connection, server: ServerNid) -> None:
    """Leave a server alone no more."""
    await conn.execute(
        "UPDATE destinations SET pause = 0, retry_ts = 0 WHERE server_nid = $1", server
    )


class News(NamedTuple):
    """What a span of the log has for other servers."""

    events: list[LocalEvent]
    told: list[ServerNid]
    """For whom EDUs were queued."""
    reached: int
    """Up to which position that is all."""


async def news(conn: Connection, after: int, up_to: int, limit: int, me: ServerNid) -> News:
    """The first accepted live events that others may have to know, and for whom EDUs wait.

    Events of rooms in which nobody else is are left out, but for memberships: somebody else's may
    be the last.
    """
    rows = await conn.fetch(
        """
        SELECT l.pos, l.kind, l.item, e.room_nid, e.json, e.user_id
          FROM (SELECT * FROM log
                 WHERE pos > $1 AND pos <= $2 AND kind IN (1, $4)
                 ORDER BY pos LIMIT $3) l
          -- Row by row: there are few, and no plan that looks at whole tables is a good one.
          LEFT JOIN LATERAL (
               SELECT e.room_nid, e.json,
                      (SELECT user_id FROM users WHERE user_nid = l.user_nid) AS user_id
                 FROM events e
                WHERE l.kind = 1 AND e.event_nid = l.item AND e.fate = $5
                  AND (l.user_nid IS NOT NULL
                       OR EXISTS (SELECT FROM room_servers s
                                   WHERE s.room_nid = l.room_nid AND s.server_nid <> $6
                                     AND s.joined > 0))
               OFFSET 0) e ON true
         ORDER BY l.pos
        """,
        after,
        up_to,
        limit,
        Kind.OUTGOING,
        Fate.ACCEPTED,
        me,
    )
    events = [
        LocalEvent(pos, room, item, raw, user) for pos, _, item, room, raw, user in rows if raw
    ]
    told = [ServerNid(row[2]) for row in rows if row[1] == Kind.OUTGOING]
    return News(events, told, rows[-1][0] if len(rows) == limit else up_to)


async def shares_room(conn: Connection, server: ServerNid) -> bool:
    """Whether people of the server are in rooms that we know."""
    found: bool = await conn.fetchval(
        "SELECT EXISTS (SELECT FROM room_servers WHERE server_nid = $1 AND joined > 0)", server
    )
    return found


async def servers_of(conn: Connection, rooms: Collection[RoomNid]) -> dict[RoomNid, set[ServerNid]]:
    """The servers of which somebody is in the rooms now."""
    rows = await conn.fetch(
        "SELECT room_nid, server_nid FROM room_servers WHERE room_nid = ANY ($1) AND joined > 0",
        list(rooms),
    )
    found: dict[RoomNid, set[ServerNid]] = {room: set() for room in rooms}
    for room, server in rows:
        found[room].add(server)
    return found
