"""Filters that clients uploaded; one never changes, and its id is made from what it says.

https://spec.matrix.org/v1.19/client-server-api/#filtering
"""

from homeserver.storage.numbers import UserNid
from homeserver.storage.pool import Connection


async def find(conn: Connection, user: UserNid, filter_hash: bytes) -> bytes | None:
    """The user's filter of this id, as JSON."""
    found: bytes | None = await conn.fetchval(
        "SELECT json FROM filters WHERE user_nid = $1 AND filter_hash = $2", user, filter_hash
    )
    return found


async def add(conn: Connection, user: UserNid, filter_hash: bytes, json: bytes, most: int) -> bool:
    """Store a filter; false if the user has `most` others already."""
    stored: bool = await conn.fetchval(
        """
        WITH added AS (
            INSERT INTO filters (user_nid, filter_hash, json)
            SELECT $1, $2, $3
             WHERE (SELECT count(*) FROM filters WHERE user_nid = $1) < $4
            ON CONFLICT (user_nid, filter_hash) DO NOTHING
            RETURNING 1
        )
        SELECT EXISTS (SELECT FROM added)
            OR EXISTS (SELECT FROM filters WHERE user_nid = $1 AND filter_hash = $2)
        """,
        user,
        filter_hash,
        json,
        most,
    )
    return stored
