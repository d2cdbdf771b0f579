"""Who asks: what a row of the table wants shown, and who finds out whether it is good.

Accounts and peers, which know, are behind a protocol: the shell puts them there.

https://spec.matrix.org/v1.19/client-server-api/#using-access-tokens
https://spec.matrix.org/v1.19/server-server-api/#request-authentication
"""

from typing import Protocol

from homeserver.errors import MissingToken
from homeserver.http.requests import Caller, Request
from homeserver.http.routes import Auth


class Authenticator(Protocol):
    """Finds out who asks, or raises the `MatrixError` to refuse them with.

    `request.route.allows` names those that the endpoint lets in although most do not: guests,
    the locked, the suspended. All others of them are to be refused here.
    """

    async def user(self, request: Request, token: str) -> Caller:
        """Somebody with an access token; `who` as the client-server endpoints want it."""
        ...

    async def administrator(self, request: Request, token: str) -> Caller:
        """The same, but an administrator of this server."""
        ...

    async def appservice(self, request: Request, token: str) -> Caller:
        """An application service, by its `as_token`."""
        ...

    async def server(self, request: Request) -> Caller:
        """Another server, by its signature over method, `request.target` and `request.read()`.

        `who` is its name; endpoints want it as `origin`.
        """
        ...


async def authenticate(authenticator: Authenticator, request: Request) -> Caller | None:
    """Find out who asks, as far as the row wants to know; `None` if it need not be anybody."""
    auth = request.route.auth
    if auth is Auth.NONE:
        return None
    if auth is Auth.FEDERATION:
        return await authenticator.server(request)
    token = request.access_token
    if token is None:
        if auth is Auth.OPTIONAL:
            return None
        raise MissingToken
    if auth is Auth.ADMINISTRATOR:
        return await authenticator.administrator(request, token)
    if auth is Auth.APPSERVICE:
        return await authenticator.appservice(request, token)
    return await authenticator.user(request, token)
