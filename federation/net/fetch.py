"""Requests without a signature: for `.well-known`, and for whoever is no homeserver.

Only over HTTPS, unless whoever asks says otherwise: a redirect cannot take a request out of it.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace

from yarl import URL

from federation.errors import ResponseFormatError
from federation.net.target import is_target
from federation.net.transport import Endpoint, Limits, Outgoing, Reply, Transport, deadline

MAX_REDIRECTS = 10

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Where a GET may lead, and what it says of itself at each stop."""

    redirects: int = MAX_REDIRECTS
    is_plain: bool = False
    """Whether it may go over plain HTTP."""
    passes: Callable[[str], bool] = lambda _host: True
    """Whether a host may be asked, by its name in lower case."""
    headers: Mapping[str, str] = field(default_factory=dict)


HTTPS_ONLY = Way()


@asynccontextmanager
async def fetch(
    transport: Transport, url: str, limits: Limits, way: Way = HTTPS_ONLY
) -> AsyncIterator[Reply]:
    """GET `url`, over redirects as `way` allows; the answer may have any other status.

    Raises:
        ResponseFormatError: the redirects lead in a circle, nowhere, too far, or where they may
            not.
        RequestError: of any other kind, as `Transport.send`.

    """
    here = _first(url, way)
    visited: set[URL] = set()
    async with deadline(limits.total):
        while here not in visited and len(visited) <= way.redirects:
            visited.add(here)
            request = replace(_get(here), headers=way.headers)
            async with transport.send(request, limits) as reply:
                if reply.status not in _REDIRECTS:
                    yield replace(reply, url=str(here))
                    return
                here = _next(here, reply.headers.get("Location", ""), way)
        raise ResponseFormatError("a circle of redirects, or too many of them")


def post(
    transport: Transport, url: str, content: bytes, limits: Limits
) -> AbstractAsyncContextManager[Reply]:
    """POST JSON to `url`; as `ask`."""
    return ask(transport, "POST", url, limits, content=content)


@asynccontextmanager
async def ask(
    transport: Transport,
    method: str,
    url: str,
    limits: Limits,
    *,
    content: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> AsyncIterator[Reply]:
    """Make any request to `url`, once; the answer may have any status.

    `content` is JSON unless `headers` say otherwise. Redirects are not followed: what `headers`
    hold, a token say, is for this server alone.

    Raises:
        ResponseFormatError: the URL is none that can be asked.
        RequestError: of any other kind, as `Transport.send`.

    """
    there = _first(url, HTTPS_ONLY)
    kind = {} if content is None else {"Content-Type": "application/json"}
    sent = {"Accept": "application/json", **kind, **(headers or {})}
    request = replace(_get(there), method=method, headers=sent, body=content)
    async with deadline(limits.total), transport.send(request, limits) as reply:
        yield reply


def _get(url: URL) -> Outgoing:
    host = (url.raw_host or "").lower()
    return Outgoing(
        method="GET",
        endpoint=Endpoint(host, url.port or 443),  # `port` knows the one of plain HTTP
        target=url.raw_path_qs,
        host_header=(url.host_port_subcomponent or host).lower(),
        tls_name=None if url.scheme == "http" else host,
    )


def _first(url: str, way: Way) -> URL:
    try:
        return _checked(URL(url), way)
    except ValueError as error:
        raise ResponseFormatError("not a URL") from error


def _next(here: URL, location: str, way: Way) -> URL:
    try:
        # `encoded`: targets that hold signatures of their own must not be written differently.
        there = URL(location, encoded=True)
        if not location or (there.scheme and not there.raw_host):
            raise ResponseFormatError("a redirect that does not say where to")
        return _checked(here.join(there), way)
    except ValueError as error:
        raise ResponseFormatError("a redirect to something that is no URL") from error


def _checked(url: URL, way: Way) -> URL:
    schemes = {"https", "http"} if way.is_plain else {"https"}
    if url.scheme not in schemes or not url.raw_host or url.raw_user or url.raw_password:
        raise ResponseFormatError("a redirect out of plain HTTPS")
    if not way.passes(url.raw_host.lower()):
        raise ResponseFormatError("a redirect to a host that is not asked")
    if not is_target(url.raw_path_qs):
        raise ResponseFormatError("a redirect to a target that cannot be sent")
    return url.with_fragment(None)
