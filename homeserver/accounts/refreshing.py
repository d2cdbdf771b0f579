"""Renewing access tokens.

https://spec.matrix.org/v1.19/client-server-api/#refreshing-access-tokens
"""

from homeserver.accounts.issuing import Tokens, Validity, issue_refreshable
from homeserver.accounts.tokens import hash_of, session_in
from homeserver.errors import UnknownToken, UserLocked
from homeserver.storage import tokens
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process
from homeserver.storage.tokens import RefreshRow


async def refresh(process: Process, validity: Validity, refresh_token: str) -> Tokens:
    """The tokens that follow upon a refresh token.

    It can be repeated until one of the new tokens is used; each time replaces the one before.

    Raises:
        UnknownToken: it was used up or logged out, or has expired; with `soft_logout` where the
            device is still there.
        UserLocked: the account is locked.

    """
    async with process.database.reader() as conn:
        while True:
            row = await _find(conn, refresh_token, process.now())
            session = session_in(refresh_token) or ""
            new = issue_refreshable(session, validity, row.expires_ts, process.now())
            if await tokens.refresh(conn, row, new.issued, process.now()):
                return new


async def _find(conn: Connection, refresh_token: str, now: int) -> RefreshRow:
    row = await tokens.find_refresh(conn, hash_of(refresh_token))
    if row is None:
        session = session_in(refresh_token)
        soft = session is not None and await tokens.is_session(conn, session)
        raise UnknownToken("the refresh token is not valid any more", soft_logout=soft)
    if row.expires_ts is not None and row.expires_ts <= now:
        raise UnknownToken("the refresh token has expired", soft_logout=True)
    if row.locked:
        raise UserLocked
    return row
