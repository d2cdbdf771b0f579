"""Requests to other servers in our name: found, signed, sent, and their answers read.

Nothing here knows what the endpoints mean, waits before it tries again, or remembers who failed.

https://spec.matrix.org/v1.19/server-server-api/#request-authentication
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from federation import canonical_json, x_matrix
from federation.canonical_json import JsonObject
from federation.errors import (
    AddressRefusedError,
    CanonicalJSONError,
    ConnectError,
    DiscoveryError,
    HttpError,
    RequestError,
    ResponseFormatError,
)
from federation.identifiers import ServerName
from federation.net.discovery import Destination, Discovery
from federation.net.target import is_target
from federation.net.transport import Limits, Outgoing, Reply, Transport, deadline
from federation.signing import SigningKey

_DEFAULT_LIMITS = Limits()
_MAX_ERROR_BODY = 64 * 1024


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer, of status 2xx."""

    status: int
    headers: Mapping[str, str]
    """By case-insensitive name."""
    body: bytes

    def json(self) -> JsonObject:
        """The body as a JSON object; numbers as they are, since it may hold events of old rooms.

        Raises:
            ResponseFormatError: it is not one.

        """
        try:
            return canonical_json.decode_object(self.body, strict=False)
        except CanonicalJSONError as error:
            raise ResponseFormatError(f"the answer is {error}") from error


class FederationClient:
    """Makes requests as `server_name`.

    All methods take the destination's name, and the request target: path and query, encoded (see
    `encode_target`). Limits can be given per call. They raise

    - `ValueError` for a target that cannot be sent, `CanonicalJSONError` for such a content,
    - `HttpError` for any status but 2xx, a redirect too: they are not followed,
    - another `RequestError` if there is no usable answer. After `DiscoveryError`,
      `AddressRefusedError` and `ConnectError`, nothing was sent; after the others the request may
      have been carried out.

    Args:
        server_name: ours, the origin of the requests.
        key: signs them.
        discovery: where servers are.
        transport: how they are reached.
        limits: of one request.

    """

    def __init__(
        self,
        *,
        server_name: ServerName,
        key: SigningKey,
        discovery: Discovery,
        transport: Transport,
        limits: Limits = _DEFAULT_LIMITS,
    ) -> None:
        self._server_name = server_name
        self._key = key
        self._discovery = discovery
        self._transport = transport
        self._limits = limits

    async def get_json(
        self,
        destination: ServerName,
        uri: str,
        *,
        signed: bool = True,
        limits: Limits | None = None,
    ) -> JsonObject:
        """GET a JSON object; without a signature for `/_matrix/key/v2/server` and its like."""
        response = await self.request("GET", destination, uri, signed=signed, limits=limits)
        return response.json()

    async def put_json(
        self,
        destination: ServerName,
        uri: str,
        content: JsonObject,
        *,
        limits: Limits | None = None,
    ) -> JsonObject:
        """PUT a JSON object and answer the one that comes back."""
        return (await self.request("PUT", destination, uri, content, limits=limits)).json()

    async def post_json(
        self,
        destination: ServerName,
        uri: str,
        content: JsonObject,
        *,
        signed: bool = True,
        limits: Limits | None = None,
    ) -> JsonObject:
        """POST a JSON object and answer the one that comes back; never sent twice."""
        response = await self.request(
            "POST", destination, uri, content, signed=signed, limits=limits
        )
        return response.json()

    async def request(
        self,
        method: str,
        destination: ServerName,
        uri: str,
        content: JsonObject | None = None,
        *,
        signed: bool = True,
        limits: Limits | None = None,
    ) -> Response:
        """Make any request and read its answer whole, as bytes."""
        streamed = self.stream(method, destination, uri, content, signed=signed, limits=limits)
        async with streamed as reply:
            return Response(reply.status, reply.headers, await reply.read())

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        destination: ServerName,
        uri: str,
        content: JsonObject | None = None,
        *,
        signed: bool = True,
        limits: Limits | None = None,
    ) -> AsyncIterator[Reply]:
        """Make any request and hand its answer out as it comes in.

        `limits.total` holds for the whole block.
        """
        limits = limits or self._limits
        unsent = self._unsent(method, destination, uri, content, signed=signed)
        async with deadline(limits.total), AsyncExitStack() as stack:
            reply = await self._send(stack, destination, unsent, limits)
            if not 200 <= reply.status < 300:
                raise await _http_error(reply)
            yield reply

    def _unsent(
        self,
        method: str,
        destination: ServerName,
        uri: str,
        content: JsonObject | None,
        *,
        signed: bool,
    ) -> "_Unsent":
        if not is_target(uri):
            raise ValueError("a request target is a path and query, percent-encoded")
        headers = {"Accept": "application/json"}
        body = None
        if content is not None:
            headers["Content-Type"] = "application/json"
            body = canonical_json.encode(content, strict=False)
        if signed:
            headers["Authorization"] = x_matrix.sign_request(
                key=self._key,
                origin=self._server_name,
                destination=destination,
                method=method,
                uri=uri,
                content=content,
            )
        return _Unsent(method, uri, headers, body)

    async def _send(
        self, stack: AsyncExitStack, server: ServerName, unsent: "_Unsent", limits: Limits
    ) -> Reply:
        """Try the server where it should be; if nobody is there, where it is by now."""
        destination = await self._discovery.find(server)
        try:
            return await self._try(stack, destination, unsent, limits)
        except (ConnectError, AddressRefusedError, DiscoveryError):
            moved = await self._discovery.find_again(destination)
            if moved is None:
                raise
            return await self._try(stack, moved, unsent, limits)

    async def _try(
        self,
        stack: AsyncExitStack,
        destination: Destination,
        unsent: "_Unsent",
        limits: Limits,
    ) -> Reply:
        """The answer of the first endpoint that can be connected to."""
        failures: list[RequestError] = []
        for outgoing in unsent.to(destination):
            try:
                return await stack.enter_async_context(self._transport.send(outgoing, limits))
            except (ConnectError, AddressRefusedError, DiscoveryError) as error:
                failures.append(error)
        raise failures[0]


@dataclass(frozen=True, slots=True)
class _Unsent:
    """A request that does not know yet where it goes."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes | None

    def to(self, destination: Destination) -> list[Outgoing]:
        first = Outgoing(
            method=self.method,
            endpoint=destination.endpoints[0],
            target=self.target,
            host_header=destination.host_header,
            tls_name=destination.tls_name,
            names=(destination.tls_name, destination.server_name),
            headers=self.headers,
            body=self.body,
        )
        return [replace(first, endpoint=endpoint) for endpoint in destination.endpoints]


async def _http_error(reply: Reply) -> HttpError:
    """Read what the other server says is wrong, however it says it.

    https://spec.matrix.org/v1.19/client-server-api/#standard-error-response
    """
    body = await _read_some(reply)
    try:
        fields = canonical_json.decode_object(body, strict=False)
    except CanonicalJSONError:
        fields = {}
    errcode, message = fields.get("errcode"), fields.get("error")
    return HttpError(
        reply.status,
        errcode if isinstance(errcode, str) else "M_UNKNOWN",
        message if isinstance(message, str) else "",
        body,
    )


async def _read_some(reply: Reply) -> bytes:
    body = bytearray()
    try:
        async for chunk in reply.chunks:
            body += chunk
            if len(body) >= _MAX_ERROR_BODY:
                break
    except RequestError:
        pass  # the status is worth more than the reason for the missing rest
    return bytes(body[:_MAX_ERROR_BODY])
