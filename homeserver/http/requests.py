"""One request, as an endpoint sees it: where it was sent, by whom, with what.

It knows HTTP and no Matrix beyond tokens; what is in the path is still text.
"""

import asyncio
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from aiohttp import web
from multidict import CIMultiDictProxy

from federation.errors import IdentifierError
from federation.net.addresses import IPAddress, IPNetwork
from homeserver.config.settings import Settings
from homeserver.errors import InvalidParam
from homeserver.http.addresses import client_address, limit_key
from homeserver.http.bodies import Afoot, BodyStream, Pace, read_whole
from homeserver.http.decoding import Pairs, decode_query
from homeserver.http.routes import BodyKind, Route

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as the authenticator found out."""

    who: Any
    """What endpoints are handed as `who`, or as `origin`."""
    key: Hashable
    """What rate limits count by."""
    is_limited: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What of the settings every request meets."""

    trusted_proxies: tuple[IPNetwork, ...] = ()
    query_token: bool = True
    largest: Mapping[BodyKind, int]
    """Bytes of a body."""
    pace: Pace = field(default_factory=Pace)
    afoot: Afoot = field(default_factory=Afoot)
    """Counts what all requests bring; the only thing here that changes."""

    @classmethod
    def of(cls, settings: Settings) -> "Terms":
        """Those of a server."""
        http = settings.http
        return cls(
            trusted_proxies=http.trusted_proxies,
            query_token=settings.auth.query_token,
            largest={
                "client": http.client_body,
                "federation": http.federation_body,
                "upload": settings.media.max_upload,
            },
        )


class Request:
    """A request that a row of the table answers."""

    def __init__(
        self,
        incoming: web.BaseRequest,
        route: Route,
        match_info: Mapping[str, str],
        terms: Terms,
        stopping: asyncio.Event,
    ) -> None:
        self._incoming = incoming
        self._terms = terms
        self._raw: bytes | None = None
        self.route = route
        self.match_info = match_info
        """The parameters of the path, decoded."""
        self.stopping = stopping
        """Set when the server ends: who waits for something answers then with what there is."""
        self.caller: Caller | None = None
        """Who asks; `None` where nobody had to say, and nobody did."""

    @property
    def method(self) -> str:
        """In upper case."""
        return self._incoming.method

    @property
    def target(self) -> str:
        """The path and query exactly as they were sent, which is what other servers sign."""
        return target_of(self._incoming)

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """As they were sent."""
        return self._incoming.headers

    @property
    def query(self) -> Pairs:
        """The parameters of the query, or raise `InvalidParam` where it cannot be read.

        Read when asked for, which is mostly once: who waits for long does not keep them.
        """
        return decode_query(self.target.partition("?")[2])

    @cached_property
    def access_token(self) -> str | None:
        """The token in the `Authorization` header, or else in the query if the settings allow it.

        https://spec.matrix.org/v1.19/client-server-api/#using-access-tokens
        """
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return token.strip()
        if not self._terms.query_token:
            return None
        # COMPAT(older clients, bridges) "Sending the access token as a query string parameter is
        # no longer supported."
        return next((value for name, value in self.query if name == "access_token"), None) or None

    @cached_property
    def address(self) -> IPAddress | None:
        """Where it comes from, if that can be known; for limits and blocks, not to be kept."""
        peer = self._incoming.protocol.peername
        return client_address(
            peer[0] if isinstance(peer, tuple) else None,
            self.headers.getall("X-Forwarded-For", ()),
            self._terms.trusted_proxies,
        )

    @property
    def limit_key(self) -> str:
        """What limits count by that are for addresses."""
        return limit_key(self.address)

    def param(self, name: str, parse: Callable[[str], T]) -> T:
        """A parameter of the path as `parse` reads it, or raise `InvalidParam`."""
        return parsed(name, self.match_info[name], parse)

    async def read(self) -> bytes:
        """The whole body.

        Raises:
            TooLarge: it is larger than bodies here may be.
            TooSlow: it does not come in time.

        """
        if self._raw is None:
            limit = self._terms.largest[self.route.body_kind]
            terms, address = self._terms, self.limit_key
            self._raw = await read_whole(self._incoming, limit, terms.pace, terms.afoot, address)
        return self._raw

    def stream(self) -> BodyStream:
        """The body, piece by piece; instead of `read`."""
        limit = self._terms.largest[self.route.body_kind]
        return BodyStream(self._incoming, limit, self._terms.pace)


def parsed(name: str, text: str, parse: Callable[[str], T]) -> T:
    """Read an identifier that a client gave, or raise `InvalidParam` with its name."""
    try:
        return parse(text)
    except (IdentifierError, ValueError):
        raise InvalidParam(f"{name} is malformed") from None


def target_of(incoming: web.BaseRequest) -> str:
    """The path and query as they were sent, without the host that some put before them."""
    target = incoming.raw_path
    if target.startswith("/"):
        return target
    return str(incoming.rel_url)
