"""Events that are sent later, and for a while what became of them.

Whoever sends one claims it first, so that nobody cancels what is on its way. A claim ends by
itself: the sending is then repeated, under the same transaction ID.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from homeserver.storage.numbers import UserNid
from homeserver.storage.pool import Connection


class Delayed(NamedTuple):
    """A row of `delayed_events`."""

    nid: int
    delay_id: str
    delay_hash: bytes
    user: UserNid
    device: int
    json: bytes
    """An object of `room_id`, `type`, `content`, of a state event `state_key`, and `msc4354_sticky`
    if it sticks."""
    delay_ms: int
    due_ts: int
    finalised_ts: int | None
    event_id: str | None
    error: bytes | None
    """JSON."""


class Claimed(NamedTuple):
    """One that is ours to send."""

    event: Delayed
    sender: str
    is_barred: bool
    """Whether the sender's account was locked, suspended or deactivated."""


class New(NamedTuple):
    """One that is to be scheduled."""

    delay_id: str
    delay_hash: bytes
    user: UserNid
    device: int
    txn_hash: bytes | None
    json: bytes
    delay_ms: int
    due_ts: int


class Outcome(NamedTuple):
    """What became of one: it was sent, or it could not be."""

    nid: int
    event_id: str | None
    error: bytes | None


async def schedule(conn: Connection, new: New, most: int) -> str | None:
    """Store an event; the ID of the first try if it is repeated. `None`: the user has `most`."""
    delay_id: str | None = await conn.fetchval(
        """
        INSERT INTO delayed_events AS old
               (delay_id, delay_hash, user_nid, device_nid, txn_hash, json, delay_ms, due_ts)
        SELECT $1, $2, $3, $4, $5, $6, $7, $8
         WHERE (SELECT count(*) FROM delayed_events
                 WHERE user_nid = $3 AND finalised_ts IS NULL) < $9
            OR EXISTS (SELECT FROM delayed_events WHERE device_nid = $4 AND txn_hash = $5)
        ON CONFLICT (device_nid, txn_hash) DO UPDATE SET txn_hash = old.txn_hash
        RETURNING delay_id
        """,
        *new,
        most,
    )
    return delay_id


async def next_of(conn: Connection, user: UserNid) -> int | None:
    """When the user's next event is due."""
    due: int | None = await conn.fetchval(
        "SELECT min(due_ts) FROM delayed_events WHERE user_nid = $1 AND finalised_ts IS NULL",
        user,
    )
    return due


async def find(conn: Connection, delay_hash: bytes) -> Delayed | None:
    """The event of this ID, scheduled or not any more."""
    row = await conn.fetchrow(
        """
        SELECT delay_nid, delay_id, delay_hash, user_nid, device_nid, json, delay_ms, due_ts,
               finalised_ts, event_id, error
          FROM delayed_events
         WHERE delay_hash = $1
        """,
        delay_hash,
    )
    return Delayed(*row) if row else None


async def scheduled(conn: Connection, user: UserNid) -> list[Delayed]:
    """What the user has scheduled, in the order in which it is due."""
    rows = await conn.fetch(
        """
        SELECT delay_nid, delay_id, delay_hash, user_nid, device_nid, json, delay_ms, due_ts,
               finalised_ts, event_id, error
          FROM delayed_events
         WHERE user_nid = $1 AND finalised_ts IS NULL
         ORDER BY due_ts, delay_nid
        """,
        user,
    )
    return [Delayed(*row) for row in rows]


async def cancel(conn: Connection, delay_hash: bytes, now: int) -> bool:
    """Never send it; false if it is not scheduled any more, or on its way."""
    nid = await conn.fetchval(
        """
        UPDATE delayed_events SET finalised_ts = $2
         WHERE delay_hash = $1 AND finalised_ts IS NULL AND claimed_until <= $2
        RETURNING delay_nid
        """,
        delay_hash,
        now,
    )
    return nid is not None


async def restart(conn: Connection, delay_hash: bytes, now: int) -> bool:
    """Begin its delay anew; false if it is not scheduled any more, or on its way."""
    nid = await conn.fetchval(
        """
        UPDATE delayed_events SET due_ts = $2 + delay_ms
         WHERE delay_hash = $1 AND finalised_ts IS NULL AND claimed_until <= $2
        RETURNING delay_nid
        """,
        delay_hash,
        now,
    )
    return nid is not None


async def claim(conn: Connection, delay_hash: bytes, now: int, until: int) -> Claimed | None:
    """Be the one who sends it, due or not; `None` as `cancel` is false."""
    row = await conn.fetchrow(
        """
        UPDATE delayed_events d SET claimed_until = $3
          FROM users u, accounts a
         WHERE d.delay_hash = $1 AND d.finalised_ts IS NULL AND d.claimed_until <= $2
           AND u.user_nid = d.user_nid AND a.user_nid = d.user_nid
        RETURNING d.delay_nid, d.delay_id, d.delay_hash, d.user_nid, d.device_nid, d.json,
                  d.delay_ms, d.due_ts, d.finalised_ts, d.event_id, d.error,
                  u.user_id, a.locked OR a.suspended OR a.deactivated
        """,
        delay_hash,
        now,
        until,
    )
    return _claimed(row) if row else None


async def claim_due(conn: Connection, now: int, until: int, limit: int) -> list[Claimed]:
    """Be the one who sends what is due, in this order; what was due first, first."""
    rows = await conn.fetch(
        """
        UPDATE delayed_events d SET claimed_until = $2
          FROM (SELECT delay_nid FROM delayed_events
                 WHERE finalised_ts IS NULL AND due_ts <= $1 AND claimed_until <= $1
                 ORDER BY due_ts, delay_nid
                 LIMIT $3
                   FOR UPDATE SKIP LOCKED) due, users u, accounts a
         WHERE d.delay_nid = due.delay_nid
           AND u.user_nid = d.user_nid AND a.user_nid = d.user_nid
        RETURNING d.delay_nid, d.delay_id, d.delay_hash, d.user_nid, d.device_nid, d.json,
                  d.delay_ms, d.due_ts, d.finalised_ts, d.event_id, d.error,
                  u.user_id, a.locked OR a.suspended OR a.deactivated
        """,
        now,
        until,
        limit,
    )
    return sorted(map(_claimed, rows), key=lambda one: (one.event.due_ts, one.event.nid))


async def next_due(conn: Connection) -> int | None:
    """When there is something to send, or to send again, next."""
    due: int | None = await conn.fetchval(
        """
        SELECT greatest(due_ts, claimed_until) FROM delayed_events
         WHERE finalised_ts IS NULL
         ORDER BY due_ts
         LIMIT 1
        """
    )
    return due


async def settle(
    conn: Connection, claimed: Collection[int], outcomes: Sequence[Outcome], now: int
) -> None:
    """Note what became of what was claimed; what has no outcome is as it was before."""
    await conn.execute(
        """
        UPDATE delayed_events d
           SET claimed_until = 0, event_id = o.event_id, error = o.error,
               finalised_ts = CASE WHEN o.nid IS NOT NULL THEN $5::bigint END
          FROM unnest($1::bigint[]) AS c (nid)
          LEFT JOIN unnest($2::bigint[], $3::text[], $4::bytea[]) AS o (nid, event_id, error)
            ON o.nid = c.nid
         WHERE d.delay_nid = c.nid AND d.finalised_ts IS NULL
        """,
        list(claimed),
        [outcome.nid for outcome in outcomes],
        [outcome.event_id for outcome in outcomes],
        [outcome.error for outcome in outcomes],
        now,
    )


async def forget_finalised(conn: Connection, before: int, most: int) -> None:
    """Forget what was finalised before a time, and of each user all but the last `most`."""
    await conn.execute(
        """
        DELETE FROM delayed_events d
         USING (SELECT delay_nid, finalised_ts,
                       row_number() OVER (PARTITION BY user_nid ORDER BY finalised_ts DESC) AS nr
                  FROM delayed_events
                 WHERE finalised_ts IS NOT NULL) old
         WHERE d.delay_nid = old.delay_nid AND (old.finalised_ts < $1 OR old.nr > $2)
        """,
        before,
        most,
    )


def _claimed(row: Any) -> Claimed:
    *event, sender, is_barred = row
    return Claimed(Delayed(*event), sender, is_barred)
