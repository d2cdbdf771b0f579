"""E-mail addresses that are being shown to be somebody's.

https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information
"""

from typing import NamedTuple

from homeserver.storage.pool import Connection


class Begun(NamedTuple):
    """A mail that is to be sent."""

    sid_hash: bytes
    purpose: str
    address: str
    token_hash: bytes | None
    """`None` where the mail asks nobody to confirm anything."""
    send_attempt: int
    next_link: str | None
    expires_ts: int


class Validation(NamedTuple):
    """What a link that was mailed leads to."""

    purpose: str
    address: str
    next_link: str | None


class Proof(NamedTuple):
    """An address that was shown to be somebody's."""

    address: str
    validated_ts: int


async def begin(conn: Connection, new: Begun, now: int) -> bool:
    """Begin, or begin anew with another mail; false if this one was sent already."""
    begun = await conn.fetchval(
        """
        INSERT INTO email_validations AS v
               (sid_hash, purpose, address, token_hash, send_attempt, next_link, expires_ts)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (sid_hash) DO UPDATE
           SET token_hash = excluded.token_hash, send_attempt = excluded.send_attempt,
               next_link = excluded.next_link, expires_ts = excluded.expires_ts,
               validated_ts = NULL, session_hash = NULL
         WHERE v.send_attempt < excluded.send_attempt OR v.expires_ts <= $8
        RETURNING true
        """,
        *new,
        now,
    )
    return bool(begun)


async def forget(conn: Connection, sid_hash: bytes) -> None:
    """The mail could not be sent, or all is done."""
    await conn.execute("DELETE FROM email_validations WHERE sid_hash = $1", sid_hash)


async def look_up(
    conn: Connection, sid_hash: bytes, token_hash: bytes, now: int
) -> Validation | None:
    """What a link that was mailed leads to, if it is good."""
    row = await conn.fetchrow(
        """
        SELECT purpose, address, next_link
          FROM email_validations
         WHERE sid_hash = $1 AND token_hash = $2 AND expires_ts > $3
        """,
        sid_hash,
        token_hash,
        now,
    )
    return Validation(*row) if row else None


async def confirm(
    conn: Connection, sid_hash: bytes, token_hash: bytes, now: int, expires_ts: int
) -> bool:
    """Note that the mail came to whom it was for, who has until then for what they want."""
    confirmed = await conn.fetchval(
        """
        UPDATE email_validations
           SET validated_ts = coalesce(validated_ts, $3),
               expires_ts = CASE WHEN validated_ts IS NULL THEN $4 ELSE expires_ts END
         WHERE sid_hash = $1 AND token_hash = $2 AND expires_ts > $3
        RETURNING true
        """,
        sid_hash,
        token_hash,
        now,
        expires_ts,
    )
    return bool(confirmed)


async def proof(conn: Connection, sid_hash: bytes, purpose: str, now: int) -> Proof | None:
    """The address that was shown to be theirs, for this purpose."""
    row = await conn.fetchrow(
        """
        SELECT address, validated_ts
          FROM email_validations
         WHERE sid_hash = $1 AND purpose = $2 AND expires_ts > $3 AND validated_ts IS NOT NULL
        """,
        sid_hash,
        purpose,
        now,
    )
    return Proof(*row) if row else None


async def take(conn: Connection, sid_hash: bytes, purpose: str, now: int) -> Proof | None:
    """The same, good for once: of two at the same time one gets it."""
    row = await conn.fetchrow(
        """
        DELETE FROM email_validations
         WHERE sid_hash = $1 AND purpose = $2 AND expires_ts > $3 AND validated_ts IS NOT NULL
        RETURNING address, validated_ts
        """,
        sid_hash,
        purpose,
        now,
    )
    return Proof(*row) if row else None


async def reserve(conn: Connection, sid_hash: bytes, session_hash: bytes, until_ts: int) -> bool:
    """Keep a validated address for the account that a session of authentication leads to."""
    tag = await conn.execute(
        """
        UPDATE email_validations
           SET session_hash = $2, expires_ts = greatest(expires_ts, $3)
         WHERE sid_hash = $1 AND validated_ts IS NOT NULL
           AND (session_hash IS NULL OR session_hash = $2)
        """,
        sid_hash,
        session_hash,
        until_ts,
    )
    return tag == "UPDATE 1"


async def purge(conn: Connection, now: int) -> None:
    """Remove those that have expired."""
    await conn.execute("DELETE FROM email_validations WHERE expires_ts <= $1", now)
