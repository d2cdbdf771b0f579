"""Profiles of local users, each a JSON object.

https://spec.matrix.org/v1.19/client-server-api/#profiles
"""

from collections.abc import Sequence
from typing import NamedTuple

from federation.identifiers import UserID
from homeserver.storage.log import Kind
from homeserver.storage.numbers import UserNid
from homeserver.storage.pool import Connection


async def find(conn: Connection, user: UserNid) -> bytes | None:
    """The profile as it is stored; `None` if nothing was ever set."""
    fields: bytes | None = await conn.fetchval(
        "SELECT fields FROM profiles WHERE user_nid = $1", user
    )
    return fields


class OfAccount(NamedTuple):
    """The profile of somebody who has an account, or had one."""

    deactivated: bool
    fields: bytes | None
    """As it is stored; `None` if nothing was ever set."""


async def of_account(conn: Connection, user_id: UserID) -> OfAccount | None:
    """The profile of a user of this server; `None` if there never was one of that name."""
    row = await conn.fetchrow(
        """
        SELECT a.deactivated, p.fields
          FROM users u
          JOIN accounts a ON a.user_nid = u.user_nid
          LEFT JOIN profiles p ON p.user_nid = u.user_nid
         WHERE u.user_id = $1
        """,
        user_id,
    )
    return OfAccount(*row) if row else None


async def replace(
    conn: Connection, user: UserNid, old: bytes | None, new: bytes, words: Sequence[str]
) -> int | None:
    """Store `new` in place of `old`; answer the position, or `None` if something else is there.

    `words` are those by which the user is found from now on.
    """
    pos: int | None = await conn.fetchval(
        """
        WITH written AS (
            INSERT INTO profiles AS p (user_nid, fields) VALUES ($1, $2)
            ON CONFLICT (user_nid) DO UPDATE SET fields = excluded.fields WHERE p.fields = $3
            RETURNING user_nid
        ), gone AS (
            DELETE FROM user_words w USING written n
             WHERE w.user_nid = n.user_nid AND w.word <> ALL ($5)
        ), added AS (
            INSERT INTO user_words (word, user_nid)
            SELECT word, n.user_nid FROM written n, unnest($5::text[]) AS word
             ORDER BY word
            ON CONFLICT DO NOTHING
        )
        SELECT append_log(array_agg($4::smallint), array_agg(NULL::bigint),
                          array_agg(user_nid), array_agg(NULL::bigint))
          FROM written
        """,
        user,
        new,
        old,
        Kind.PROFILE,
        list(words),
    )
    return pos
