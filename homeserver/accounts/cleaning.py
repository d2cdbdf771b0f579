"""Removing what has expired; any process may do it at any time."""

from homeserver.storage import email_validations, openid, tokens, uia_sessions
from homeserver.storage.process import Process


async def clean(process: Process) -> None:
    """Remove what has expired, and tokens of devices that are gone."""
    async with process.database.reader() as conn:
        await uia_sessions.purge(conn, process.now())
        await tokens.purge(conn)
        await openid.purge(conn, process.now())
        await email_validations.purge(conn, process.now())
