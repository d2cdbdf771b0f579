"""Registration with a token that an administrator handed out.

https://spec.matrix.org/v1.19/client-server-api/#token-authenticated-registration
"""

import hmac
import re

from homeserver.accounts.interactive import Attempt, Passed
from homeserver.accounts.stages import Refusal
from homeserver.errors import MissingParam
from homeserver.storage import registration
from homeserver.storage.process import Process

_GRAMMAR = re.compile(r"[0-9A-Za-z._~-]{1,64}", re.ASCII)


class RegistrationTokens:
    """Checks registration tokens.

    Args:
        process: the one that this is part of.
        unlimited: a token that is always good (`registration.token`).

    """

    def __init__(self, process: Process, unlimited: str | None) -> None:
        self._process = process
        self._unlimited = unlimited

    async def is_valid(self, token: str) -> bool:
        """Whether one could register with the token now."""
        if self._is_unlimited(token):
            return True
        if not _GRAMMAR.fullmatch(token):
            return False
        async with self._process.database.reader() as conn:
            return await registration.is_valid(conn, token, self._process.now())

    async def check(self, attempt: Attempt) -> Passed | Refusal:
        """Count one use of the token for the session, once."""
        token = attempt.auth.given.get("token")
        if not isinstance(token, str):
            raise MissingParam("token is missing")
        if self._is_unlimited(token):
            return Passed()
        if _GRAMMAR.fullmatch(token):
            async with self._process.database.reader() as conn:
                if await registration.claim_token(
                    conn, attempt.session_hash, token, self._process.now()
                ):
                    return Passed()
        return Refusal("M_FORBIDDEN", "the registration token is not valid")

    def _is_unlimited(self, token: str) -> bool:
        known = self._unlimited
        return known is not None and hmac.compare_digest(
            token.encode(errors="surrogatepass"), known.encode()
        )
