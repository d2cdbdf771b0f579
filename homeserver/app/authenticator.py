"""Who asks: accounts for people, application services by their tokens, peers by signatures.

https://spec.matrix.org/v1.19/client-server-api/#using-access-tokens
https://spec.matrix.org/v1.19/server-server-api/#request-authentication
"""

from collections.abc import Awaitable, Callable

from federation.identifiers import ServerName
from homeserver.accounts.client_addresses import ClientAddresses
from homeserver.accounts.masquerading import Masquerading
from homeserver.accounts.resource_limits import Person, ResourceLimits
from homeserver.accounts.sessions import Session, Sessions
from homeserver.errors import (
    Forbidden,
    GuestAccessForbidden,
    UserLocked,
    UserSuspended,
)
from homeserver.http import Caller, Request

VerifyServer = Callable[[Request], Awaitable[ServerName]]
"""Finds out which server signed a request, or raises the `MatrixError` to refuse it with."""


class Authenticator:
    """See `homeserver.http.authentication.Authenticator`."""

    def __init__(
        self,
        sessions: Sessions,
        masquerading: Masquerading,
        verify_server: VerifyServer,
        resource_limits: ResourceLimits,
        addresses: ClientAddresses,
    ) -> None:
        self._sessions = sessions
        self._masquerading = masquerading
        self._verify_server = verify_server
        self._resource_limits = resource_limits
        self._addresses = addresses

    async def user(self, request: Request, token: str) -> Caller:
        """Somebody with an access token, if the endpoint is for such as they are."""
        service = self._masquerading.service(token)
        if service is None:
            session = await self._sessions.get(token)
        else:
            session = await self._masquerading.session(service, *_named(request))
        _check_allowed(session, request)
        if "locked" not in request.route.allows:
            await self._resource_limits.let_in(_person(session))
        if service is None and self._addresses.wants(session.device):
            self._addresses.note(session.device, str(request.address))
        return Caller(session, session.user, is_limited=_is_limited(session))

    async def administrator(self, request: Request, token: str) -> Caller:
        """Somebody whose account is an administrator's."""
        caller = await self.user(request, token)
        if not caller.who.is_admin:
            raise Forbidden("only for administrators of this server")
        return caller

    async def appservice(self, _request: Request, token: str) -> Caller:
        """An application service, by its `as_token`."""
        service = self._masquerading.service(token)
        if service is None:
            raise Forbidden("no application service has this token")
        return Caller(service, service.id, is_limited=service.rate_limited)

    async def server(self, request: Request) -> Caller:
        """Another server."""
        name = await self._verify_server(request)
        return Caller(name, name)


def _named(request: Request) -> tuple[str | None, str | None]:
    """As which user, and which of their devices, an application service wants to act."""
    given = dict(reversed(request.query))
    # COMPAT(mautrix) the name of the device's parameter before it was stable, by MSC3202.
    return given.get("user_id"), given.get("device_id") or given.get("org.matrix.msc3202.device_id")


def _is_limited(session: Session) -> bool:
    service = session.service
    if service is not None and (not service.rate_limited or session.user_id == service.sender):
        return False
    return not session.is_admin


def _person(session: Session) -> Person:
    is_bridged = session.service is not None or session.appservice is not None
    return Person(session.user, session.is_admin, not is_bridged and not session.is_guest)


def _check_allowed(session: Session, request: Request) -> None:
    allows = request.route.allows
    if session.locked and "locked" not in allows:
        raise UserLocked
    # "a suspended account [...] may still read": what only reads is never refused for it.
    if session.suspended and "suspended" not in allows and request.method != "GET":
        raise UserSuspended
    if session.is_guest and "guest" not in allows:
        raise GuestAccessForbidden
