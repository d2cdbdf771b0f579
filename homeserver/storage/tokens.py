"""Access and refresh tokens, by their hashes, and what a login writes.

The tokens of a device change only together with `devices.version`: each writer names the version
that it has read, and writes nothing if the device has another one by now. Then it reads again.

https://spec.matrix.org/v1.19/client-server-api/#refreshing-access-tokens
"""

from typing import NamedTuple, NewType

from federation.identifiers import UserID
from homeserver.storage.log import Kind
from homeserver.storage.numbers import UserNid
from homeserver.storage.pool import Connection

DeviceNid = NewType("DeviceNid", int)


class TokenRow(NamedTuple):
    """An access token, with whose it is."""

    generation: int
    used: bool
    """Whether older refresh tokens were revoked on account of its use."""
    expires_ts: int | None
    device: DeviceNid
    device_id: str
    version: int
    last_seen_day: int
    user: UserNid
    user_id: UserID
    is_admin: bool
    is_guest: bool
    locked: bool
    suspended: bool
    appservice: str | None


async def find(conn: Connection, token_hash: bytes) -> TokenRow | None:
    """Whose access token that is; expired ones are found too."""
    row = await conn.fetchrow(
        """
        SELECT t.generation, t.used, t.expires_ts, d.device_nid, d.device_id, d.version,
               d.last_seen_day, a.user_nid, u.user_id, a.is_admin, a.is_guest, a.locked,
               a.suspended, a.appservice
          FROM access_tokens t
          JOIN devices d ON d.device_nid = t.device_nid
          JOIN accounts a ON a.user_nid = d.user_nid
          JOIN users u ON u.user_nid = a.user_nid
         WHERE t.token_hash = $1 AND NOT a.deactivated
        """,
        token_hash,
    )
    return TokenRow(*row) if row else None


async def is_session(conn: Connection, session: str) -> bool:
    """Whether there is a device whose tokens begin so."""
    found: bool = await conn.fetchval(
        "SELECT EXISTS (SELECT FROM devices WHERE session = $1)", session
    )
    return found


class RefreshRow(NamedTuple):
    """A refresh token, with whose it is."""

    token_hash: bytes
    generation: int
    expires_ts: int | None
    device: DeviceNid
    version: int
    locked: bool


async def find_refresh(conn: Connection, token_hash: bytes) -> RefreshRow | None:
    """Whose refresh token that is; expired ones are found too."""
    row = await conn.fetchrow(
        """
        SELECT t.token_hash, t.generation, t.expires_ts, d.device_nid, d.version, a.locked
          FROM refresh_tokens t
          JOIN devices d ON d.device_nid = t.device_nid
          JOIN accounts a ON a.user_nid = d.user_nid
         WHERE t.token_hash = $1 AND NOT a.deactivated
        """,
        token_hash,
    )
    return RefreshRow(*row) if row else None


class Issued(NamedTuple):
    """Tokens to store."""

    access_hash: bytes
    access_expires_ts: int | None
    refresh_hash: bytes | None
    """`None`: the access token cannot be renewed."""
    refresh_expires_ts: int | None


class Login(NamedTuple):
    """A device that is logged in; made if the user has none of this id."""

    user: UserNid
    password_hash: str | None
    """The one that was verified; nothing is written if the account has another by now."""
    device_id: str
    display_name: str | None
    """For a new device only."""
    session: str
    """What its tokens begin with; for a known device, as before."""
    day: int
    version: int | None
    """Of the device; `None` for a new one."""
    tokens: Issued


class LoggedIn(NamedTuple):
    """A login that was written."""

    device: DeviceNid
    pos: int


async def log_in(conn: Connection, login: Login) -> LoggedIn | None:
    """Write a login; the device's older tokens, and what was set with them, are gone then.

    Answers `None`, and nothing is written, if the device has another version by now, or the account
    another password, or is deactivated.
    """
    row = await conn.fetchrow(
        """
        WITH account AS (
            UPDATE accounts
               SET version = version + 1
             WHERE user_nid = $1 AND NOT deactivated AND ($2::text IS NULL OR password_hash = $2)
            RETURNING user_nid
        ), device AS (
            INSERT INTO devices AS d (user_nid, device_id, display_name, session, last_seen_day)
            SELECT user_nid, $3, $4, $5, $6 FROM account
            ON CONFLICT (user_nid, device_id) DO UPDATE
               SET version = d.version + 1, last_seen_day = excluded.last_seen_day
             WHERE d.version = $7
            RETURNING user_nid, device_nid
        ), access_gone AS (
            DELETE FROM access_tokens t USING device d WHERE t.device_nid = d.device_nid RETURNING 1
        ), refresh_gone AS (
            DELETE FROM refresh_tokens t USING device d WHERE t.device_nid = d.device_nid
            RETURNING 1
        ), pushers_gone AS (
            DELETE FROM pushers p USING device d WHERE p.device_nid = d.device_nid RETURNING 1
        ), access AS (
            INSERT INTO access_tokens (token_hash, device_nid, generation, used, expires_ts)
            SELECT $8, device_nid, CASE WHEN $10::bytea IS NULL THEN 0 ELSE 1 END, true, $9
              FROM device
            RETURNING 1
        ), refresh AS (
            INSERT INTO refresh_tokens (token_hash, device_nid, generation, expires_ts)
            SELECT $10, device_nid, 1, $11 FROM device WHERE $10::bytea IS NOT NULL
            RETURNING 1
        ), written AS MATERIALIZED (
            SELECT (SELECT count(*) FROM access_gone) + (SELECT count(*) FROM refresh_gone)
                   + (SELECT count(*) FROM access) + (SELECT count(*) FROM refresh)
                   + (SELECT count(*) FROM pushers_gone) AS rows
        )
        SELECT max(device_nid), append_log(array_agg($12::smallint), array_agg(NULL::bigint),
                                           array_agg(user_nid), array_agg(device_nid))
          FROM device, written
        """,
        *login[:7],
        *login.tokens,
        Kind.DEVICE,
    )
    return LoggedIn(DeviceNid(row[0]), row[1]) if row[0] is not None else None


async def mark_used(conn: Connection, token_hash: bytes, row: TokenRow) -> bool:
    """Revoke the refresh tokens older than this access token, which was used for the first time.

    False, and nothing is written, if the device has another version by now.
    """
    tag = await conn.execute(
        """
        WITH device AS (
            UPDATE devices SET version = version + 1 WHERE device_nid = $2 AND version = $3
            RETURNING device_nid
        ), revoked AS (
            DELETE FROM refresh_tokens t
             USING device d
             WHERE t.device_nid = d.device_nid AND t.generation < $4
        )
        UPDATE access_tokens t
           SET used = true
          FROM device d
         WHERE t.token_hash = $1
        """,
        token_hash,
        row.device,
        row.version,
        row.generation,
    )
    return tag == "UPDATE 1"


async def refresh(conn: Connection, old: RefreshRow, tokens: Issued, now: int) -> bool:
    """Store the tokens that follow upon `old`.

    Those that followed upon it before were never used, and are gone; so are refresh tokens older
    than `old`. `old` itself stays until one of the new ones is used. False, and nothing is written,
    if the device has another version by now.
    """
    tag = await conn.execute(
        """
        WITH device AS (
            UPDATE devices SET version = version + 1 WHERE device_nid = $1 AND version = $2
            RETURNING device_nid
        ), access_gone AS (
            DELETE FROM access_tokens t
             USING device d
             WHERE t.device_nid = d.device_nid
               AND (t.generation > $3 OR t.generation < $3 AND t.expires_ts <= $8)
        ), refresh_gone AS (
            DELETE FROM refresh_tokens t
             USING device d
             WHERE t.device_nid = d.device_nid AND t.generation <> $3
        ), access AS (
            INSERT INTO access_tokens (token_hash, device_nid, generation, used, expires_ts)
            SELECT $4, device_nid, $3 + 1, false, $5 FROM device
        )
        INSERT INTO refresh_tokens (token_hash, device_nid, generation, expires_ts)
        SELECT $6, device_nid, $3 + 1, $7 FROM device
        """,
        old.device,
        old.version,
        old.generation,
        *tokens,
        now,
    )
    return tag == "INSERT 0 1"


async def add_login_token(
    conn: Connection, token_hash: bytes, user: UserNid, expires_ts: int, now: int
) -> None:
    """Store a token that lets one device in; those that expired are removed."""
    await conn.execute(
        """
        WITH expired AS (
            DELETE FROM login_tokens
             WHERE token_hash IN (SELECT token_hash FROM login_tokens WHERE expires_ts <= $4
                                     FOR UPDATE SKIP LOCKED)
        )
        INSERT INTO login_tokens (token_hash, user_nid, expires_ts) VALUES ($1, $2, $3)
        """,
        token_hash,
        user,
        expires_ts,
        now,
    )


async def take_login_token(conn: Connection, token_hash: bytes, now: int) -> UserNid | None:
    """Use up a token; answer whose it was. Of two at the same time one gets it."""
    row = await conn.fetchrow(
        "DELETE FROM login_tokens WHERE token_hash = $1 RETURNING user_nid, expires_ts", token_hash
    )
    return UserNid(row[0]) if row and row[1] > now else None


async def purge(conn: Connection) -> None:
    """Remove tokens of devices that are gone, which a login at the same moment may have left."""
    await conn.execute(
        """
        WITH access AS (
            DELETE FROM access_tokens t
             WHERE NOT EXISTS (SELECT FROM devices d WHERE d.device_nid = t.device_nid)
        )
        DELETE FROM refresh_tokens t
         WHERE NOT EXISTS (SELECT FROM devices d WHERE d.device_nid = t.device_nid)
        """
    )
