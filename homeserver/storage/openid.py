"""Tokens that prove to others who somebody is, by their hashes.

https://spec.matrix.org/v1.19/client-server-api/#openid
"""

from federation.identifiers import UserID
from homeserver.storage.numbers import UserNid
from homeserver.storage.pool import Connection


async def add(conn: Connection, token_hash: bytes, user: UserNid, expires_ts: int) -> None:
    """Store a token."""
    await conn.execute(
        "INSERT INTO openid_tokens (token_hash, user_nid, expires_ts) VALUES ($1, $2, $3)",
        token_hash,
        user,
        expires_ts,
    )


async def find(conn: Connection, token_hash: bytes, now: int) -> UserID | None:
    """Whose token that is, if it is still good and the account too."""
    found: str | None = await conn.fetchval(
        """
        SELECT u.user_id
          FROM openid_tokens t
          JOIN accounts a ON a.user_nid = t.user_nid
          JOIN users u ON u.user_nid = t.user_nid
         WHERE t.token_hash = $1 AND t.expires_ts > $2 AND NOT a.deactivated AND NOT a.locked
        """,
        token_hash,
        now,
    )
    return UserID(found) if found else None


async def purge(conn: Connection, now: int) -> None:
    """Remove those that have expired."""
    await conn.execute("DELETE FROM openid_tokens WHERE expires_ts <= $1", now)
