"""Messages straight to devices, kept until they have them.

https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from homeserver.storage.log import Kind
from homeserver.storage.pool import Connection

MOST_WAITING = 25_000
"""Messages for one device: more than anybody misses who comes back after months."""


class Pending(NamedTuple):
    """A message that waits."""

    pos: int
    json: bytes


class Addressed(NamedTuple):
    """A message on its way."""

    user_id: str
    device_id: str
    """Or `*`: all of them."""
    json: bytes


async def send(
    conn: Connection, sender: str, txn_id: str, messages: Sequence[Addressed], now: int
) -> int | None:
    """Deliver messages to devices of this server, once for each sender and transaction.

    A device for which very much waits gets no more until it fetches that: what it was sent first
    stays, and nobody can push it out. Answers the first position; `None` if it was done before, or
    reached nobody, of which nothing is noted.
    """
    pos: int | None = await conn.fetchval(
        """
        WITH given AS (
            SELECT * FROM unnest($4::text[], $5::text[], $6::bytea[])
                          WITH ORDINALITY AS g (user_id, device_id, json, nr)
        ), reached AS MATERIALIZED (
            SELECT d.device_nid, d.user_nid, g.json, g.nr
              FROM given g
              JOIN users u ON u.user_id = g.user_id
              JOIN devices d ON d.user_nid = u.user_nid
               AND (g.device_id = '*' OR d.device_id = g.device_id)
             WHERE NOT EXISTS (SELECT FROM to_device t
                                WHERE t.device_nid = d.device_nid OFFSET $8 - 1)
        ), first AS (
            INSERT INTO to_device_done (sender, txn_id, done_ts)
            SELECT $1, $2, $3 WHERE EXISTS (SELECT FROM reached)
            ON CONFLICT DO NOTHING RETURNING sender
        ), addressed AS MATERIALIZED (
            SELECT r.device_nid, r.user_nid, r.json,
                   row_number() OVER (ORDER BY r.device_nid, r.nr) - 1 AS place
              FROM first, reached r
        ), logged AS MATERIALIZED (
            SELECT append_log(array_agg($7::smallint), array_agg(NULL::bigint),
                              array_agg(user_nid ORDER BY place),
                              array_agg(device_nid ORDER BY place)) AS base
              FROM addressed
        ), written AS (
            INSERT INTO to_device (device_nid, pos, json)
            SELECT a.device_nid, l.base + a.place, a.json
              FROM addressed a, logged l WHERE l.base IS NOT NULL
        )
        SELECT base FROM logged
        """,
        sender,
        txn_id,
        now,
        [message.user_id for message in messages],
        [message.device_id for message in messages],
        [message.json for message in messages],
        Kind.TO_DEVICE,
        MOST_WAITING,
    )
    return pos


async def pending(
    conn: Connection, device: int, after: int, up_to: int, limit: int = 100
) -> list[Pending]:
    """The first messages for a device between two positions."""
    rows = await conn.fetch(
        """
        SELECT pos, json FROM to_device
         WHERE device_nid = $1 AND pos > $2 AND pos <= $3 ORDER BY pos LIMIT $4
        """,
        device,
        after,
        up_to,
        limit,
    )
    return [Pending(*row) for row in rows]


async def delete_up_to(conn: Connection, device: int, pos: int) -> None:
    """Let go of what a device has."""
    await conn.execute("DELETE FROM to_device WHERE device_nid = $1 AND pos <= $2", device, pos)


async def forget_done(conn: Connection, before: int) -> None:
    """Forget transactions from before a time, in milliseconds."""
    await conn.execute("DELETE FROM to_device_done WHERE done_ts < $1", before)


async def was_done(conn: Connection, sender: str, txn_ids: Collection[str]) -> set[str]:
    """Those of the transactions that were carried out."""
    rows = await conn.fetch(
        "SELECT txn_id FROM to_device_done WHERE sender = $1 AND txn_id = ANY ($2)",
        sender,
        list(txn_ids),
    )
    return {row[0] for row in rows}
