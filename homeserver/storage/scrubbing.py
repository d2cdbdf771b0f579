"""Rewriting what PostgreSQL keeps, so that what was deleted is in none of its files any more.

An update leaves the old row where it was until its place is needed; the log of writes, copies of
pages, and samples of rows for planning hold it too.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import asyncpg
import yaml

import migrations
from homeserver.storage.pool import OwnConnection

_CLASSES = frozenset("PC")
"""Of columns that hold what people say, in plain or encrypted; see `migrations/privacy.yaml`."""
_LOOK_AGAIN = 0.1
"""Seconds."""
_RELOAD = 1.0
"""Seconds in which PostgreSQL has certainly read its settings again."""
REFUSED = (asyncpg.InsufficientPrivilegeError, asyncpg.FeatureNotSupportedError)
"""Where the database is not ours alone."""


def tables() -> list[str]:
    """The tables that hold what people say."""
    declared = yaml.safe_load((Path(migrations.__file__).parent / "privacy.yaml").read_text())
    return sorted(
        table
        for table, columns in declared.items()
        if _CLASSES & {str(c) for c in columns.values()}
    )


async def sizes(conn: OwnConnection, names: Collection[str]) -> dict[str, int]:
    """The bytes that tables take, with all that belongs to them."""
    rows = await conn.fetch(
        "SELECT t, pg_total_relation_size(t::regclass) FROM unnest($1::text[]) AS t", list(names)
    )
    return {row[0]: row[1] for row in rows}


async def nobody_looks_back(conn: OwnConnection, seconds: float) -> bool:
    """Wait until nobody reads what was there before now; false if somebody still does.

    Whatever somebody can still see is written anew, too.
    """
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds
    before = await conn.fetchval("SELECT pg_current_xact_id()::xid::text")
    query = """
        SELECT EXISTS (SELECT FROM pg_stat_activity
                        WHERE datname = current_database() AND pid <> pg_backend_pid()
                          AND age(backend_xmin) >= age($1::text::xid))
    """
    while await conn.fetchval(query, before):
        if loop.time() > ends:
            return False
        await asyncio.sleep(_LOOK_AGAIN)
    return True


async def rewrite(conn: OwnConnection, table: str) -> None:
    """Write a table anew, with its indexes; nobody uses it meanwhile."""
    await conn.execute(f'VACUUM (FULL, ANALYZE) "{table}"')


async def rewrite_samples(conn: OwnConnection, names: Collection[str]) -> None:
    """Take the samples of tables anew that PostgreSQL plans with, or raise one of `REFUSED`.

    Of an empty table none would be taken, and the old ones stay.
    """
    gone = "DELETE FROM pg_catalog.pg_statistic WHERE starelid = ANY ($1::text[]::regclass[])"
    await conn.execute(gone, list(names))
    await conn.execute("VACUUM FULL pg_catalog.pg_statistic")
    for name in names:
        await conn.execute(f'ANALYZE "{name}"')


async def rewrite_log(conn: OwnConnection) -> AsyncIterator[float]:
    """Have every file of the log of writes made anew; answers again and again how far it is.

    Raises:
        One of `REFUSED`: the database is not ours to do that with.

    """
    files: int = await conn.fetchval("SELECT count(*) FROM pg_ls_waldir()")
    # Else they would be used again, with what is in them.
    await conn.execute("ALTER SYSTEM SET wal_recycle = off")
    try:
        await _reload(conn)
        await conn.execute("CHECKPOINT")
        # Also those that are ready to be used again are gone once they were passed.
        for number in range(files + 1):
            await conn.execute("SELECT pg_logical_emit_message(true, 'hearth', 'scrub')")
            await conn.execute("SELECT pg_switch_wal()")
            yield number / (files + 1)
        await conn.execute("CHECKPOINT")
    finally:
        await conn.execute("ALTER SYSTEM RESET wal_recycle")
        await _reload(conn)


async def _reload(conn: OwnConnection) -> None:
    await conn.execute("SELECT pg_reload_conf()")
    await asyncio.sleep(_RELOAD)
