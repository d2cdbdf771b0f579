"""Accounts as administrators look through them, page by page."""

from typing import NamedTuple

from federation.identifiers import UserID
from homeserver.storage.numbers import UserNid
from homeserver.storage.pool import Connection

ORDERS = {
    "name": "u.user_id",
    "is_guest": "a.is_guest",
    "admin": "a.is_admin",
    "deactivated": "a.deactivated",
    "creation_ts": "a.created_day",
    "last_seen_ts": "seen.day",
}
"""What accounts can be sorted by, and the column that stands for it."""


class Search(NamedTuple):
    """Which accounts are looked for."""

    part: str | None = None
    """Text in the user ID before the colon."""
    words: tuple[str, ...] = ()
    """Beginnings of words of the display name: another way to be found by the same text."""
    user_id: str | None = None
    """Text anywhere in the user ID."""
    guests: bool = True
    deactivated: bool = False
    locked: bool = False
    admins: bool | None = None
    order_by: str = "name"
    backwards: bool = False


class Listed(NamedTuple):
    """An account with what is shown of it in a list."""

    user: UserNid
    user_id: UserID
    is_admin: bool
    is_guest: bool
    deactivated: bool
    erased: bool
    locked: bool
    suspended: bool
    appservice: str | None
    created_day: int
    last_seen_day: int | None
    profile: bytes | None
    """A JSON object."""


async def page(
    conn: Connection, search: Search, start: int, limit: int
) -> tuple[list[Listed], int]:
    """Some of the accounts that were looked for, and how many there are in all."""
    direction = "DESC" if search.backwards else "ASC"
    rows = await conn.fetch(
        f"""
        WITH found AS MATERIALIZED (
            SELECT a.*, u.user_id, seen.day,
                   row_number() OVER (
                       ORDER BY {ORDERS[search.order_by]} {direction} NULLS LAST, a.user_nid
                   ) AS nr
              FROM accounts a
              JOIN users u ON u.user_nid = a.user_nid
              LEFT JOIN LATERAL (
                   SELECT max(d.last_seen_day) AS day FROM devices d WHERE d.user_nid = a.user_nid
                   ) seen ON true
             WHERE ($1::text IS NULL
                    OR position(lower($1) IN lower(split_part(u.user_id, ':', 1))) > 0
                    OR EXISTS (
                       SELECT FROM user_words w
                        WHERE w.user_nid = a.user_nid AND w.word ^@ ANY ($2::text[])))
               AND ($3::text IS NULL OR position(lower($3) IN lower(u.user_id)) > 0)
               AND ($4 OR NOT a.is_guest)
               AND ($5 OR NOT a.deactivated)
               AND ($6 OR NOT a.locked)
               AND ($7::boolean IS NULL OR a.is_admin = $7)
        )
        SELECT (SELECT count(*) FROM found), f.user_nid, f.user_id, f.is_admin, f.is_guest,
               f.deactivated, f.erased, f.locked, f.suspended, f.appservice, f.created_day,
               f.day, p.fields
          FROM (SELECT 1) one
          LEFT JOIN found f ON f.nr > $8 AND f.nr <= $8::bigint + $9::bigint
          LEFT JOIN profiles p ON p.user_nid = f.user_nid
         ORDER BY f.nr
        """,  # noqa: S608 - the order is one of those above
        search.part,
        list(search.words),
        search.user_id,
        search.guests,
        search.deactivated,
        search.locked,
        search.admins,
        start,
        limit,
    )
    return [Listed(*row[1:]) for row in rows if row[1] is not None], rows[0][0]


async def find(conn: Connection, user_id: UserID) -> Listed | None:
    """One account."""
    row = await conn.fetchrow(
        """
        SELECT a.user_nid, u.user_id, a.is_admin, a.is_guest, a.deactivated, a.erased, a.locked,
               a.suspended, a.appservice, a.created_day,
               (SELECT max(d.last_seen_day) FROM devices d WHERE d.user_nid = a.user_nid),
               p.fields
          FROM users u
          JOIN accounts a ON a.user_nid = u.user_nid
          LEFT JOIN profiles p ON p.user_nid = a.user_nid
         WHERE u.user_id = $1
        """,
        user_id,
    )
    return Listed(*row) if row else None
