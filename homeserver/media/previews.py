"""Previews of web pages, for people who are sent links to them.

What was found is kept in memory for an hour, at most a thousand pages: no disk tells who reads
what. Only a page's picture is a file, which goes after two days.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediapreview_url
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from yarl import URL

from homeserver.config.settings import Previews as Settings
from homeserver.errors import Forbidden, LimitExceeded, MatrixError
from homeserver.media.pages import Page, Picture, WebPages
from homeserver.media.repository import Mxc

Preview = Mapping[str, str | int]
"""By the names of OpenGraph."""

_LASTS = 3_600_000
"""Milliseconds for which a preview is good."""
_FAILURE_LASTS = 60_000
"""Milliseconds for which a page that could not be had is not asked for again."""
_MOST_KEPT = 1000
_AT_ONCE = 8
_MOST_WAITING = 100


@dataclass(frozen=True, slots=True)
class _Kept:
    outcome: Preview | MatrixError
    until: int


class Previews:
    """Makes previews, each once however many want it; close it when done.

    Args:
        settings: the section `previews`.
        pages: fetches.
        keep: has a picture as a file.
        now: milliseconds since the epoch.

    """

    def __init__(
        self,
        settings: Settings,
        pages: WebPages,
        keep: Callable[[Picture], Awaitable[Mxc]],
        now: Callable[[], int],
    ) -> None:
        self._is_enabled = settings.enabled
        self._pages = pages
        self._keep = keep
        self._now = now
        self._kept: dict[str, _Kept] = {}
        self._making: dict[str, asyncio.Task[_Kept]] = {}
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    async def preview(self, url: str, admit: Callable[[], None]) -> Preview:
        """What a page says of itself; nothing where it is none that says anything.

        Args:
            url: of the page.
            admit: called before something is fetched; it may raise.

        Raises:
            InvalidParam, Forbidden: the URL is none that is asked.
            NotFound, BadGateway, TimedOut: there is no page, or it could not be had.
            LimitExceeded: too many pages are wanted.

        """
        if not self._is_enabled:
            raise Forbidden("this server makes no previews")
        self._pages.check(url)
        url = str(URL(url).with_fragment(None))
        kept = self._kept.get(url)
        if kept is None or kept.until <= self._now():
            kept = await self._made(url, admit)
        if isinstance(kept.outcome, MatrixError):
            raise type(kept.outcome)(kept.outcome.message)
        return kept.outcome

    async def close(self) -> None:
        """Give up what is being made."""
        for task in self._making.values():
            task.cancel()
        await asyncio.gather(*self._making.values(), return_exceptions=True)

    async def _made(self, url: str, admit: Callable[[], None]) -> _Kept:
        """Make it once, whoever of those who want it goes away."""
        task = self._making.get(url)
        if task is None:
            if len(self._making) >= _MOST_WAITING:
                raise LimitExceeded(5000)
            admit()
            task = asyncio.create_task(self._make(url))
            self._making[url] = task
            task.add_done_callback(lambda _: self._making.pop(url, None))
        return await asyncio.shield(task)

    async def _make(self, url: str) -> _Kept:
        try:
            async with self._at_once:
                page = await self._pages.page(url)
                found = {**page.description.properties, **await self._image(page)}
            kept = _Kept(found, self._now() + _LASTS)
        except MatrixError as error:
            kept = _Kept(error.with_traceback(None), self._now() + _FAILURE_LASTS)
        self._kept.pop(url, None)
        self._kept[url] = kept
        if len(self._kept) > _MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        return kept

    async def _image(self, page: Page) -> Preview:
        """The picture of a page, where it has one that can be had."""
        picture = page.picture
        if picture is None and page.image_url is not None:
            picture = await self._pages.picture(page.image_url)
        if picture is None:
            return {}
        return {
            "og:image": str(await self._keep(picture)),
            "og:image:type": picture.content_type,
            "og:image:width": picture.width,
            "og:image:height": picture.height,
            "matrix:image:size": len(picture.data),
        }
