"""Profiles of local users, each a JSON object.

https://spec.matrix.org/v1.19/client-server-api/#profiles
"""

from homeserver.storage.log import Kind
from homeserver.storage.numbers import UserNid
from homeserver.storage.pool import Connection


async def find(conn: Connection, user: UserNid) -> bytes | None:
    """The profile as it is stored; `None` if nothing was ever set."""
    fields: bytes | None = await conn.fetchval(
        "SELECT fields FROM profiles WHERE user_nid = $1", user
    )
    return fields


async def replace(conn: Connection, user: UserNid, old: bytes | None, new: bytes) -> int | None:
    """Store `new` in place of `old`; answer the position, or `None` if something else is there."""
    pos: int | None = await conn.fetchval(
        """
        WITH written AS (
            INSERT INTO profiles AS p (user_nid, fields) VALUES ($1, $2)
            ON CONFLICT (user_nid) DO UPDATE SET fields = excluded.fields WHERE p.fields = $3
            RETURNING user_nid
        )
        SELECT append_log(array_agg($4::smallint), array_agg(NULL::bigint),
                          array_agg(user_nid), array_agg(NULL::bigint))
          FROM written
        """,
        user,
        new,
        old,
        Kind.PROFILE,
    )
    return pos
