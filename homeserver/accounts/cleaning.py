"""Removing what has expired; any process may do it at any time."""

from homeserver.storage import tokens, uia_sessions
from homeserver.storage.process import Process


async def clean(process: Process) -> None:
    """Remove expired authentication sessions, and tokens of devices that are gone."""
    async with process.database.reader() as conn:
        await uia_sessions.purge(conn, process.now())
        await tokens.purge(conn)
