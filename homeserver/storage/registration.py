"""Registration tokens, and nonces for registration with the shared secret.

https://spec.matrix.org/v1.19/client-server-api/#token-authenticated-registration
"""

from typing import NamedTuple

from homeserver.storage.pool import Connection


class RegistrationToken(NamedTuple):
    """A row of `registration_tokens`."""

    token: str
    uses_allowed: int | None
    pending: int
    completed: int
    expires_ts: int | None


async def add_token(
    conn: Connection, token: str, uses_allowed: int | None, expires_ts: int | None
) -> bool:
    """Store a new token; false if there is one like it."""
    tag = await conn.execute(
        """
        INSERT INTO registration_tokens (token, uses_allowed, expires_ts) VALUES ($1, $2, $3)
        ON CONFLICT (token) DO NOTHING
        """,
        token,
        uses_allowed,
        expires_ts,
    )
    return tag == "INSERT 0 1"


async def read_tokens(conn: Connection) -> list[RegistrationToken]:
    """All tokens."""
    rows = await conn.fetch(
        """
        SELECT token, uses_allowed, pending, completed, expires_ts
          FROM registration_tokens
         ORDER BY token
        """
    )
    return [RegistrationToken(*row) for row in rows]


async def delete_token(conn: Connection, token: str) -> bool:
    """Remove a token; false if there was none."""
    return await conn.execute("DELETE FROM registration_tokens WHERE token = $1", token) == (
        "DELETE 1"
    )


async def is_valid(conn: Connection, token: str, now: int) -> bool:
    """Whether the token could be used now."""
    found: bool = await conn.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM registration_tokens
             WHERE token = $1 AND (expires_ts IS NULL OR expires_ts > $2)
               AND (uses_allowed IS NULL OR pending + completed < uses_allowed)
        )
        """,
        token,
        now,
    )
    return found


async def claim_token(conn: Connection, session_hash: bytes, token: str, now: int) -> bool:
    """Let a session of user-interactive authentication use the token, once.

    True also if the session has it already; false if it is not valid or used up.
    """
    claimed: bool = await conn.fetchval(
        """
        WITH session AS (
            SELECT session_hash, registration_token
              FROM uia_sessions
             WHERE session_hash = $1
               FOR UPDATE
        ), claimed AS (
            UPDATE registration_tokens t
               SET pending = pending + 1
              FROM session s
             WHERE s.registration_token IS NULL
               AND t.token = $2 AND (t.expires_ts IS NULL OR t.expires_ts > $3)
               AND (t.uses_allowed IS NULL OR t.pending + t.completed < t.uses_allowed)
            RETURNING t.token
        ), kept AS (
            UPDATE uia_sessions s
               SET registration_token = c.token
              FROM claimed c
             WHERE s.session_hash = $1
            RETURNING 1
        )
        SELECT EXISTS (SELECT FROM kept)
            OR EXISTS (SELECT FROM session WHERE registration_token = $2)
        """,
        session_hash,
        token,
        now,
    )
    return claimed


async def add_nonce(conn: Connection, nonce_hash: bytes, expires_ts: int, now: int) -> None:
    """Store a nonce; those that expired are removed."""
    await conn.execute(
        """
        WITH expired AS (
            DELETE FROM registration_nonces
             WHERE nonce_hash IN (SELECT nonce_hash FROM registration_nonces WHERE expires_ts <= $3
                                     FOR UPDATE SKIP LOCKED)
        )
        INSERT INTO registration_nonces (nonce_hash, expires_ts) VALUES ($1, $2)
        """,
        nonce_hash,
        expires_ts,
        now,
    )


async def take_nonce(conn: Connection, nonce_hash: bytes, now: int) -> bool:
    """Use up a nonce; of two at the same time one gets it."""
    expires_ts: int | None = await conn.fetchval(
        "DELETE FROM registration_nonces WHERE nonce_hash = $1 RETURNING expires_ts", nonce_hash
    )
    return expires_ts is not None and expires_ts > now
