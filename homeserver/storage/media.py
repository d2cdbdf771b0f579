"""What is known of files: whose they are, what they are called, where they lie.

https://spec.matrix.org/v1.19/client-server-api/#content-repository
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple, NewType

from homeserver.storage.numbers import UserNid
from homeserver.storage.pool import Connection

MediaNid = NewType("MediaNid", int)


class Kept(NamedTuple):
    """A file that was written."""

    file_id: str
    """Its name in the store."""
    size: int
    """In bytes."""
    sha256: bytes


class Item(NamedTuple):
    """A row of `media`."""

    media: MediaNid
    user: UserNid | None
    file_id: str | None
    """`None`: announced, and not uploaded yet."""
    size: int
    content_type: str | None
    file_name: str | None
    created_ts: int
    used_day: int
    is_quarantined: bool
    is_protected: bool
    """From quarantine."""


class Thumbnail(NamedTuple):
    """A row of `thumbnails`."""

    file_id: str
    size: int
    content_type: str


class Shape(NamedTuple):
    """What a thumbnail was made to fit, in pixels."""

    width: int
    height: int
    is_cropped: bool


async def find(conn: Connection, origin: str, media_id: str) -> Item | None:
    """What is known of a file."""
    row = await conn.fetchrow(
        """
        SELECT media_nid, user_nid, file_id, size, content_type, file_name, created_ts, used_day,
               quarantined_by IS NOT NULL, is_protected
          FROM media
         WHERE origin = $1 AND media_id = $2
        """,
        origin,
        media_id,
    )
    return Item(*row) if row else None


async def announce(
    conn: Connection, origin: str, media_id: str, user: UserNid, now: int, most: int
) -> bool:
    """Reserve a name for a file to come; false if the user has reserved too many already."""
    made = await conn.fetchval(
        """
        INSERT INTO media (origin, media_id, user_nid, created_ts, used_day)
        SELECT $1, $2, $3, $4::bigint, ($4::bigint / 86400000)::integer
         WHERE (SELECT count(*) FROM media WHERE user_nid = $3 AND file_id IS NULL) < $5
        RETURNING media_nid
        """,
        origin,
        media_id,
        user,
        now,
        most,
    )
    return made is not None


async def add(
    conn: Connection,
    origin: str,
    media_id: str,
    user: UserNid | None,
    kept: Kept,
    content_type: str | None,
    file_name: str | None,
    now: int,
    *,
    is_preview: bool = False,
) -> bool:
    """Note a file that was written; false if one of that name is there already."""
    made = await conn.fetchval(
        """
        INSERT INTO media AS old (origin, media_id, user_nid, file_id, size, sha256, content_type,
                                  file_name, created_ts, used_day, is_preview)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::bigint, ($9::bigint / 86400000)::integer, $10)
        ON CONFLICT (origin, media_id) DO UPDATE
           SET file_id = excluded.file_id, size = excluded.size, sha256 = excluded.sha256,
               content_type = excluded.content_type, file_name = excluded.file_name
         WHERE old.file_id IS NULL
        RETURNING media_nid
        """,
        origin,
        media_id,
        user,
        *kept,
        content_type,
        file_name,
        now,
        is_preview,
    )
    return made is not None


async def see(conn: Connection, media: MediaNid, today: int) -> None:
    """Note that somebody wanted it today."""
    await conn.execute(
        "UPDATE media SET used_day = $2 WHERE media_nid = $1 AND used_day < $2", media, today
    )


async def find_thumbnail(conn: Connection, media: MediaNid, shape: Shape) -> Thumbnail | None:
    """A thumbnail that was made before."""
    row = await conn.fetchrow(
        """
        SELECT file_id, size, content_type
          FROM thumbnails
         WHERE media_nid = $1 AND width = $2 AND height = $3 AND is_cropped = $4
        """,
        media,
        *shape,
    )
    return Thumbnail(*row) if row else None


async def add_thumbnail(
    conn: Connection, media: MediaNid, shape: Shape, thumbnail: Thumbnail
) -> bool:
    """Note a thumbnail that was written; false if somebody was quicker, or the file is gone."""
    made = await conn.fetchval(
        """
        INSERT INTO thumbnails (media_nid, width, height, is_cropped, file_id, size, content_type)
        SELECT media_nid, $2, $3, $4, $5, $6, $7 FROM media WHERE media_nid = $1 FOR KEY SHARE
        ON CONFLICT DO NOTHING
        RETURNING media_nid
        """,
        media,
        *shape,
        *thumbnail,
    )
    return made is not None


async def take_unused(
    conn: Connection, server: str, before_day: int, announced_before: int, limit: int = 500
) -> Sequence[str]:
    """Forget other servers' files that nobody wanted lately, and names that nobody used.

    Answers the files to delete, thumbnails too.
    """
    found = """
        SELECT media_nid FROM media
         WHERE ((origin <> $1 AND used_day < $2) OR (file_id IS NULL AND created_ts < $3))
           AND quarantined_by IS NULL
         LIMIT $4
        """
    return await _take(conn, found, server, before_day, announced_before, limit)


async def find_preview(conn: Connection, sha256: bytes, since: int) -> str | None:
    """The ID of the picture of a page that is the same, and was kept since a time, or is kept away.

    So what is in quarantine does not come back.
    """
    found: str | None = await conn.fetchval(
        """
        SELECT media_id FROM media
         WHERE is_preview AND sha256 = $1 AND (created_ts > $2 OR quarantined_by IS NOT NULL)
         ORDER BY quarantined_by NULLS LAST
         LIMIT 1
        """,
        sha256,
        since,
    )
    return found


async def take_previews(conn: Connection, before: int, most: int) -> Sequence[str]:
    """Forget pictures of pages from before a time, and the oldest where all are too large.

    Answers the files to delete, thumbnails too.

    Args:
        conn: to write with.
        before: milliseconds since the epoch.
        most: bytes of all that may stay.

    """
    found = """
        SELECT media_nid
          FROM (SELECT media_nid, created_ts,
                       sum(size) OVER (ORDER BY created_ts DESC, media_nid DESC) AS held
                  FROM media
                 WHERE is_preview AND quarantined_by IS NULL) p
         WHERE created_ts < $1 OR held > $2
        """
    return await _take(conn, found, before, most)


async def take(conn: Connection, files: Collection[MediaNid]) -> Sequence[str]:
    """Forget some files, but for those in quarantine, and those that are protected from it.

    Answers the files to delete, thumbnails too.
    """
    found = """
        SELECT media_nid FROM media
         WHERE media_nid = ANY ($1) AND quarantined_by IS NULL AND NOT is_protected
        """
    return await _take(conn, found, list(files))


async def _take(conn: Connection, found: str, *given: object) -> Sequence[str]:
    """Forget the files that a query finds; answers their names in the store."""
    rows = await conn.fetch(
        f"""
        WITH gone AS (
            DELETE FROM media WHERE media_nid IN ({found}) RETURNING media_nid, file_id
        ), smaller AS (
            DELETE FROM thumbnails t USING gone
             WHERE t.media_nid = gone.media_nid RETURNING t.file_id
        )
        INSERT INTO dead_files (file_id)
        SELECT file_id FROM gone WHERE file_id IS NOT NULL UNION ALL SELECT file_id FROM smaller
        ON CONFLICT (file_id) DO UPDATE SET file_id = excluded.file_id
        RETURNING file_id
        """,  # noqa: S608 - the query is one of those above
        *given,
    )
    return [row[0] for row in rows]


async def dead_files(conn: Connection, limit: int = 500) -> Sequence[str]:
    """Some files that nothing knows any more, and that may still be on the disk."""
    rows = await conn.fetch("SELECT file_id FROM dead_files LIMIT $1", limit)
    return [row[0] for row in rows]


async def bury(conn: Connection, files: Sequence[str]) -> None:
    """Forget files that are gone from the disk."""
    await conn.execute("DELETE FROM dead_files WHERE file_id = ANY ($1)", files)


async def quarantine(
    conn: Connection, server: str, names: Collection[tuple[str, str]], by: UserNid, now: int
) -> int:
    """Give some files out no more, by origin and ID; how many there are of them.

    Of other servers' files those as well that nobody here has wanted yet; of ours, not those that
    are protected.
    """
    tag: str = await conn.execute(
        """
        INSERT INTO media AS old (origin, media_id, created_ts, used_day, quarantined_by)
        SELECT n.origin, n.media_id, $5::bigint, ($5::bigint / 86400000)::integer, $4
          FROM (SELECT DISTINCT * FROM unnest($2::text[], $3::text[]) AS u (origin, media_id)) n
         WHERE n.origin <> $1
            OR EXISTS (SELECT FROM media m
                        WHERE m.origin = n.origin AND m.media_id = n.media_id)
        ON CONFLICT (origin, media_id) DO UPDATE SET quarantined_by = excluded.quarantined_by
         WHERE NOT old.is_protected AND old.quarantined_by IS NULL
        """,
        server,
        [origin for origin, _ in names],
        [media_id for _, media_id in names],
        by,
        now,
    )
    return int(tag.rpartition(" ")[2])


async def quarantine_of_user(conn: Connection, user: UserNid, by: UserNid) -> int:
    """Give somebody's files out no more, but for those that are protected; how many."""
    tag: str = await conn.execute(
        """
        UPDATE media SET quarantined_by = $2
         WHERE user_nid = $1 AND NOT is_protected AND quarantined_by IS NULL
        """,
        user,
        by,
    )
    return int(tag.rpartition(" ")[2])


async def release(conn: Connection, origin: str, media_id: str) -> bool:
    """Give a file out again; false if there is none.

    What was only noted, so that it would not be fetched, is forgotten: it may be fetched now.
    """
    found = await conn.fetchval(
        """
        WITH noted AS (
            DELETE FROM media
             WHERE origin = $1 AND media_id = $2 AND file_id IS NULL AND user_nid IS NULL
            RETURNING 1
        ), kept AS (
            UPDATE media SET quarantined_by = NULL
             WHERE origin = $1 AND media_id = $2 AND NOT (file_id IS NULL AND user_nid IS NULL)
            RETURNING 1
        )
        SELECT (SELECT count(*) FROM noted) + (SELECT count(*) FROM kept)
        """,
        origin,
        media_id,
    )
    return bool(found)


async def protect(conn: Connection, origin: str, media_id: str, *, is_protected: bool) -> bool:
    """Keep a file from being put into quarantine, or no longer; false if there is none."""
    tag = await conn.execute(
        "UPDATE media SET is_protected = $3 WHERE origin = $1 AND media_id = $2",
        origin,
        media_id,
        is_protected,
    )
    return tag == "UPDATE 1"
