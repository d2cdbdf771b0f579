"""Accounts of people, guests and bridged users on this server.

A row stays for ever once it is made, so that nobody gets the name of somebody who left. Whoever
adds a device, or writes account data, takes the account's row first.

https://spec.matrix.org/v1.19/client-server-api/#account-management
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from federation.identifiers import UserID
from homeserver.storage.log import Kind
from homeserver.storage.numbers import UserNid
from homeserver.storage.pool import Connection


class Account(NamedTuple):
    """A row of `accounts`, with the user's ID."""

    user: UserNid
    user_id: UserID
    version: int
    """Counts what can add devices; see the migration."""
    password_hash: str | None
    created_day: int
    is_admin: bool
    is_guest: bool
    locked: bool
    suspended: bool
    deactivated: bool
    erased: bool
    appservice: str | None


class NewAccount(NamedTuple):
    """What is known of an account when it is made."""

    user: UserNid
    created_day: int
    password_hash: str | None = None
    is_admin: bool = False
    is_guest: bool = False
    appservice: str | None = None


async def has_accounts(conn: Connection) -> bool:
    """Whether anybody has an account here."""
    found: bool = await conn.fetchval("SELECT EXISTS (SELECT FROM accounts)")
    return found


async def find(conn: Connection, user_id: UserID) -> Account | None:
    """The account of this user."""
    row = await conn.fetchrow(
        """
        SELECT a.user_nid, u.user_id, a.version, a.password_hash, a.created_day, a.is_admin,
               a.is_guest, a.locked, a.suspended, a.deactivated, a.erased, a.appservice
          FROM users u JOIN accounts a ON a.user_nid = u.user_nid
         WHERE u.user_id = $1
        """,
        user_id,
    )
    return Account(*row) if row else None


async def erased(conn: Connection, user_ids: Iterable[UserID]) -> set[UserID]:
    """Those of the users who had an account here, and wanted to be forgotten."""
    rows = await conn.fetch(
        """
        SELECT u.user_id FROM users u JOIN accounts a ON a.user_nid = u.user_nid
         WHERE u.user_id = ANY ($1) AND a.erased
        """,
        list(user_ids),
    )
    return {UserID(row[0]) for row in rows}


async def get(conn: Connection, user: UserNid) -> Account:
    """The account of this user, who must have one."""
    row = await conn.fetchrow(
        """
        SELECT a.user_nid, u.user_id, a.version, a.password_hash, a.created_day, a.is_admin,
               a.is_guest, a.locked, a.suspended, a.deactivated, a.erased, a.appservice
          FROM accounts a JOIN users u ON u.user_nid = a.user_nid
         WHERE a.user_nid = $1
        """,
        user,
    )
    return Account(*row)


async def add(conn: Connection, new: NewAccount) -> int | None:
    """Make an account; answer the position, or `None` if the user has one already."""
    pos: int | None = await conn.fetchval(
        """
        WITH made AS (
            INSERT INTO accounts
                   (user_nid, created_day, password_hash, is_admin, is_guest, appservice)
            VALUES ($1, $2, $3, $4, $5, $6)
            ON CONFLICT (user_nid) DO NOTHING
            RETURNING user_nid
        )
        SELECT append_log(array_agg($7::smallint), array_agg(NULL::bigint),
                          array_agg(user_nid), array_agg(NULL::bigint))
          FROM made
        """,
        *new,
        Kind.ACCOUNT,
    )
    return pos


class Made(NamedTuple):
    """What came of making an account at the end of user-interactive authentication."""

    pos: int | None
    """Position of the new account; `None` if none was made."""
    before: UserNid | None
    """The account that the session had led to already."""


async def add_for_session(
    conn: Connection, new: NewAccount, session_hash: bytes, now: int, *, is_guests: bool
) -> Made:
    """Make the account that a session of user-interactive authentication leads to, once.

    With `is_guests` it is a guest's, which becomes an ordinary one. The e-mail address that a
    stage showed to be theirs becomes the account's.

    Of requests at the same time one makes it; the others find it as `before`. If the name is taken
    nothing is written, and `before` is empty too.
    """
    row = await conn.fetchrow(
        """
        WITH session AS (
            SELECT session_hash, registration_token, made_user_nid
              FROM uia_sessions
             WHERE session_hash = $8
               FOR UPDATE
        ), made AS (
            INSERT INTO accounts
                   (user_nid, created_day, password_hash, is_admin, is_guest, appservice)
            SELECT $1, $2, $3, $4, $5, $6 FROM session WHERE made_user_nid IS NULL
            ON CONFLICT (user_nid) DO UPDATE
               SET is_guest = false, password_hash = excluded.password_hash
             WHERE $10 AND accounts.is_guest AND NOT accounts.deactivated
            RETURNING user_nid
        ), proven AS (
            DELETE FROM email_validations v
             USING made
             WHERE v.session_hash = $8 AND v.validated_ts IS NOT NULL
            RETURNING v.address, v.validated_ts, made.user_nid
        ), addressed AS (
            INSERT INTO threepids (medium, address, user_nid, validated_ts, added_ts)
            SELECT 'email', address, user_nid, validated_ts, $9 FROM proven
            ON CONFLICT DO NOTHING
            RETURNING 1
        ), spent AS (
            UPDATE registration_tokens t
               SET pending = t.pending - 1, completed = t.completed + 1
              FROM session s, made
             WHERE t.token = s.registration_token
            RETURNING 1
        ), finished AS (
            UPDATE uia_sessions s
               SET made_user_nid = made.user_nid, registration_token = NULL
              FROM made
             WHERE s.session_hash = $8
            RETURNING 1
        ), written AS MATERIALIZED (
            SELECT (SELECT count(*) FROM spent) + (SELECT count(*) FROM finished)
                   + (SELECT count(*) FROM addressed) AS rows
        )
        SELECT append_log(array_agg($7::smallint), array_agg(NULL::bigint),
                          array_agg(made.user_nid), array_agg(NULL::bigint)),
               (SELECT made_user_nid FROM session)
          FROM made, written
        """,
        *new,
        Kind.ACCOUNT,
        session_hash,
        now,
        is_guests,
    )
    return Made(*row)


async def set_states(
    conn: Connection,
    user: UserNid,
    *,
    is_admin: bool | None = None,
    locked: bool | None = None,
    suspended: bool | None = None,
) -> int | None:
    """Change what is given; answer the position, or `None` without such an account."""
    pos: int | None = await conn.fetchval(
        """
        WITH changed AS (
            UPDATE accounts
               SET is_admin = coalesce($3, is_admin),
                   locked = coalesce($4, locked),
                   suspended = coalesce($5, suspended)
             WHERE user_nid = $1 AND NOT deactivated
            RETURNING user_nid
        )
        SELECT append_log(array_agg($2::smallint), array_agg(NULL::bigint),
                          array_agg(user_nid), array_agg(NULL::bigint))
          FROM changed
        """,
        user,
        Kind.ACCOUNT,
        is_admin,
        locked,
        suspended,
    )
    return pos


async def replace_hash(conn: Connection, user: UserNid, old: str, new: str) -> bool:
    """Store another hash of the same password, unless the password was changed meanwhile."""
    tag = await conn.execute(
        "UPDATE accounts SET password_hash = $3 WHERE user_nid = $1 AND password_hash = $2",
        user,
        old,
        new,
    )
    return tag == "UPDATE 1"


async def set_password(
    conn: Connection, account: Account, password_hash: str, keep: int | None, *, log_out: bool
) -> int | None:
    """Change the password and delete the devices but `keep`, if they are to be logged out.

    Answers the last position; `None`, and nothing is changed, if the account is no longer as given.
    """
    pos: int | None = await conn.fetchval(
        """
        WITH account AS (
            UPDATE accounts
               SET password_hash = $3, version = version + 1
             WHERE user_nid = $1 AND version = $2 AND NOT deactivated
            RETURNING user_nid
        ), gone AS (
            DELETE FROM devices d
             USING account a
             WHERE $5 AND d.user_nid = a.user_nid AND d.device_nid IS DISTINCT FROM $4
            RETURNING d.device_nid
        ), access AS (
            DELETE FROM access_tokens t USING gone g WHERE t.device_nid = g.device_nid RETURNING 1
        ), refresh AS (
            DELETE FROM refresh_tokens t USING gone g WHERE t.device_nid = g.device_nid RETURNING 1
        ), login AS (
            DELETE FROM login_tokens t USING account a WHERE t.user_nid = a.user_nid RETURNING 1
        ), written AS MATERIALIZED (
            SELECT (SELECT count(*) FROM access) + (SELECT count(*) FROM refresh)
                   + (SELECT count(*) FROM login) AS rows
        ), entries AS (
            SELECT user_nid, $6::smallint AS kind, NULL::bigint AS item FROM account
             UNION ALL
            SELECT $1, $7::smallint, device_nid FROM gone
        )
        SELECT append_log(array_agg(kind), array_agg(NULL::bigint),
                          array_agg(user_nid), array_agg(item)) + count(*) - 1
          FROM entries, written
        """,
        account.user,
        account.version,
        password_hash,
        keep,
        log_out,
        Kind.ACCOUNT,
        Kind.DEVICE_GONE,
    )
    return pos


async def deactivate(conn: Connection, account: Account, *, erase: bool) -> int | None:
    """End an account: no password, devices or addresses.

    Erased, it has no profile, account data or filters either.

    Answers the last position; `None`, and nothing is changed, if the account is no longer as given.
    """
    pos: int | None = await conn.fetchval(
        """
        WITH account AS (
            UPDATE accounts
               SET deactivated = true, erased = erased OR $3, password_hash = NULL,
                   is_admin = false, version = version + 1
             WHERE user_nid = $1 AND version = $2
            RETURNING user_nid
        ), gone AS (
            DELETE FROM devices d USING account a WHERE d.user_nid = a.user_nid
            RETURNING d.device_nid
        ), access AS (
            DELETE FROM access_tokens t USING gone g WHERE t.device_nid = g.device_nid RETURNING 1
        ), refresh AS (
            DELETE FROM refresh_tokens t USING gone g WHERE t.device_nid = g.device_nid RETURNING 1
        ), login AS (
            DELETE FROM login_tokens t USING account a WHERE t.user_nid = a.user_nid RETURNING 1
        ), address AS (
            DELETE FROM threepids t USING account a WHERE t.user_nid = a.user_nid RETURNING 1
        ), told AS (
            DELETE FROM bound_threepids b USING account a WHERE b.user_nid = a.user_nid RETURNING 1
        ), profile AS (
            DELETE FROM profiles p USING account a WHERE $3 AND p.user_nid = a.user_nid RETURNING 1
        ), data AS (
            DELETE FROM account_data d USING account a WHERE $3 AND d.user_nid = a.user_nid
            RETURNING 1
        ), filter AS (
            DELETE FROM filters f USING account a WHERE $3 AND f.user_nid = a.user_nid RETURNING 1
        ), followed AS (
            DELETE FROM thread_subscriptions t USING account a
             WHERE t.user_nid = a.user_nid RETURNING 1
        ), written AS MATERIALIZED (
            SELECT (SELECT count(*) FROM access) + (SELECT count(*) FROM refresh)
                   + (SELECT count(*) FROM login) + (SELECT count(*) FROM address)
                   + (SELECT count(*) FROM told) + (SELECT count(*) FROM profile)
                   + (SELECT count(*) FROM data) + (SELECT count(*) FROM filter)
                   + (SELECT count(*) FROM followed) AS rows
        ), entries AS (
            SELECT user_nid, $4::smallint AS kind, NULL::bigint AS item FROM account
             UNION ALL
            SELECT user_nid, $6::smallint, NULL FROM account WHERE $3
             UNION ALL
            SELECT $1, $5::smallint, device_nid FROM gone
        )
        SELECT append_log(array_agg(kind), array_agg(NULL::bigint),
                          array_agg(user_nid), array_agg(item)) + count(*) - 1
          FROM entries, written
        """,
        account.user,
        account.version,
        erase,
        Kind.ACCOUNT,
        Kind.DEVICE_GONE,
        Kind.PROFILE,
    )
    return pos


async def who_are_erased(conn: Connection, users: Collection[UserNid] | None) -> set[str]:
    """The IDs of those of the users, or of all, who were erased."""
    rows = await conn.fetch(
        """
        SELECT u.user_id
          FROM accounts a JOIN users u ON u.user_nid = a.user_nid
         WHERE a.erased AND ($1::bigint[] IS NULL OR a.user_nid = ANY ($1))
        """,
        None if users is None else list(users),
    )
    return {row[0] for row in rows}
