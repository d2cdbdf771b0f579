"""Which threads people follow; the row of one given up stays, for devices to learn of it.

https://github.com/matrix-org/matrix-spec-proposals/pull/4306
"""

from collections.abc import Collection
from typing import NamedTuple

from federation.identifiers import EventID, RoomID
from homeserver.storage.log import Kind
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid


class Subscription(NamedTuple):
    """What somebody chose for a thread last."""

    subscribed: bool
    automatic: bool
    """Whether a client did so of itself."""
    pos: int
    """When, in the log."""


class Changed(NamedTuple):
    """The same, as clients are told of it."""

    room_id: RoomID
    root: EventID
    subscription: Subscription


async def find(conn: Connection, user: UserNid, thread: EventNid) -> Subscription | None:
    """What somebody chose for the thread of a root; `None`: nothing yet."""
    row = await conn.fetchrow(
        """
        SELECT subscribed, automatic, pos
          FROM thread_subscriptions
         WHERE user_nid = $1 AND thread_nid = $2
        """,
        user,
        thread,
    )
    return Subscription(*row) if row else None


async def subscribe(
    conn: Connection, user: UserNid, room: RoomNid, thread: EventNid, cause: int | None
) -> int | None:
    """Follow a thread; answers the position, `None` if that changes nothing.

    Args:
        conn: in no transaction.
        user: who.
        room: of the thread.
        thread: its root.
        cause: `None` if the user wants it; else the position of what a client does it for, which
            only counts if the thread was not given up after that.

    """
    # As for account data: whoever could hold the row holds the account's first.
    pos: int | None = await conn.fetchval(
        """
        WITH account AS MATERIALIZED (
            SELECT a.user_nid FROM accounts a WHERE a.user_nid = $1 AND NOT a.deactivated
               FOR NO KEY UPDATE
        ), logged AS MATERIALIZED (
            SELECT a.user_nid, append_log(ARRAY[$5::smallint], ARRAY[$2::bigint],
                                          ARRAY[a.user_nid], ARRAY[NULL::bigint]) AS pos
              FROM account a
        )
        INSERT INTO thread_subscriptions AS old
               (user_nid, room_nid, thread_nid, subscribed, automatic, pos)
        SELECT user_nid, $2, $3, true, $4::bigint IS NOT NULL, pos FROM logged
        ON CONFLICT (user_nid, thread_nid) DO UPDATE
           SET subscribed = true, automatic = excluded.automatic, pos = excluded.pos
         WHERE CASE WHEN $4::bigint IS NULL THEN old.automatic OR NOT old.subscribed
                    ELSE NOT old.subscribed AND old.pos < $4 END
        RETURNING pos
        """,
        user,
        room,
        thread,
        cause,
        Kind.THREAD_SUBSCRIPTION,
    )
    return pos


async def unsubscribe(
    conn: Connection, user: UserNid, room: RoomNid, thread: EventNid
) -> int | None:
    """Give a thread up; answers the position, `None` if that changes nothing."""
    pos: int | None = await conn.fetchval(
        """
        WITH account AS MATERIALIZED (
            SELECT a.user_nid FROM accounts a WHERE a.user_nid = $1 AND NOT a.deactivated
               FOR NO KEY UPDATE
        ), logged AS MATERIALIZED (
            SELECT a.user_nid, append_log(ARRAY[$4::smallint], ARRAY[$2::bigint],
                                          ARRAY[a.user_nid], ARRAY[NULL::bigint]) AS pos
              FROM account a
        )
        INSERT INTO thread_subscriptions AS old
               (user_nid, room_nid, thread_nid, subscribed, automatic, pos)
        SELECT user_nid, $2, $3, false, false, pos FROM logged
        ON CONFLICT (user_nid, thread_nid) DO UPDATE
           SET subscribed = false, automatic = false, pos = excluded.pos
         WHERE old.subscribed
        RETURNING pos
        """,
        user,
        room,
        thread,
        Kind.THREAD_SUBSCRIPTION,
    )
    return pos


async def page(
    conn: Connection, user: UserNid, after: int, up_to: int, limit: int
) -> list[Changed]:
    """What somebody changed after one position and not after another, the latest first."""
    rows = await conn.fetch(
        """
        SELECT r.room_id, i.event_id, t.subscribed, t.automatic, t.pos
          FROM thread_subscriptions t
          JOIN rooms r ON r.room_nid = t.room_nid
          JOIN event_ids i ON i.event_nid = t.thread_nid
         WHERE t.user_nid = $1 AND t.pos > $2 AND t.pos <= $3
         ORDER BY t.pos DESC
         LIMIT $4
        """,
        user,
        after,
        up_to,
        limit,
    )
    return [Changed(row[0], row[1], Subscription(*row[2:])) for row in rows]


async def followers(
    conn: Connection, users: Collection[UserNid], threads: Collection[EventNid]
) -> set[tuple[UserNid, EventNid]]:
    """Which of the users follow which of the threads."""
    rows = await conn.fetch(
        """
        SELECT user_nid, thread_nid
          FROM thread_subscriptions
         WHERE user_nid = ANY ($1) AND thread_nid = ANY ($2) AND subscribed
        """,
        list(users),
        list(threads),
    )
    return {(UserNid(user), EventNid(thread)) for user, thread in rows}
