"""Duties that one process at a time has, and how far in the log each has come.

A duty is leased: its holder says again and again that it is alive; when it does not, another
process takes over where it was.
"""

from typing import NamedTuple

from homeserver.storage.pool import Connection


class Held(NamedTuple):
    """A duty that is ours for now."""

    pos: int
    """Up to here in the log it is done."""


async def hold(
    conn: Connection, name: str, holder: str, now: int, until: int, begin: int
) -> Held | None:
    """Take, or keep, a duty; `None` if somebody else has it.

    Args:
        conn: to write with.
        name: of the duty.
        holder: who wants it.
        now: the time, in milliseconds.
        until: for how long.
        begin: where in the log it begins if nobody ever had it.

    """
    pos = await conn.fetchval(
        """
        INSERT INTO duties AS old (name, holder, until_ts, pos) VALUES ($1, $2, $4, $5)
        ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until_ts = excluded.until_ts
         WHERE old.holder = excluded.holder OR old.until_ts < $3
        RETURNING pos
        """,
        name,
        holder,
        now,
        until,
        begin,
    )
    return None if pos is None else Held(pos)


async def let_go(conn: Connection, name: str, holder: str) -> None:
    """Leave a duty to whoever wants it next."""
    await conn.execute(
        "UPDATE duties SET until_ts = 0 WHERE name = $1 AND holder = $2", name, holder
    )


async def keep(conn: Connection, name: str, holder: str, until: int, pos: int) -> bool:
    """Keep a duty that is ours, done up to a position; false if somebody else has it by now."""
    kept = await conn.fetchval(
        """
        UPDATE duties SET until_ts = $3, pos = greatest(pos, $4)
         WHERE name = $1 AND holder = $2
        RETURNING pos
        """,
        name,
        holder,
        until,
        pos,
    )
    return kept is not None
