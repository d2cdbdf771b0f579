"""What application services are told: what the log has for them, and what is on its way.

https://spec.matrix.org/v1.19/application-service-api/#pushing-events
"""

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import orjson

from federation.identifiers import EventID, RoomAlias, RoomID, UserID
from homeserver.storage.batch import Fate, Membership
from homeserver.storage.log import Kind
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.receipts import ReceiptType, Shown


class Transaction(NamedTuple):
    """What is sent, again and again until it arrives."""

    txn_id: str
    content: bytes


class News(NamedTuple):
    """A row of the log, with what it is about."""

    pos: int
    kind: int
    room: RoomNid | None
    room_id: RoomID | None
    user: UserNid | None
    user_id: UserID | None
    item: int | None
    event_id: EventID | None
    json: bytes | None
    """The event; none where it was not accepted, or the row is about something else."""
    replaced: bytes | None
    """The entry of the state that was there before."""
    shown: bytes | None
    """Of an invitation to a room that we are not in: a JSON list of stripped state."""


async def news(
    conn: Connection, after: int, up_to: int, kinds: Collection[Kind], limit: int
) -> list[News]:
    """The first rows of some kinds in a span of the log."""
    rows = await conn.fetch(
        """
        SELECT l.pos, l.kind, l.room_nid, r.room_id, l.user_nid, u.user_id, l.item,
               coalesce(e.event_id, v.event_id), coalesce(e.json, v.json), e.replaced, v.state
          FROM (SELECT * FROM log
                 WHERE pos > $1 AND pos <= $2 AND kind = ANY ($3)
                 ORDER BY pos LIMIT $4) l
          LEFT JOIN rooms r ON r.room_nid = l.room_nid
          LEFT JOIN users u ON u.user_nid = l.user_nid
          LEFT JOIN LATERAL (
               SELECT i.event_id, e.json,
                      (SELECT o.json FROM events o WHERE o.event_nid = c.old_event_nid) AS replaced
                 FROM events e
                 JOIN event_ids i ON i.event_nid = e.event_nid
                 LEFT JOIN state_changes c
                   ON c.room_nid = e.room_nid AND c.pos = l.pos
                  AND c.state_key_nid = e.state_key_nid AND c.new_event_nid = e.event_nid
                WHERE l.kind = 1 AND e.event_nid = l.item AND e.fate = $5
               OFFSET 0) e ON true
          LEFT JOIN LATERAL (
               SELECT i.event_id, v.json, CASE WHEN m.membership <> 0 THEN v.state END AS state
                 FROM invites v
                 JOIN memberships m
                   ON m.room_nid = v.room_nid AND m.user_nid = v.user_nid AND m.pos = l.pos
                 JOIN event_ids i ON i.event_nid = m.event_nid
                WHERE l.kind = 23 AND v.room_nid = l.room_nid AND v.user_nid = l.user_nid
               OFFSET 0) v ON true
         ORDER BY l.pos
        """,
        after,
        up_to,
        list(kinds),
        limit,
        Fate.ACCEPTED,
    )
    return [News(*row) for row in rows]


async def local_members(conn: Connection, rooms: Collection[RoomNid]) -> dict[RoomNid, set[UserID]]:
    """Who of this server is in the rooms."""
    rows = await conn.fetch(
        """
        SELECT m.room_nid, u.user_id
          FROM memberships m
          JOIN accounts a ON a.user_nid = m.user_nid
          JOIN users u ON u.user_nid = m.user_nid
         WHERE m.room_nid = ANY ($1) AND m.membership = $2
        """,
        list(rooms),
        Membership.JOIN,
    )
    found: dict[RoomNid, set[UserID]] = {room: set() for room in rooms}
    for room, user_id in rows:
        found[room].add(user_id)
    return found


async def aliases_of(conn: Connection, rooms: Iterable[RoomNid]) -> dict[RoomNid, list[RoomAlias]]:
    """The aliases that the rooms have here."""
    rows = await conn.fetch(
        "SELECT room_nid, array_agg(alias) FROM aliases WHERE room_nid = ANY ($1) GROUP BY 1",
        list(rooms),
    )
    return {RoomNid(row[0]): row[1] for row in rows}


async def receipts(
    conn: Connection, pairs: Collection[tuple[RoomNid, UserNid]], after: int, up_to: int
) -> list[Shown]:
    """Public receipts of these users in these rooms that were written in a span of the log."""
    rows = await conn.fetch(
        """
        SELECT r.room_nid, u.user_id, r.type, r.thread, i.event_id, r.ts, r.pos
          FROM unnest($1::bigint[], $2::bigint[]) AS p (room_nid, user_nid)
          JOIN receipts r ON r.room_nid = p.room_nid AND r.user_nid = p.user_nid
          JOIN users u ON u.user_nid = r.user_nid
          JOIN event_ids i ON i.event_nid = r.event_nid
         WHERE r.pos > $3 AND r.pos <= $4 AND r.type = $5
         ORDER BY r.pos
        """,
        [room for room, _ in pairs],
        [user for _, user in pairs],
        after,
        up_to,
        ReceiptType.READ,
    )
    return [Shown(row[0], row[1], ReceiptType(row[2]), *row[3:]) for row in rows]


class ForDevice(NamedTuple):
    """A message that waits for a device."""

    user_id: UserID
    device_id: str
    json: bytes


async def for_devices(
    conn: Connection, devices: Collection[int], after: int, up_to: int
) -> list[ForDevice]:
    """The messages that came for these devices in a span of the log."""
    rows = await conn.fetch(
        """
        SELECT u.user_id, d.device_id, t.json
          FROM to_device t
          JOIN devices d ON d.device_nid = t.device_nid
          JOIN users u ON u.user_nid = d.user_nid
         WHERE t.device_nid = ANY ($1) AND t.pos > $2 AND t.pos <= $3
         ORDER BY t.pos
        """,
        list(devices),
        after,
        up_to,
    )
    return [ForDevice(*row) for row in rows]


async def rooms_of(
    conn: Connection, users: Collection[UserID]
) -> dict[UserID, list[tuple[RoomNid, RoomID]]]:
    """The rooms that users are joined to; none for those who are in none."""
    rows = await conn.fetch(
        """
        SELECT u.user_id, m.room_nid, r.room_id
          FROM users u
          JOIN memberships m ON m.user_nid = u.user_nid AND m.membership = $2
          JOIN rooms r ON r.room_nid = m.room_nid
         WHERE u.user_id = ANY ($1)
        """,
        list(users),
        Membership.JOIN,
    )
    found: dict[UserID, list[tuple[RoomNid, RoomID]]] = {user: [] for user in users}
    for user_id, room, room_id in rows:
        found[user_id].append((room, room_id))
    return found


class KeyCount(NamedTuple):
    """Of a device: one-time keys that are left, or that it has an unused fallback key."""

    user_id: UserID
    device_id: str
    algorithm: str
    left: int
    is_fallback: bool


async def key_counts(
    conn: Connection, users: Collection[UserID]
) -> tuple[list[tuple[UserID, str]], list[KeyCount]]:
    """The devices of users that have keys, and what is left of their one-time keys."""
    rows = await conn.fetch(
        """
        WITH wanted AS (
            SELECT u.user_id, d.device_id, d.device_nid
              FROM users u
              JOIN devices d ON d.user_nid = u.user_nid
              JOIN device_keys k ON k.device_nid = d.device_nid
             WHERE u.user_id = ANY ($1)
        )
        SELECT w.user_id, w.device_id, NULL, 0, false FROM wanted w
         UNION ALL
        SELECT w.user_id, w.device_id, o.algorithm, count(*), false
          FROM wanted w JOIN one_time_keys o ON o.device_nid = w.device_nid
         GROUP BY 1, 2, 3
         UNION ALL
        SELECT w.user_id, w.device_id, f.algorithm, 0, true
          FROM wanted w JOIN fallback_keys f ON f.device_nid = w.device_nid AND NOT f.used
        """,
        list(users),
    )
    devices = [(row[0], row[1]) for row in rows if row[2] is None]
    return devices, [KeyCount(*row) for row in rows if row[2] is not None]


async def names_of(conn: Connection, rooms: Collection[RoomNid]) -> dict[RoomNid, RoomID]:
    """The IDs of rooms."""
    rows = await conn.fetch(
        "SELECT room_nid, room_id FROM rooms WHERE room_nid = ANY ($1)", list(rooms)
    )
    return {RoomNid(row[0]): RoomID(row[1]) for row in rows}


async def pending(conn: Connection, service_id: str) -> Transaction | None:
    """The transaction that was not answered yet."""
    row = await conn.fetchrow(
        "SELECT txn_id, content FROM app_service_transactions WHERE service_id = $1", service_id
    )
    return Transaction(*row) if row else None


async def begin(
    conn: Connection,
    service_id: str,
    transaction: Transaction,
    duty: str,
    holder: str,
    pos: int,
    devices: Collection[int] = (),
) -> bool:
    """Store a transaction before it is sent, with how far in the log it goes.

    What waited for these devices up to there is in it, and does not wait any more. False, and
    nothing is written, if somebody else has the duty by now.
    """
    begun = await conn.fetchval(
        """
        WITH duty AS (
            UPDATE duties SET pos = $6 WHERE name = $4 AND holder = $5 RETURNING 1
        ), moved AS (
            DELETE FROM to_device t USING duty
             WHERE t.device_nid = ANY ($7) AND t.pos <= $6
        )
        INSERT INTO app_service_transactions (service_id, txn_id, content)
        SELECT $1, $2, $3 FROM duty
        RETURNING service_id
        """,
        service_id,
        *transaction,
        duty,
        holder,
        pos,
        list(devices),
    )
    return begun is not None


async def redacted_among(
    conn: Connection, event_ids: Collection[str]
) -> dict[EventID, dict[str, Any]]:
    """Those of the events that are redacted, as they are now."""
    rows = await conn.fetch(
        """
        SELECT i.event_id, e.json
          FROM event_ids i JOIN events e ON e.event_nid = i.event_nid
         WHERE i.event_id = ANY ($1) AND e.redacted_by IS NOT NULL
        """,
        list(event_ids),
    )
    return {EventID(row[0]): orjson.loads(row[1]) for row in rows}


async def replace(conn: Connection, service_id: str, transaction: Transaction) -> None:
    """Put other content into a transaction that is on its way."""
    await conn.execute(
        "UPDATE app_service_transactions SET content = $3 WHERE service_id = $1 AND txn_id = $2",
        service_id,
        *transaction,
    )


async def finish(conn: Connection, service_id: str, txn_id: str) -> None:
    """The transaction arrived."""
    await conn.execute(
        "DELETE FROM app_service_transactions WHERE service_id = $1 AND txn_id = $2",
        service_id,
        txn_id,
    )
