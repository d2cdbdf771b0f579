"""Previews of web pages, and what pages do that mean harm.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediapreview_url
"""

import asyncio
import gzip
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from PIL import Image

from homeserver.config.checks import contradictions
from homeserver.config.settings import Outgoing, Previews, RateLimits
from homeserver.config.values import Rate, Size
from homeserver.http.listeners import bind
from homeserver.media import previews, repository
from homeserver.storage.process import DAY
from tests.database import Server
from tests.servers import LOOPBACK, Answer, Client, Hearth, own_database, serving
from tests.servers import test_settings as settings_for

PREVIEW = "/_matrix/client/v1/media/preview_url"
DOWNLOAD = "/_matrix/client/v1/media/download"
ON = Previews(enabled=True, max_page=Size(50_000), denied_hosts=("*.denied.test",))
HTML = "text/html; charset=utf-8"

Respond = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass
class Site:
    """A web site: what lies at each path, and what was asked for."""

    port: int = 0
    pages: dict[str, web.Response | Respond] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def put(self, path: str, body: bytes | str, kind: str = HTML, status: int = 200) -> str:
        data = body.encode() if isinstance(body, str) else body

        async def answer(_: web.BaseRequest) -> web.Response:
            return web.Response(body=data, status=status, headers={"Content-Type": kind})

        self.pages[path] = answer
        return self.url(path)

    def redirect(self, path: str, to: str) -> str:
        async def answer(_: web.BaseRequest) -> web.Response:
            return web.Response(status=302, headers={"Location": to})

        self.pages[path] = answer
        return self.url(path)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request.path)
        self.headers.append(dict(request.headers))
        found = self.pages.get(request.path)
        if found is None:
            return web.Response(status=404)
        return found if isinstance(found, web.Response) else await found(request)


@asynccontextmanager
async def site_at(address: IPv4Address = LOOPBACK) -> AsyncIterator[Site]:
    site = Site()
    runner = web.ServerRunner(web.Server(site.answer), shutdown_timeout=0.1)
    await runner.setup()
    listening = bind(address, 0)
    site.port = listening.getsockname()[1]
    await web.SockSite(runner, listening).start()
    try:
        yield site
    finally:
        await runner.cleanup()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with site_at() as made:
        yield made


@asynccontextmanager
async def previewing(postgres: Server, folder: Path, **more: Any) -> AsyncIterator[Hearth]:
    outgoing = Outgoing(allowed_ranges=(ip_network("127.0.0.1/32"),))
    settings = settings_for("one.test", folder, **{"previews": ON, "outgoing": outgoing, **more})
    async with (
        own_database(postgres, f"hearth_{id(folder)}") as where,
        serving(settings, where) as server,
    ):
        yield server


@pytest.fixture
async def hearth(postgres: Server, tmp_path: Path) -> AsyncIterator[Hearth]:
    async with previewing(postgres, tmp_path) as server:
        yield server


@pytest.fixture
async def ann(hearth: Hearth) -> Client:
    return await hearth.user("ann")


def picture(width: int = 48, height: int = 32, kind: str = "PNG") -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (width, height), "green").save(written, kind)
    return written.getvalue()


async def preview(who: Client, url: str, **more: Any) -> Answer:
    return await who.get(PREVIEW, url=url, **more)


def files(hearth: Hearth) -> list[Path]:
    folder = hearth.settings.media_folder
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_a_page_with_a_picture(site: Site, ann: Client) -> None:
    site.put("/pictures/a.png", picture(), "image/png")
    url = site.put(
        "/page",
        '<meta property="og:title" content="Grüße"><meta property="og:description" content="It">'
        '<meta property="og:image" content="pictures/a.png">',
    )
    found = (await preview(ann, f"{url}#part", ts=1510610716656)).ok()
    mxc = found["og:image"]
    assert mxc.startswith("mxc://one.test/")
    assert found == {
        "og:title": "Grüße",
        "og:description": "It",
        "og:image": mxc,
        "og:image:type": "image/png",
        "og:image:width": 48,
        "og:image:height": 32,
        "matrix:image:size": len(picture()),
    }
    kept = await ann.get(f"{DOWNLOAD}/{mxc.removeprefix('mxc://')}")
    assert (kept.body, kept.headers["Content-Type"]) == (picture(), "image/png")
    assert site.headers[0]["Accept-Language"] == "en"
    assert {"Authorization", "Cookie"}.isdisjoint(site.headers[0])


async def test_the_old_path(site: Site, ann: Client) -> None:
    url = site.put("/", "<title>Old</title>")
    for version in ("v3", "r0"):
        old = await ann.get(f"/_matrix/media/{version}/preview_url", url=url)
        assert old.ok() == {"og:title": "Old"}
    assert site.asked == ["/"]


async def test_a_picture_itself(site: Site, ann: Client) -> None:
    url = site.put("/dir/cat.jpeg", picture(300, 200, "JPEG"), "image/png")
    found = (await preview(ann, url)).ok()
    assert found.pop("og:image").startswith("mxc://one.test/")
    assert found == {
        "og:title": "cat.jpeg",
        "og:image:type": "image/jpeg",
        "og:image:width": 300,
        "og:image:height": 200,
        "matrix:image:size": len(picture(300, 200, "JPEG")),
    }


NOTHING = (
    (b"%PDF-1.7", "application/pdf"),
    (b"\0\1\2", "image/png"),
    (b"<svg><script/></svg>", "image/svg+xml"),
    (b"<title>x</title>", "text/plain"),
    (b"<title>x</title>", ""),
    (bytes(range(256)) * 8, "text/html"),
    (b"", "text/html"),
    (picture() + bytes(60_000), "image/png"),
)


async def test_what_says_nothing(site: Site, hearth: Hearth, ann: Client) -> None:
    for number, (body, kind) in enumerate(NOTHING):
        assert (await preview(ann, site.put(f"/{number}", body, kind))).ok() == {}, kind
    assert files(hearth) == []


async def test_a_picture_that_cannot_be_had(site: Site, ann: Client) -> None:
    for image in ("/none.png", "http://10.0.0.1/a.png", "http://[", "ftp://x/y"):
        text = f'<title>T</title><meta property="og:image" content="{image}">'
        url = site.put(f"/{len(site.asked)}", text)
        assert (await preview(ann, url)).ok() == {"og:title": "T"}


REFUSED = (
    ("", 400, "M_INVALID_PARAM"),
    ("matrix.org", 400, "M_INVALID_PARAM"),
    ("ftp://127.0.0.1/", 400, "M_INVALID_PARAM"),
    ("file:///etc/passwd", 400, "M_INVALID_PARAM"),
    ("http://", 400, "M_INVALID_PARAM"),
    ("http://[/", 400, "M_INVALID_PARAM"),
    ("http://a:b@127.0.0.1/", 400, "M_INVALID_PARAM"),
    ("https://" + "x" * 8001, 400, "M_INVALID_PARAM"),
    ("http://a.denied.test/", 403, "M_FORBIDDEN"),
    ("https://A.DENIED.test./x", 403, "M_FORBIDDEN"),
    ("http://192.168.0.1/", 502, "M_UNKNOWN"),
    ("http://[::1]/", 502, "M_UNKNOWN"),
    ("http://169.254.169.254/latest/meta-data", 502, "M_UNKNOWN"),
    ("http://0x7f.2/", 502, "M_UNKNOWN"),
    ("http://127.0.0.1:1/", 502, "M_UNKNOWN"),
    ("https://127.0.0.1:1/", 502, "M_UNKNOWN"),
)


async def test_what_is_not_fetched(ann: Client) -> None:
    for url, status, errcode in REFUSED:
        refused = await preview(ann, url)
        assert (refused.status, refused.errcode) == (status, errcode), url


async def test_who_may_ask(hearth: Hearth, ann: Client) -> None:
    assert (await ann.get(PREVIEW)).errcode == "M_MISSING_PARAM"
    assert (await preview(hearth.anybody, "http://127.0.0.1/")).errcode == "M_MISSING_TOKEN"
    offered = (await ann.get("/_matrix/client/v3/capabilities")).ok()["capabilities"]
    assert offered["io.element.msc4452.preview_url"] == {"enabled": True}


async def test_pages_that_there_are_not(site: Site, ann: Client) -> None:
    """They are not asked for again at once."""
    for status, answered in ((404, 404), (410, 404), (403, 502), (500, 502)):
        url = site.put(f"/{status}", "<title>Error</title>", status=status)
        assert [(await preview(ann, url)).status for _ in range(2)] == [answered, answered]
    assert site.asked == ["/404", "/410", "/403", "/500"]


async def test_redirects(site: Site, ann: Client) -> None:
    site.put("/deep/page", '<title>There</title><img src="a.png">')
    site.put("/deep/a.png", picture(), "image/png")
    found = (await preview(ann, site.redirect("/from", "/deep/page"))).ok()
    assert (found["og:title"], found["og:image:width"]) == ("There", 48)
    circle = site.redirect("/circle", "/circle")
    assert (await preview(ann, circle)).status == 502
    for where in (
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "http://a.denied.test/",
        "",
        "http://[",
    ):
        url = site.redirect(f"/to/{len(site.asked)}", where)
        assert (await preview(ann, url)).status == 502


async def test_a_redirect_to_where_we_must_not_reach(site: Site, ann: Client) -> None:
    async with site_at(IPv4Address("127.0.0.2")) as inner:
        inner.put("/", "<title>Secret</title>")
        url = site.redirect("/", f"http://127.0.0.2:{inner.port}/")
        refused = await preview(ann, url)
        image = f"http://127.0.0.2:{inner.port}/"
        page = site.put("/page", f'<meta property="og:image" content="{image}">')
        assert (await preview(ann, page)).ok() == {}
        assert (refused.status, refused.json["error"]) == (502, "the page cannot be had")
        assert inner.asked == []


async def test_of_a_page_without_end_the_beginning_is_read(site: Site, ann: Client) -> None:
    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": HTML})
        await response.prepare(request)
        await response.write(b"<title>Long</title>")
        with pytest.raises(ConnectionError):  # noqa: PT012 - any of the writes
            while True:
                await response.write(b"x" * 10_000)
                await asyncio.sleep(0)
        return response

    site.pages["/"] = endless
    assert (await preview(ann, site.url())).ok() == {"og:title": "Long"}


async def test_what_unfolds(site: Site, ann: Client) -> None:
    async def bomb(_: web.BaseRequest) -> web.Response:
        body = gzip.compress(b"<title>Bomb</title>" + b" " * 10**7)
        headers = {"Content-Type": HTML, "Content-Encoding": "gzip"}
        return web.Response(body=body, headers=headers)

    site.pages["/"] = bomb
    assert (await preview(ann, site.url())).ok() == {"og:title": "Bomb"}


async def test_a_page_that_does_not_come(
    site: Site, hearth: Hearth, ann: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages, gone = hearth.parts.federating.previews._pages, asyncio.Event()
    monkeypatch.setattr(pages, "_limits", replace(pages._limits, total=0.5))

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": HTML})
        await response.prepare(request)
        try:
            while True:
                await response.write(b"<")
                await asyncio.sleep(0.05)
        finally:
            gone.set()

    site.pages["/"] = slow
    refused = await preview(ann, site.url())
    assert (refused.status, refused.errcode) == (504, "M_UNKNOWN")
    async with asyncio.timeout(5):
        await gone.wait()


async def test_what_is_no_http(ann: Client) -> None:
    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\0\xff" * 1000)
        writer.close()

    async with await asyncio.start_server(garbage, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert (await preview(ann, f"http://127.0.0.1:{port}/")).status == 502


async def test_many_who_want_the_same(site: Site, hearth: Hearth, ann: Client) -> None:
    began, going = asyncio.Event(), asyncio.Event()

    async def waits(_: web.BaseRequest) -> web.Response:
        began.set()
        await going.wait()
        return web.Response(body=b"<title>Once</title>", content_type="text/html")

    site.pages["/"] = waits
    ben = await hearth.user("ben")
    gives_up = asyncio.create_task(preview(ann, site.url()))
    asking = [asyncio.create_task(preview(who, site.url())) for who in (ann, ben) * 3]
    await began.wait()
    gives_up.cancel()
    going.set()
    assert [(await one).ok() for one in asking] == [{"og:title": "Once"}] * 6
    assert site.asked == ["/"]


async def test_what_is_kept_becomes_old(
    site: Site, hearth: Hearth, ann: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = site.put("/", "<title>Before</title>")
    assert (await preview(ann, url)).ok() == {"og:title": "Before"}
    site.put("/", "<title>After</title>")
    made = hearth.parts.federating.previews
    now = made._now()
    monkeypatch.setattr(made, "_now", lambda: now + 3_500_000)
    assert (await preview(ann, url)).ok() == {"og:title": "Before"}
    monkeypatch.setattr(made, "_now", lambda: now + 3_700_000)
    assert (await preview(ann, url)).ok() == {"og:title": "After"}


async def test_no_more_is_kept_than_there_is_room_for(
    site: Site, hearth: Hearth, ann: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previews, "_MOST_KEPT", 2)
    urls = [site.put(f"/{number}", f"<title>{number}</title>") for number in range(3)]
    for url in urls:
        assert (await preview(ann, url)).status == 200
    assert list(hearth.parts.federating.previews._kept) == urls[1:]


async def test_too_many_pages_at_once(
    site: Site, ann: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previews, "_MOST_WAITING", 0)
    assert (await preview(ann, site.put("/", "x"))).errcode == "M_LIMIT_EXCEEDED"


async def test_pictures_of_pages_go(
    site: Site, hearth: Hearth, ann: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With their thumbnails, when they are old; what people sent stays."""
    assert repository.PREVIEWS_LAST == 2 * DAY
    (await ann.post("/_matrix/media/v3/upload", raw=picture())).ok()
    mxc = (await preview(ann, site.put("/a.png", picture(), "image/png"))).ok()["og:image"]
    path = mxc.removeprefix("mxc://")
    small = await ann.get(f"/_matrix/client/v1/media/thumbnail/{path}", width=32, height=32)
    assert (small.status, len(files(hearth))) == (200, 3)
    media = hearth.parts.federating.media
    assert await media.clean() == 0
    monkeypatch.setattr(repository, "PREVIEWS_LAST", -1)
    assert await media.clean() == 2
    assert len(files(hearth)) == 1
    assert (await ann.get(f"{DOWNLOAD}/{path}")).status == 404


async def test_pictures_of_pages_do_not_fill_the_disk(
    site: Site, hearth: Hearth, ann: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = [picture(width) for width in (40, 41, 42, 43)]
    most = sum(map(len, several[2:]))
    monkeypatch.setattr(repository, "MOST_OF_PREVIEWS", most)
    monkeypatch.setattr(repository, "_PREVIEWS_AT_A_STRETCH", 1)
    made = [
        (await preview(ann, site.put(f"/{n}.png", one, "image/png"))).ok()["og:image"]
        for n, one in enumerate(several)
    ]
    assert len(files(hearth)) == 2
    found = [await ann.get(f"{DOWNLOAD}/{mxc.removeprefix('mxc://')}") for mxc in made]
    assert [one.status for one in found] == [404, 404, 200, 200]


async def test_the_same_picture_is_kept_once(site: Site, hearth: Hearth, ann: Client) -> None:
    found = set()
    for name in ("/a.png", "/b.png"):
        url = site.put(name, picture(), "image/png")
        found.add((await preview(ann, url)).ok()["og:image"])
    assert len(found) == len(files(hearth)) == 1
    # What administrators put away does not come back with another page.
    root = await hearth.user("root", is_admin=True)
    path = found.pop().removeprefix("mxc://")
    (await root.post(f"/_synapse/admin/v1/media/quarantine/{path}")).ok()
    again = (await preview(ann, site.put("/c.png", picture(), "image/png"))).ok()["og:image"]
    assert (await ann.get(f"{DOWNLOAD}/{again.removeprefix('mxc://')}")).status == 404


async def test_how_often_one_may_ask(site: Site, postgres: Server, tmp_path: Path) -> None:
    """What is known already costs nothing."""
    limits = RateLimits(previews=Rate.parse("2/10m"))
    urls = [site.put(f"/{number}", "x") for number in range(3)]
    async with previewing(postgres, tmp_path, rate_limits=limits) as hearth:
        ann, ben = await hearth.user("ann"), await hearth.user("ben")
        statuses = [(await preview(ann, url)).status for url in (*urls[:2], *urls[:2], urls[2])]
        assert statuses == [200, 200, 200, 200, 429]
        assert (await preview(ben, urls[2])).status == 200


async def test_switched_off(site: Site, postgres: Server, tmp_path: Path) -> None:
    async with previewing(postgres, tmp_path, previews=Previews()) as hearth:
        ann = await hearth.user("ann")
        refused = await preview(ann, site.put("/", "x"))
        assert (refused.status, refused.errcode) == (403, "M_FORBIDDEN")
        offered = (await ann.get("/_matrix/client/v3/capabilities")).ok()["capabilities"]
        assert offered["io.element.msc4452.preview_url"] == {"enabled": False}
        assert site.asked == []


@pytest.mark.parametrize(
    ("language", "is_good"),
    [("de, en;q=0.5, *;q=0.1", True), ("zh-Hant-TW", True), ("de\r\nX: y", False), ("dé", False)],
)
def test_the_language_is_one_line(tmp_path: Path, language: str, is_good: bool) -> None:
    settings = settings_for("one.test", tmp_path, previews=Previews(accept_language=language))
    found = [problem.path for problem in contradictions(settings)]
    assert found == ([] if is_good else ["previews.accept_language"])
