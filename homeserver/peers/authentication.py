"""Which server asks: the signature over a request.

https://spec.matrix.org/v1.19/server-server-api/#request-authentication
"""

from collections.abc import Awaitable, Callable

from federation.canonical_json import decode
from federation.decision import Denied
from federation.errors import CanonicalJSONError, XMatrixError
from federation.identifiers import ServerName
from federation.net.key_ring import KeyRequest
from federation.server_keys import request_keys
from federation.x_matrix import parse, verify
from homeserver.errors import Forbidden, NotJson, Unauthorized
from homeserver.peers.peers import Peers

_SECONDS = 20.0
"""That the key of somebody new may take to come."""


class ServerAuthentication:
    """Verifies requests of other servers."""

    def __init__(self, server: ServerName, peers: Peers, now: Callable[[], int]) -> None:
        self._server = server
        self._peers = peers
        self._now = now

    async def verify(
        self,
        header: str | None,
        method: str,
        uri: str,
        read: Callable[[], Awaitable[bytes]],
        *,
        asks: bool = True,
    ) -> ServerName:
        """Who signed the request.

        Args:
            header: the value of `Authorization`.
            method: of the request.
            uri: the path and query, exactly as they were sent.
            read: reads the body, as it was sent; empty if there was none. It is wanted only of
                those who look like a server whose key we have.
            asks: whether servers are asked for keys that are not here.

        Raises:
            Unauthorized: nobody did, or not as it has to be.
            Forbidden: we do not deal with that server.
            NotJson: the body is none.

        """
        try:
            claimed = parse(header or "")
        except XMatrixError as error:
            raise Unauthorized(str(error)) from error
        if not self._peers.is_allowed(claimed.origin):
            raise Forbidden("this server does not deal with yours")
        wanted = [KeyRequest(claimed.origin, claimed.key_id, self._now())]
        found = await self._peers.keys.get(wanted, deadline=_SECONDS if asks else 0)
        keys = request_keys(found.get(claimed.origin, {}), self._now())
        if claimed.key_id not in keys:
            raise Unauthorized("no valid key of that ID is known")
        body = await read()
        try:
            content = decode(body, strict=False) if body else None
        except CanonicalJSONError as error:
            raise NotJson("the body is not JSON") from error
        verdict = verify(
            claimed,
            destinations={self._server},
            method=method,
            uri=uri,
            content=content,
            keys=keys,
        )
        if isinstance(verdict, Denied):
            raise Unauthorized(verdict.reason)
        return verdict.origin
