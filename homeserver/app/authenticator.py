"""Who asks: accounts for people, application services by their tokens, peers by signatures.

https://spec.matrix.org/v1.19/client-server-api/#using-access-tokens
https://spec.matrix.org/v1.19/server-server-api/#request-authentication
"""

from collections.abc import Awaitable, Callable

from federation.identifiers import ServerName
from homeserver.accounts.sessions import Session, Sessions
from homeserver.errors import (
    Forbidden,
    GuestAccessForbidden,
    UnknownToken,
    UserLocked,
    UserSuspended,
)
from homeserver.http import Caller, Request

VerifyServer = Callable[[Request], Awaitable[ServerName]]
"""Finds out which server signed a request, or raises the `MatrixError` to refuse it with."""


class Authenticator:
    """See `homeserver.http.authentication.Authenticator`."""

    def __init__(self, sessions: Sessions, verify_server: VerifyServer) -> None:
        self._sessions = sessions
        self._verify_server = verify_server

    async def user(self, request: Request, token: str) -> Caller:
        """Somebody with an access token, if the endpoint is for such as they are."""
        session = await self._sessions.get(token)
        _check_allowed(session, request)
        return Caller(session, session.user, is_limited=not session.is_admin)

    async def administrator(self, request: Request, token: str) -> Caller:
        """Somebody whose account is an administrator's."""
        caller = await self.user(request, token)
        if not caller.who.is_admin:
            raise Forbidden("only for administrators of this server")
        return caller

    async def appservice(self, _request: Request, _token: str) -> Caller:
        """Application services are not built yet, so no token is one's."""
        raise UnknownToken("no application service has this token")

    async def server(self, request: Request) -> Caller:
        """Another server."""
        name = await self._verify_server(request)
        return Caller(name, name)


def _check_allowed(session: Session, request: Request) -> None:
    allows = request.route.allows
    if session.locked and "locked" not in allows:
        raise UserLocked
    # "a suspended account [...] may still read": what only reads is never refused for it.
    if session.suspended and "suspended" not in allows and request.method != "GET":
        raise UserSuspended
    if session.is_guest and "guest" not in allows:
        raise GuestAccessForbidden
