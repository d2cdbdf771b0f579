"""What application services are told: what the log has for them, and what is on its way.

https://spec.matrix.org/v1.19/application-service-api/#pushing-events
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from federation.identifiers import EventID, RoomAlias, RoomID, UserID
from homeserver.storage.batch import Fate, Membership
from homeserver.storage.log import Kind
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Connection


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
    """The event; none where it was not accepted."""
    replaced: bytes | None
    """The entry of the state that was there before."""


async def news(
    conn: Connection, after: int, up_to: int, kinds: Collection[Kind], limit: int
) -> list[News]:
    """The first rows of some kinds in a span of the log."""
    rows = await conn.fetch(
        """
        SELECT l.pos, l.kind, l.room_nid, r.room_id, l.user_nid, u.user_id, l.item,
               e.event_id, e.json, e.replaced
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


async def pending(conn: Connection, service_id: str) -> Transaction | None:
    """The transaction that was not answered yet."""
    row = await conn.fetchrow(
        "SELECT txn_id, content FROM app_service_transactions WHERE service_id = $1", service_id
    )
    return Transaction(*row) if row else None


async def begin(
    conn: Connection, service_id: str, transaction: Transaction, duty: str, holder: str, pos: int
) -> bool:
    """Store a transaction before it is sent, with how far in the log it goes.

    False, and nothing is written, if somebody else has the duty by now.
    """
    begun = await conn.fetchval(
        """
        WITH duty AS (
            UPDATE duties SET pos = $6 WHERE name = $4 AND holder = $5 RETURNING 1
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
    )
    return begun is not None


async def finish(conn: Connection, service_id: str, txn_id: str) -> None:
    """The transaction arrived."""
    await conn.execute(
        "DELETE FROM app_service_transactions WHERE service_id = $1 AND txn_id = $2",
        service_id,
        txn_id,
    )
