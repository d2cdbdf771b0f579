"""Plain HTTPS requests, unsigned: for `.well-known`, and for whoever is no homeserver.

Only over HTTPS: a redirect cannot take a request out of it.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

from yarl import URL

from federation.errors import ResponseFormatError
from federation.net.target import is_target
from federation.net.transport import Endpoint, Limits, Outgoing, Reply, Transport, deadline

MAX_REDIRECTS = 10

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@asynccontextmanager
async def fetch(
    transport: Transport, url: str, limits: Limits, *, redirects: int = MAX_REDIRECTS
) -> AsyncIterator[Reply]:
    """GET `url`, over at most `redirects` redirects; the answer may have any other status.

    Raises:
        ResponseFormatError: the redirects lead in a circle, nowhere, out of HTTPS, or too far.
        RequestError: of any other kind, as `Transport.send`.

    """
    here = _checked(URL(url))
    visited: set[URL] = set()
    async with deadline(limits.total):
        while here not in visited and len(visited) <= redirects:
            visited.add(here)
            async with transport.send(_get(here), limits) as reply:
                if reply.status not in _REDIRECTS:
                    yield reply
                    return
                here = _next(here, reply.headers.get("Location", ""))
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

    Redirects are not followed: what `headers` hold, a token say, is for this server alone.

    Raises:
        ResponseFormatError: the URL is none that can be asked.
        RequestError: of any other kind, as `Transport.send`.

    """
    try:
        there = _checked(URL(url))
    except ValueError as error:
        raise ResponseFormatError("not a URL") from error
    sent = {"Accept": "application/json", **(headers or {})}
    if content is not None:
        sent["Content-Type"] = "application/json"
    request = replace(_get(there), method=method, headers=sent, body=content)
    async with deadline(limits.total), transport.send(request, limits) as reply:
        yield reply


def _get(url: URL) -> Outgoing:
    host = (url.raw_host or "").lower()
    return Outgoing(
        method="GET",
        endpoint=Endpoint(host, url.port or 443),
        target=url.raw_path_qs,
        host_header=(url.host_port_subcomponent or host).lower(),
        tls_name=host,
    )


def _next(here: URL, location: str) -> URL:
    try:
        # `encoded`: targets that hold signatures of their own must not be written differently.
        there = URL(location, encoded=True)
        if not location or (there.scheme and not there.raw_host):
            raise ResponseFormatError("a redirect that does not say where to")
        return _checked(here.join(there))
    except ValueError as error:
        raise ResponseFormatError("a redirect to something that is no URL") from error


def _checked(url: URL) -> URL:
    if url.scheme != "https" or not url.raw_host or url.raw_user or url.raw_password:
        raise ResponseFormatError("a redirect out of plain HTTPS")
    if not is_target(url.raw_path_qs):
        raise ResponseFormatError("a redirect to a target that cannot be sent")
    return url.with_fragment(None)
