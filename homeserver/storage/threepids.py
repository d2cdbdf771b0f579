"""Addresses of people here, and what identity servers were told of them.

https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information
"""

from collections.abc import Sequence
from typing import NamedTuple

from federation.identifiers import ServerName, UserID
from homeserver.storage.numbers import UserNid
from homeserver.storage.pool import Connection


class Threepid(NamedTuple):
    """A row of `threepids`; times in milliseconds since the epoch."""

    medium: str
    address: str
    validated_ts: int
    added_ts: int


class Bound(NamedTuple):
    """An address that an identity server was told is somebody's."""

    id_server: ServerName
    medium: str
    address: str


async def owner(conn: Connection, medium: str, address: str) -> tuple[UserNid, UserID] | None:
    """Whose address that is."""
    row = await conn.fetchrow(
        """
        SELECT t.user_nid, u.user_id
          FROM threepids t JOIN users u ON u.user_nid = t.user_nid
         WHERE t.medium = $1 AND t.address = $2
        """,
        medium,
        address,
    )
    return (UserNid(row[0]), UserID(row[1])) if row else None


async def of_user(conn: Connection, user: UserNid) -> Sequence[Threepid]:
    """Somebody's addresses, the first added first."""
    rows = await conn.fetch(
        """
        SELECT medium, address, validated_ts, added_ts
          FROM threepids WHERE user_nid = $1 ORDER BY added_ts, medium, address
        """,
        user,
    )
    return [Threepid(*row) for row in rows]


async def add(conn: Connection, user: UserNid, new: Threepid, most: int) -> bool:
    """Give somebody an address; false if it is another one's, or they have too many.

    Whoever has ended their account gets none.
    """
    added = await conn.fetchval(
        """
        WITH account AS (
            SELECT user_nid FROM accounts WHERE user_nid = $1 AND NOT deactivated FOR SHARE
        )
        INSERT INTO threepids AS t (medium, address, user_nid, validated_ts, added_ts)
        SELECT $2, $3, user_nid, $4, $5
          FROM account
         WHERE (SELECT count(*) FROM threepids WHERE user_nid = $1) < $6
        ON CONFLICT (medium, address) DO UPDATE SET validated_ts = excluded.validated_ts
         WHERE t.user_nid = excluded.user_nid
        RETURNING true
        """,
        user,
        *new,
        most,
    )
    return bool(added)


async def remove(conn: Connection, user: UserNid, medium: str, address: str) -> None:
    """Take an address from somebody, if it is theirs."""
    await conn.execute(
        "DELETE FROM threepids WHERE user_nid = $1 AND medium = $2 AND address = $3",
        user,
        medium,
        address,
    )


async def bind(conn: Connection, user: UserNid, bound: Bound) -> None:
    """Note what an identity server was told."""
    await conn.execute(
        """
        INSERT INTO bound_threepids (user_nid, id_server, medium, address) VALUES ($1, $2, $3, $4)
        ON CONFLICT DO NOTHING
        """,
        user,
        *bound,
    )


async def bound(conn: Connection, user: UserNid) -> Sequence[Bound]:
    """All that identity servers were told of somebody."""
    rows = await conn.fetch(
        "SELECT id_server, medium, address FROM bound_threepids WHERE user_nid = $1", user
    )
    return [Bound(*row) for row in rows]


async def unbind(conn: Connection, user: UserNid, gone: Bound) -> None:
    """An identity server was told that it is not so any more."""
    await conn.execute(
        """
        DELETE FROM bound_threepids
         WHERE user_nid = $1 AND id_server = $2 AND medium = $3 AND address = $4
        """,
        user,
        *gone,
    )
