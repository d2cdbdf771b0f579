"""What clients keep for their users, for the account or for one of its rooms.

The row of something deleted stays, without content, so that clients learn of it.

https://spec.matrix.org/v1.19/client-server-api/#client-config
"""

from collections.abc import Collection
from typing import NamedTuple

from homeserver.storage.log import Kind
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Connection

WHOLE_ACCOUNT = RoomNid(0)
"""Stands for no room."""


class Datum(NamedTuple):
    """A row of `account_data`."""

    room: RoomNid
    type: str
    content: bytes | None
    """A JSON object as it was received; `None`: deleted."""
    pos: int


async def find(conn: Connection, user: UserNid, room: RoomNid, kind: str) -> bytes | None:
    """The content of this type; `None` if there is none."""
    content: bytes | None = await conn.fetchval(
        """
        SELECT content FROM account_data WHERE user_nid = $1 AND room_nid = $2 AND type = $3
        """,
        user,
        room,
        kind,
    )
    return content


async def find_of_many(
    conn: Connection, users: Collection[UserNid], kinds: Collection[str]
) -> dict[UserNid, dict[str, bytes]]:
    """The content of these types in the accounts of users; those without any are missing."""
    rows = await conn.fetch(
        """
        SELECT user_nid, type, content
          FROM account_data
         WHERE user_nid = ANY ($1) AND room_nid = $2 AND type = ANY ($3) AND content IS NOT NULL
        """,
        list(users),
        WHOLE_ACCOUNT,
        list(kinds),
    )
    found: dict[UserNid, dict[str, bytes]] = {}
    for user, kind, content in rows:
        found.setdefault(UserNid(user), {})[kind] = content
    return found


async def read(conn: Connection, user: UserNid) -> list[Datum]:
    """All that the user has, without what was deleted."""
    rows = await conn.fetch(
        """
        SELECT room_nid, type, content, pos
          FROM account_data
         WHERE user_nid = $1 AND content IS NOT NULL
         ORDER BY pos
        """,
        user,
    )
    return [Datum(*row) for row in rows]


async def read_changes(conn: Connection, user: UserNid, after: int, up_to: int) -> list[Datum]:
    """What changed after one position and not after another, as it is now."""
    rows = await conn.fetch(
        """
        SELECT room_nid, type, content, pos
          FROM account_data
         WHERE user_nid = $1 AND pos > $2 AND pos <= $3
         ORDER BY pos
        """,
        user,
        after,
        up_to,
    )
    return [Datum(*row) for row in rows]


async def put(
    conn: Connection, user: UserNid, room: RoomNid, kind: str, content: bytes | None
) -> int | None:
    """Store `content`, or with `None` delete what is there.

    Answers the position; `None` if the user has no account here, or there was nothing to delete.
    """
    # The row needs its position, so the clock comes before it; whoever else could hold the row
    # holds the account's first, so nobody is waited for with the clock in hand.
    pos: int | None = await conn.fetchval(
        """
        WITH account AS MATERIALIZED (
            SELECT a.user_nid FROM accounts a WHERE a.user_nid = $1 AND NOT a.deactivated
               FOR NO KEY UPDATE
        ), logged AS MATERIALIZED (
            SELECT a.user_nid, append_log(ARRAY[$5::smallint], ARRAY[nullif($2::bigint, 0)],
                                          ARRAY[a.user_nid], ARRAY[NULL::bigint]) AS pos
              FROM account a
             WHERE $4::bytea IS NOT NULL
                OR EXISTS (SELECT FROM account_data d
                            WHERE d.user_nid = $1 AND d.room_nid = $2 AND d.type = $3
                              AND d.content IS NOT NULL)
        )
        INSERT INTO account_data (user_nid, room_nid, type, content, pos)
        SELECT user_nid, $2, $3, $4, pos FROM logged
        ON CONFLICT (user_nid, room_nid, type) DO UPDATE
           SET content = excluded.content, pos = excluded.pos
        RETURNING pos
        """,
        user,
        room,
        kind,
        content,
        Kind.ACCOUNT_DATA,
    )
    return pos


async def read_types(conn: Connection, user: UserNid, types: Collection[str]) -> list[Datum]:
    """What the user has of some types, of the account and of all rooms."""
    rows = await conn.fetch(
        """
        SELECT room_nid, type, content, pos
          FROM account_data
         WHERE user_nid = $1 AND type = ANY ($2) AND content IS NOT NULL
        """,
        user,
        list(types),
    )
    return [Datum(*row) for row in rows]
