"""Sessions of user-interactive authentication; any process can go on with one.

https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api
"""

from typing import NamedTuple

from homeserver.storage.numbers import UserNid
from homeserver.storage.pool import Connection


class Session(NamedTuple):
    """A row of `uia_sessions`."""

    session_hash: bytes
    operation: str
    """`operationId` of the endpoint."""
    user: UserNid | None
    """Who is known to ask, by an access token or a completed stage."""
    binding: bytes
    """What the request asks for."""
    completed: tuple[str, ...]
    """Stages, in order."""
    made_user: UserNid | None
    """The account that came of it."""
    expires_ts: int


async def add(conn: Connection, session: Session) -> None:
    """Store a new session."""
    await conn.execute(
        """
        INSERT INTO uia_sessions (session_hash, operation, user_nid, binding, completed,
                                  made_user_nid, expires_ts)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        """,
        *session,
    )


async def find(conn: Connection, session_hash: bytes) -> Session | None:
    """The session of this hash, expired or not."""
    row = await conn.fetchrow(
        """
        SELECT session_hash, operation, user_nid, binding, completed, made_user_nid, expires_ts
          FROM uia_sessions
         WHERE session_hash = $1
        """,
        session_hash,
    )
    return Session(*row)._replace(completed=tuple(row[4])) if row else None


async def bind(conn: Connection, session_hash: bytes, binding: bytes) -> bool:
    """Let the session ask for something else; false if something came of it already."""
    tag = await conn.execute(
        """
        UPDATE uia_sessions
           SET binding = $2
         WHERE session_hash = $1 AND made_user_nid IS NULL
        """,
        session_hash,
        binding,
    )
    return tag == "UPDATE 1"


async def complete(
    conn: Connection,
    session_hash: bytes,
    before: tuple[str, ...],
    stage: str,
    user: UserNid | None = None,
) -> tuple[str, ...] | None:
    """Add a stage, which showed that `user` asks, unless others than `before` are completed by now.

    Answers the stages that are completed now; `None` if the session is gone.
    """
    completed = await conn.fetchval(
        """
        UPDATE uia_sessions
           SET completed = CASE WHEN completed = $2 THEN completed || $3::text ELSE completed END,
               user_nid = CASE WHEN completed = $2 THEN coalesce($4, user_nid) ELSE user_nid END
         WHERE session_hash = $1
        RETURNING completed
        """,
        session_hash,
        list(before),
        stage,
        user,
    )
    return None if completed is None else tuple(completed)


async def delete(conn: Connection, session_hash: bytes) -> bool:
    """Use up a session; of two at the same time one answers true."""
    tag = await conn.execute("DELETE FROM uia_sessions WHERE session_hash = $1", session_hash)
    return tag == "DELETE 1"


async def purge(conn: Connection, now: int) -> int:
    """Remove expired sessions, and give back the registration tokens that they held.

    Answers how many there were.
    """
    count: int = await conn.fetchval(
        """
        WITH gone AS (
            DELETE FROM uia_sessions
             WHERE session_hash IN (SELECT session_hash FROM uia_sessions WHERE expires_ts <= $1
                                       FOR UPDATE SKIP LOCKED)
            RETURNING registration_token
        ), returned AS (
            UPDATE registration_tokens t
               SET pending = t.pending - g.sessions
              FROM (SELECT registration_token, count(*) AS sessions
                      FROM gone
                     WHERE registration_token IS NOT NULL
                     GROUP BY registration_token) g
             WHERE t.token = g.registration_token
        )
        SELECT count(*) FROM gone
        """,
        now,
    )
    return count
