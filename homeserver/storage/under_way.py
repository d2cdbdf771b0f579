"""What somebody is about to do, and nobody else may do meanwhile, in whatever process.

Where it has to be seen first whether something may be done, two could see at the same moment that
they may. A row is left by a process that died; it counts only for a while.
"""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from homeserver.storage.pool import Connection
from homeserver.storage.process import Process

_LASTS = 60_000
"""Milliseconds after which whoever has not finished is thought to have died."""


@asynccontextmanager
async def alone(process: Process, what: Sequence[str], holder: bytes) -> AsyncIterator[bool]:
    """Whether one may do it now; the same holder may do it several times at once."""
    digest = hashlib.sha256("\0".join(what).encode(errors="surrogatepass")).digest()
    async with process.database.reader() as conn:
        is_ours = await _begin(conn, digest, holder, process.now())
    try:
        yield is_ours
    finally:
        if is_ours:
            async with process.database.reader() as conn:
                await _end(conn, digest, holder)


async def _begin(conn: Connection, digest: bytes, holder: bytes, now: int) -> bool:
    begun = await conn.fetchval(
        """
        INSERT INTO under_way AS old (digest, holder, until_ts) VALUES ($1, $2, $3)
        ON CONFLICT (digest) DO UPDATE
           SET holder = excluded.holder, until_ts = excluded.until_ts
         WHERE old.holder = excluded.holder OR old.until_ts < $4
        RETURNING true
        """,
        digest,
        holder,
        now + _LASTS,
        now,
    )
    return begun is not None


async def _end(conn: Connection, digest: bytes, holder: bytes) -> None:
    await conn.execute("DELETE FROM under_way WHERE digest = $1 AND holder = $2", digest, holder)


async def forget_old(conn: Connection, now: int) -> None:
    """Remove what those left who died."""
    await conn.execute("DELETE FROM under_way WHERE until_ts < $1", now)
