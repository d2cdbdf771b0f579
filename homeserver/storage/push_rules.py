"""What users changed of their push rules.

https://spec.matrix.org/v1.19/client-server-api/#push-rules
"""

from collections.abc import Collection
from typing import NamedTuple

from homeserver.storage.log import Kind
from homeserver.storage.numbers import UserNid
from homeserver.storage.pool import Connection


class Stored(NamedTuple):
    """The changes of one user."""

    changes: bytes
    """JSON."""
    pos: int


async def find(conn: Connection, user: UserNid) -> Stored | None:
    """What the user changed, if anything."""
    row = await conn.fetchrow("SELECT changes, pos FROM push_rules WHERE user_nid = $1", user)
    return Stored(*row) if row else None


async def find_many(conn: Connection, users: Collection[UserNid]) -> dict[UserNid, Stored]:
    """What each of the users changed; those who changed nothing are missing."""
    rows = await conn.fetch(
        "SELECT user_nid, changes, pos FROM push_rules WHERE user_nid = ANY ($1)", list(users)
    )
    return {UserNid(row[0]): Stored(*row[1:]) for row in rows}


async def put(conn: Connection, user: UserNid, changes: bytes, before: int | None) -> int | None:
    """Store all changes of a user, if the last ones are still those of `before`; the position.

    `None`: somebody was quicker, or the user has no account here.
    """
    pos: int | None = await conn.fetchval(
        """
        WITH account AS MATERIALIZED (
            SELECT a.user_nid FROM accounts a WHERE a.user_nid = $1 AND NOT a.deactivated
               FOR NO KEY UPDATE
        ), logged AS MATERIALIZED (
            SELECT a.user_nid, append_log(ARRAY[$4::smallint], ARRAY[NULL::bigint],
                                          ARRAY[a.user_nid], ARRAY[NULL::bigint]) AS pos
              FROM account a
             WHERE (SELECT p.pos FROM push_rules p WHERE p.user_nid = a.user_nid)
                   IS NOT DISTINCT FROM $3::bigint
        )
        INSERT INTO push_rules AS old (user_nid, changes, pos)
        SELECT user_nid, $2, pos FROM logged
        ON CONFLICT (user_nid) DO UPDATE SET changes = excluded.changes, pos = excluded.pos
         WHERE old.pos IS NOT DISTINCT FROM $3::bigint
        RETURNING pos
        """,
        user,
        changes,
        before,
        Kind.PUSH_RULES,
    )
    return pos
