"""Who used the server lately, counted where the settings say how many people may.

https://spec.matrix.org/v1.19/client-server-api/#server-notices
"""

from collections.abc import Sequence
from typing import NamedTuple

from federation.identifiers import EventID, UserID
from homeserver.storage.numbers import UserNid
from homeserver.storage.pool import Connection


class Told(NamedTuple):
    """Somebody, and the notice that tells them that no more people may come."""

    user: UserNid
    user_id: UserID
    notice: EventID | None


async def admit(conn: Connection, user: UserNid, today: int, since: int, most: int) -> bool:
    """Note that somebody uses the server; false if they did not, and as many others did."""
    admitted: bool = await conn.fetchval(
        "SELECT admit_active($1, $2, $3, $4)", user, today, since, most
    )
    return admitted


async def count(conn: Connection, since: int) -> int:
    """How many people used the server since a day."""
    found: int = await conn.fetchval("SELECT count_active($1)", since)
    return found


async def note_seen(conn: Connection, since: int) -> None:
    """Note whose devices were seen since a day, before it was counted."""
    await conn.execute(
        """
        INSERT INTO active_users (user_nid, seen_day)
        SELECT d.user_nid, max(d.last_seen_day)
          FROM devices d JOIN accounts a ON a.user_nid = d.user_nid
         WHERE d.last_seen_day >= $1 AND a.appservice IS NULL AND NOT a.is_guest
         GROUP BY d.user_nid
        ON CONFLICT DO NOTHING
        """,
        since,
    )


async def forget(conn: Connection, since: int, most: int) -> None:
    """Forget who did not use the server since a day, and of more than so many the longest away.

    Administrators stay, and who was told something that is to be taken back.
    """
    await conn.execute(
        """
        UPDATE active_users SET seen_day = least(seen_day, $1 - 1)
         WHERE user_nid IN (
            SELECT u.user_nid
              FROM active_users u JOIN accounts a ON a.user_nid = u.user_nid
             WHERE u.seen_day >= $1 AND NOT a.deactivated
             ORDER BY a.is_admin DESC, u.seen_day DESC, u.user_nid
            OFFSET $2)
        """,
        since,
        most,
    )
    await conn.execute("DELETE FROM active_users WHERE seen_day < $1 AND notice IS NULL", since)


async def untold(conn: Connection, since: int, limit: int) -> Sequence[Told]:
    """Some who used the server since a day, and were not told that no more people may come."""
    rows = await conn.fetch(
        """
        SELECT u.user_nid, u.user_id, a.notice
          FROM active_users a
          JOIN users u ON u.user_nid = a.user_nid
          JOIN accounts c ON c.user_nid = a.user_nid
         WHERE a.seen_day >= $1 AND a.notice IS NULL AND NOT c.deactivated
         ORDER BY a.user_nid LIMIT $2
        """,
        since,
        limit,
    )
    return [Told(*row) for row in rows]


async def told(conn: Connection, limit: int) -> Sequence[Told]:
    """Some who were told so."""
    rows = await conn.fetch(
        """
        SELECT u.user_nid, u.user_id, a.notice
          FROM active_users a JOIN users u ON u.user_nid = a.user_nid
         WHERE a.notice IS NOT NULL
         ORDER BY a.user_nid LIMIT $1
        """,
        limit,
    )
    return [Told(*row) for row in rows]


async def note_told(conn: Connection, user: UserNid, notice: EventID | None) -> None:
    """Note with which event somebody was told, or that it was taken back."""
    await conn.execute("UPDATE active_users SET notice = $2 WHERE user_nid = $1", user, notice)
