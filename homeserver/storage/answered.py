"""What transactions of other servers were answered, for when they come again.

"The sending server must wait and retry for a 200 OK response before sending a transaction with a
different `txnId`": so the newest few of each server are enough. Whatever is forgotten is found out
again, as events and to-device messages have IDs of their own.

https://spec.matrix.org/v1.19/server-server-api/#transactions
"""

from homeserver.storage.pool import Connection
from homeserver.storage.process import DAY

MOST_OF_ORIGIN = 1 << 20
"""Bytes that are kept of one server."""
MOST = 1 << 26
"""Bytes that are kept of all servers."""
_ROW = 100
"""Bytes of a row beside its texts, about."""


async def find(conn: Connection, origin: str, txn_id: str) -> bytes | None:
    """What a transaction of another server was answered before."""
    found: bytes | None = await conn.fetchval(
        "SELECT answer FROM incoming_transactions WHERE origin = $1 AND txn_id = $2",
        origin,
        txn_id,
    )
    return found


async def keep(conn: Connection, origin: str, txn_id: str, answer: bytes, now: int) -> int:
    """Keep what a transaction was answered; how many bytes that takes.

    The disk is not waited for: without it, the same is found out again.
    """
    await conn.execute(
        """
        INSERT INTO incoming_transactions (origin, txn_id, answer, received_ts)
        SELECT $1, $2, $3, $4
          FROM (SELECT set_config('synchronous_commit', 'off', true)) AS unhurried
        ON CONFLICT DO NOTHING
        """,
        origin,
        txn_id,
        answer,
        now,
    )
    return len(origin.encode()) + len(txn_id.encode()) + len(answer) + _ROW


async def trim(
    conn: Connection, now: int, most_of_origin: int = MOST_OF_ORIGIN, most: int = MOST
) -> None:
    """Forget answers of more than a day ago, and the oldest of those that are too many.

    Several may do so at the same time.
    """
    await conn.execute(
        """
        DELETE FROM incoming_transactions WHERE ctid = ANY (ARRAY(
            SELECT t.ctid
              FROM (SELECT origin, txn_id, received_ts,
                           sum(size) OVER (PARTITION BY origin
                                           ORDER BY received_ts DESC, txn_id) AS of_origin,
                           sum(size) OVER (ORDER BY received_ts DESC, origin, txn_id) AS of_all
                      FROM (SELECT origin, txn_id, received_ts,
                                   octet_length(origin) + octet_length(txn_id)
                                     + octet_length(answer) + $4 AS size
                              FROM incoming_transactions) sized) summed
              JOIN incoming_transactions t USING (origin, txn_id)
             WHERE summed.received_ts < $1 OR of_origin > $2 OR of_all > $3
               FOR UPDATE OF t SKIP LOCKED))
        """,
        now - DAY,
        most_of_origin,
        most,
        _ROW,
    )
