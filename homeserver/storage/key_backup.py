"""Keys of encrypted rooms that clients keep here, encrypted for themselves.

https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups
"""

from collections.abc import Sequence
from typing import NamedTuple

from homeserver.storage.numbers import UserNid
from homeserver.storage.pool import Connection


class Version(NamedTuple):
    """A backup."""

    version: int
    algorithm: str
    auth_data: bytes
    etag: int
    """Counts the changes of its keys."""
    keys: int
    """How many it holds."""


class SessionKey(NamedTuple):
    """The key of one session in one room."""

    room_id: str
    session_id: str
    first_message_index: int
    forwarded_count: int
    is_verified: bool
    session_data: bytes


async def create(conn: Connection, user: UserNid, algorithm: str, auth_data: bytes) -> int:
    """Begin a new backup, which is the current one from now on; its version."""
    version: int = await conn.fetchval(
        """
        WITH account AS (
            SELECT user_nid FROM accounts WHERE user_nid = $1 FOR NO KEY UPDATE
        )
        INSERT INTO backup_versions (user_nid, version, algorithm, auth_data)
        SELECT a.user_nid, 1 + coalesce((SELECT max(version) FROM backup_versions
                                          WHERE user_nid = $1), 0), $2, $3
          FROM account a
        RETURNING version
        """,
        user,
        algorithm,
        auth_data,
    )
    return version


async def find(conn: Connection, user: UserNid, version: int | None) -> Version | None:
    """A backup that was not deleted; without a version, the current one."""
    row = await conn.fetchrow(
        """
        SELECT v.version, v.algorithm, v.auth_data, v.etag,
               (SELECT count(*) FROM backup_keys k
                 WHERE k.user_nid = v.user_nid AND k.version = v.version)
          FROM backup_versions v
         WHERE v.user_nid = $1 AND NOT v.deleted AND ($2::integer IS NULL OR v.version = $2)
         ORDER BY v.version DESC
         LIMIT 1
        """,
        user,
        version,
    )
    return Version(*row) if row else None


async def update(conn: Connection, user: UserNid, version: int, auth_data: bytes) -> bool:
    """Replace what a backup says of itself; false if there is no such backup."""
    found = await conn.fetchval(
        """
        UPDATE backup_versions SET auth_data = $3
         WHERE user_nid = $1 AND version = $2 AND NOT deleted RETURNING version
        """,
        user,
        version,
        auth_data,
    )
    return found is not None


async def delete(conn: Connection, user: UserNid, version: int) -> bool:
    """Delete a backup with all its keys; false if there never was one."""
    found = await conn.fetchval(
        """
        WITH keys AS (
            DELETE FROM backup_keys WHERE user_nid = $1 AND version = $2
        )
        UPDATE backup_versions SET deleted = true
         WHERE user_nid = $1 AND version = $2 RETURNING version
        """,
        user,
        version,
    )
    return found is not None


async def put(conn: Connection, user: UserNid, version: int, keys: Sequence[SessionKey]) -> None:
    """Keep keys; of two for one session the better stays.

    "if the keys have different values for is_verified, then it will keep the key that has
    is_verified set to true; if they have the same values for is_verified, then it will keep the key
    with a lower first_message_index; and finally, [...] the key with a lower forwarded_count."
    """
    await conn.execute(
        """
        WITH given AS (
            SELECT * FROM unnest($3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::boolean[],
                                 $8::bytea[])
                          AS g (room_id, session_id, first, forwarded, verified, data)
             ORDER BY room_id, session_id
        ), kept AS (
            INSERT INTO backup_keys AS old (user_nid, version, room_id, session_id,
                                            first_message_index, forwarded_count, is_verified,
                                            session_data)
            SELECT $1, $2, room_id, session_id, first, forwarded, verified, data FROM given
            ON CONFLICT (user_nid, version, room_id, session_id) DO UPDATE
               SET first_message_index = excluded.first_message_index,
                   forwarded_count = excluded.forwarded_count,
                   is_verified = excluded.is_verified, session_data = excluded.session_data
             WHERE (NOT old.is_verified, old.first_message_index, old.forwarded_count)
                 > (NOT excluded.is_verified, excluded.first_message_index,
                    excluded.forwarded_count)
            RETURNING 1
        )
        UPDATE backup_versions SET etag = etag + 1
         WHERE user_nid = $1 AND version = $2 AND EXISTS (SELECT FROM kept)
        """,
        user,
        version,
        [key.room_id for key in keys],
        [key.session_id for key in keys],
        [key.first_message_index for key in keys],
        [key.forwarded_count for key in keys],
        [key.is_verified for key in keys],
        [key.session_data for key in keys],
    )


async def read(
    conn: Connection,
    user: UserNid,
    version: int,
    room_id: str | None = None,
    session_id: str | None = None,
) -> list[SessionKey]:
    """Keys of a backup: all, of one room, or of one session."""
    rows = await conn.fetch(
        """
        SELECT room_id, session_id, first_message_index, forwarded_count, is_verified, session_data
          FROM backup_keys
         WHERE user_nid = $1 AND version = $2 AND ($3::text IS NULL OR room_id = $3)
           AND ($4::text IS NULL OR session_id = $4)
        """,
        user,
        version,
        room_id,
        session_id,
    )
    return [SessionKey(*row) for row in rows]


async def remove(
    conn: Connection,
    user: UserNid,
    version: int,
    room_id: str | None = None,
    session_id: str | None = None,
) -> None:
    """Delete keys of a backup: all, of one room, or of one session."""
    await conn.execute(
        """
        WITH gone AS (
            DELETE FROM backup_keys
             WHERE user_nid = $1 AND version = $2 AND ($3::text IS NULL OR room_id = $3)
               AND ($4::text IS NULL OR session_id = $4)
            RETURNING 1
        )
        UPDATE backup_versions SET etag = etag + 1
         WHERE user_nid = $1 AND version = $2 AND EXISTS (SELECT FROM gone)
        """,
        user,
        version,
        room_id,
        session_id,
    )
