"""The way to application services: requests with their `hs_token`.

https://spec.matrix.org/v1.19/application-service-api/#homeserver--gt-application-service-api
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp
import orjson
from yarl import URL

from homeserver.accounts.app_services import AppService
from homeserver.errors import ConnectionFailed, ConnectionTimeout, UrlNotSet

_MOST_BYTES = 1_000_000
"""Of an answer; what is beyond is not read."""
_UNKNOWN = frozenset({404, 405, 501})
"""What those answer who know the older paths only."""


class Answer(NamedTuple):
    """What an application service answered."""

    status: int
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether all is well."""
        return 200 <= self.status < 300

    @property
    def json(self) -> Any:
        """The body as JSON; `None` if it is none."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None


class Bridges:
    """Asks application services. `close` it at the end."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def ask(
        self,
        service: AppService,
        method: str,
        path: Sequence[str],
        body: bytes | None = None,
        *,
        seconds: float,
        query: Mapping[str, str] | None = None,
        legacy: Sequence[str] | None = None,
    ) -> Answer:
        """Make a request, at the older path too if the first is not known.

        Args:
            service: whom.
            method: of HTTP.
            path: its segments, not encoded.
            body: JSON.
            seconds: how long it may take.
            query: its parameters.
            legacy: the segments of the older path.

        Raises:
            UrlNotSet: it takes no requests.
            ConnectionFailed: it cannot be reached.
            ConnectionTimeout: it does not answer in time.

        """
        if service.url is None:
            raise UrlNotSet
        try:
            async with asyncio.timeout(seconds):
                answer = await self._ask(service, method, path, body, query or {})
                if legacy is not None and answer.status in _UNKNOWN:
                    older = await self._ask(service, method, legacy, body, query or {})
                    answer = older if older.status not in _UNKNOWN else answer
                return answer
        except TimeoutError:
            raise ConnectionTimeout from None
        except (aiohttp.ClientError, OSError):
            raise ConnectionFailed from None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _ask(
        self,
        service: AppService,
        method: str,
        path: Sequence[str],
        body: bytes | None,
        query: Mapping[str, str],
    ) -> Answer:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(), connector=aiohttp.TCPConnector(limit=0)
            )
        headers = {"Authorization": f"Bearer {service.hs_token.reveal()}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        target = "/".join(quote(segment, safe="") for segment in path)
        if service.token_in_query:
            query = {**query, "access_token": service.hs_token.reveal()}
        pairs = "&".join(f"{quote(key)}={quote(value, safe='')}" for key, value in query.items())
        url = URL(f"{service.url}/{target}{'?' if pairs else ''}{pairs}", encoded=True)
        async with self._session.request(
            method, url, data=body, headers=headers, allow_redirects=False
        ) as response:
            return Answer(response.status, await _read(response))


async def _read(response: aiohttp.ClientResponse) -> bytes:
    found = bytearray()
    async for piece in response.content.iter_any():
        found += piece
        if len(found) >= _MOST_BYTES:
            break
    return bytes(found[:_MOST_BYTES])
