"""Fetching web pages and their pictures, a bounded part of each.

Others choose what is fetched: addresses of our own network are refused where sockets are opened,
after every look-up of a name and every redirect.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediapreview_url
"""

import asyncio
import io
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from fnmatch import fnmatchcase

from PIL import Image
from yarl import URL

from federation.errors import RequestError
from federation.net.fetch import Way
from federation.net.transport import Limits, Reply
from homeserver.config.settings import Previews as Settings
from homeserver.errors import BadGateway, Forbidden, InvalidParam, NotFound, TimedOut
from homeserver.media.charsets import decode
from homeserver.media.open_graph import Description, describe
from homeserver.media.thumbnails import FORMATS

_SECONDS = 10.0
"""For one page or picture."""
_REDIRECTS = 5
_HTML = frozenset({"text/html", "application/xhtml+xml"})
_SPARE = 256 * 1024
"""Bytes that may come together with the last that are read."""

Fetch = Callable[[str, Limits, Way], AbstractAsyncContextManager[Reply]]
"""GETs from anywhere that may be reached."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that was fetched, whole."""

    data: bytes
    content_type: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Page:
    """What is known of what a URL leads to."""

    description: Description
    url: str
    """Where it was, after redirects."""
    picture: Picture | None = None
    """Where it is a picture itself."""

    @property
    def image_url(self) -> str | None:
        """Where its picture is."""
        if self.description.image is None:
            return None
        try:
            return str(URL(self.url).join(URL(self.description.image)))
        except ValueError:
            return None


class WebPages:
    """Fetches.

    Args:
        fetch: asks.
        settings: the section `previews`.

    """

    def __init__(self, fetch: Fetch, settings: Settings) -> None:
        self._fetch = fetch
        self._most = int(settings.max_page)
        self._denied = tuple(pattern.lower().rstrip(".") for pattern in settings.denied_hosts)
        self._reading = asyncio.Semaphore(2)
        self._limits = Limits(total=_SECONDS, idle=_SECONDS, body=self._most + _SPARE)
        headers = {
            # Many pages describe themselves to those only who say that they are no people.
            "User-Agent": "Hearth (bot; previews of links)",
            "Accept": "text/html, application/xhtml+xml, image/*;q=0.9, */*;q=0.5",
            "Accept-Language": settings.accept_language,
        }
        self._way = Way(redirects=_REDIRECTS, is_plain=True, passes=self._passes, headers=headers)

    def check(self, url: str) -> None:
        """Raise `InvalidParam` or `Forbidden` for a URL that is not asked."""
        try:
            parsed = URL(url)
        except ValueError:
            raise InvalidParam("url is malformed") from None
        if parsed.scheme not in {"http", "https"} or not parsed.raw_host:
            raise InvalidParam("only URLs of web pages have previews")
        if parsed.raw_user or parsed.raw_password:
            raise InvalidParam("a URL with a password has no preview")
        if not self._passes(parsed.raw_host.lower()):
            raise Forbidden("there are no previews of this host")

    async def page(self, url: str) -> Page:
        """Fetch a page, and read it.

        Raises:
            NotFound: there is none.
            BadGateway, TimedOut: it could not be had.

        """
        try:
            async with self._fetch(url, self._limits, self._way) as reply:
                if reply.status in {404, 410}:
                    raise NotFound("there is no such page")
                if not 200 <= reply.status < 300:
                    raise BadGateway("the page cannot be had")
                return await self._read(reply)
        except RequestError as error:
            if isinstance(error.__cause__, TimeoutError):
                raise TimedOut("the page did not come in time") from error
            raise BadGateway("the page cannot be had") from error

    async def picture(self, url: str) -> Picture | None:
        """Fetch a picture, if it can be had and is one."""
        try:
            async with self._fetch(url, self._limits, self._way) as reply:
                if 200 <= reply.status < 300 and _kind(reply).startswith("image/"):
                    return await self._picture(reply)
        except RequestError:
            pass
        return None

    async def _read(self, reply: Reply) -> Page:
        kind = _kind(reply)
        if kind in _HTML:
            data = await _first(reply, self._most)
            content_type = reply.headers.get("Content-Type", "")
            async with self._reading:
                found = await asyncio.to_thread(lambda: describe(decode(data, content_type)))
            return Page(found, reply.url)
        picture = await self._picture(reply) if kind.startswith("image/") else None
        name = URL(reply.url).name[:255]
        named = {"og:title": name} if picture and name else {}
        return Page(Description(named, None), reply.url, picture)

    async def _picture(self, reply: Reply) -> Picture | None:
        data = await _first(reply, self._most + 1)
        if len(data) > self._most:
            return None
        async with self._reading:
            return await asyncio.to_thread(_looked_at, data)

    def _passes(self, host: str) -> bool:
        # A dot at the end of a name makes it no other one for the DNS.
        return not any(fnmatchcase(host.rstrip("."), pattern) for pattern in self._denied)


def _kind(reply: Reply) -> str:
    return reply.headers.get("Content-Type", "").partition(";")[0].strip().lower()


async def _first(reply: Reply, most: int) -> bytes:
    data = bytearray()
    async for chunk in reply.chunks:
        data += chunk
        if len(data) >= most:
            break
    return bytes(data[:most])


def _looked_at(data: bytes) -> Picture | None:
    """What kind of picture it is, by its own word; it is not unfolded."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            kind = Image.MIME[picture.format or ""]
            return Picture(data, kind, picture.width, picture.height)
    except (OSError, ValueError, SyntaxError, KeyError, Image.DecompressionBombError):
        return None
