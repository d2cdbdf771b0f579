"""Proving to other services who one is, without giving them the account.

https://spec.matrix.org/v1.19/client-server-api/#openid
"""

from federation.identifiers import UserID
from homeserver.accounts.tokens import hash_of, new_openid_token
from homeserver.errors import UnknownToken
from homeserver.storage import openid
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process

LASTS = 3600
"""Seconds for which a token is good."""


class OpenID:
    """Hands out tokens, and tells whose they are."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def issue(self, user: UserNid) -> str:
        """A token for a service to show us; it is good for that only."""
        token = new_openid_token()
        expires = self._process.now() + LASTS * 1000
        async with self._process.database.reader() as conn:
            await openid.add(conn, token.hash, user, expires)
        return token.text

    async def owner(self, token: str) -> UserID:
        """Whose token a service was given, or raise `UnknownToken`."""
        async with self._process.database.reader() as conn:
            found = await openid.find(conn, hash_of(token), self._process.now())
        if found is None:
            raise UnknownToken("the token is unknown or has expired")
        return found
