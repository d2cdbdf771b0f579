"""A riddle before registration.

https://spec.matrix.org/v1.19/client-server-api/#google-recaptcha
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from homeserver.app.making import registration_flows
from homeserver.config.checks import contradictions
from homeserver.config.settings import Captcha, Outgoing, Registration, Settings, Smtp
from homeserver.config.values import EmailAddress, HttpUrl, Secret
from homeserver.http.listeners import bind
from tests.database import Server
from tests.federation.net.loopback import Authority
from tests.servers import LOOPBACK, PASSWORD, Answer, Hearth, own_database, serving
from tests.servers import test_settings as settings_for

REGISTER = "/_matrix/client/v3/register"
STAGE = "m.login.recaptcha"


@dataclass
class Riddles:
    """A service that knows which answers are right."""

    port: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)
    answers: web.Response | None = None

    async def answer(self, request: web.BaseRequest) -> web.Response:
        fields = dict(await request.post())
        self.asked.append(fields)
        if self.answers is not None:
            return self.answers
        is_right = fields == {"secret": "hush", "response": "right & good"}
        return web.json_response({"success": is_right})


@asynccontextmanager
async def riddling(authority: Authority) -> AsyncIterator[Riddles]:
    riddles = Riddles()
    runner = web.ServerRunner(web.Server(riddles.answer), shutdown_timeout=0.1)
    await runner.setup()
    listening = bind(LOOPBACK, 0)
    riddles.port = listening.getsockname()[1]
    tls = authority.server_context("127.0.0.1")
    await web.SockSite(runner, listening, ssl_context=tls).start()
    try:
        yield riddles
    finally:
        await runner.cleanup()


def captcha(port: int = 443) -> Captcha:
    url = HttpUrl(f"https://127.0.0.1:{port}/siteverify")
    return Captcha(site_key="public", secret_key=Secret("hush"), verify_url=url)


@pytest.fixture
async def riddles(loopback_authority: Authority) -> AsyncIterator[Riddles]:
    async with riddling(loopback_authority) as made:
        yield made


@pytest.fixture
async def hearth(
    postgres: Server, tmp_path: Path, loopback_authority: Authority, riddles: Riddles
) -> AsyncIterator[Hearth]:
    outgoing = Outgoing(
        allowed_ranges=(ip_network("127.0.0.0/8"),),
        ca_file=loopback_authority.file,
        system_trust=False,
    )
    given = {"outgoing": outgoing, "captcha": captcha(riddles.port)}
    async with (
        own_database(postgres, f"hearth_{id(tmp_path)}") as where,
        serving(settings_for("one.test", tmp_path, **given), where) as server,
    ):
        yield server


async def attempt(hearth: Hearth, session: str, **auth: Any) -> Answer:
    auth = {"type": STAGE, "session": session, **auth}
    body = {"username": "ann", "password": PASSWORD, "auth": auth}
    return await hearth.anybody.post(REGISTER, body)


async def test_who_solves_it_gets_an_account(hearth: Hearth, riddles: Riddles) -> None:
    body = {"username": "ann", "password": PASSWORD}
    begun = await hearth.anybody.post(REGISTER, body)
    assert begun.status == 401
    assert begun.json["flows"] == [{"stages": [STAGE]}]
    assert begun.json["params"] == {STAGE: {"public_key": "public"}}
    session = begun.json["session"]
    for answer in ({}, {"response": 5}, {"response": ""}, {"response": "x" * 20_000}):
        refused = await attempt(hearth, session, **answer)
        assert (refused.status, refused.errcode) == (401, "M_CAPTCHA_NEEDED")
    assert riddles.asked == []
    wrong = await attempt(hearth, session, response="wrong")
    assert (wrong.status, wrong.errcode) == (401, "M_CAPTCHA_INVALID")
    assert "completed" not in wrong.json
    dummy = await attempt(hearth, session, type="m.login.dummy")
    assert dummy.status == 401
    made = await attempt(hearth, session, response="right & good")
    assert made.ok()["user_id"] == "@ann:one.test"
    # The service is told the answer, and nothing of the one who gave it.
    assert [set(fields) for fields in riddles.asked] == [{"secret", "response"}] * 2


async def test_a_service_that_does_not_say(hearth: Hearth, riddles: Riddles) -> None:
    """Nobody gets in, and the same session goes on when it is back."""
    begun = await hearth.anybody.post(REGISTER, {"username": "ann", "password": PASSWORD})
    session = begun.json["session"]
    for answers, status in (
        (web.Response(status=500, text="oops"), 502),
        (web.Response(text="[]"), 401),
        (web.Response(text='{"success": "yes"}'), 401),
        (web.Response(status=302, headers={"Location": "https://127.0.0.1/"}), 502),
    ):
        riddles.answers = answers
        assert (await attempt(hearth, session, response="right & good")).status == status
    riddles.answers = None
    assert (await attempt(hearth, session, response="right & good")).status == 200


@pytest.mark.parametrize(
    ("registration", "mail", "flows"),
    [
        (Registration(mode="closed"), False, ()),
        (Registration(mode="open"), False, ((STAGE,),)),
        (
            Registration(mode="open"),
            True,
            ((STAGE, "m.login.dummy"), (STAGE, "m.login.email.identity")),
        ),
        (
            Registration(mode="open", require_email=True),
            True,
            ((STAGE, "m.login.email.identity"),),
        ),
        (Registration(mode="token"), False, ((STAGE, "m.login.registration_token"),)),
    ],
)
def test_flows(tmp_path: Path, registration: Registration, mail: bool, flows: Any) -> None:
    smtp = Smtp(host="mail.test", sender=EmailAddress("a@b.test")) if mail else None
    given: dict[str, Any] = {"registration": registration, "smtp": smtp, "captcha": captcha()}
    settings = settings_for("one.test", tmp_path, **given)
    assert registration_flows(settings) == flows


def test_it_is_asked_over_https(tmp_path: Path) -> None:
    def problems(settings: Settings) -> list[str]:
        return [problem.path for problem in contradictions(settings)]

    settings = settings_for("one.test", tmp_path, captcha=captcha())
    assert problems(settings) == []
    plain = replace(captcha(), verify_url=HttpUrl("http://127.0.0.1/"))
    assert problems(replace(settings, captcha=plain)) == ["captcha.verify_url"]


PAGE = f"/_matrix/client/v3/auth/{STAGE}/fallback/web"


async def test_in_a_browser(hearth: Hearth, riddles: Riddles) -> None:
    """Clients that know no riddles send people to a page, and go on with the session alone."""
    body = {"username": "ann", "password": PASSWORD}
    session = (await hearth.anybody.post(REGISTER, body)).json["session"]
    shown = await hearth.anybody.get(PAGE, session=session)
    assert shown.status == 200
    assert shown.headers["Content-Type"] == "text/html; charset=utf-8"
    assert b'data-sitekey="public"' in shown.body
    assert b"https://www.google.com/recaptcha/api.js" in shown.body

    async def send(answer: str) -> Answer:
        raw = f"g-recaptcha-response={answer}".encode()
        return await hearth.anybody.post(PAGE, raw=raw, session=session)

    for answer in ("", "wrong"):
        again = await send(answer)
        assert (again.status, b"data-sitekey" in again.body) == (200, True)
    many = await hearth.anybody.post(PAGE, raw=b"a=1&" * 50, session=session)
    assert many.errcode == "M_INVALID_PARAM"
    assert (await attempt(hearth, session, type=None)).status == 401
    done = await send("right+%26+good")
    assert (done.status, b"onAuthDone" in done.body) == (200, True)
    nonce = done.headers["Content-Security-Policy"].rpartition("'nonce-")[2].rstrip("'")
    assert f'<script nonce="{nonce}">'.encode() in done.body
    finished = {**body, "auth": {"session": session}}
    assert (await hearth.anybody.post(REGISTER, finished)).ok()["user_id"] == "@ann:one.test"
    # Now nothing is left to be done.
    assert (await hearth.anybody.get(PAGE, session=session)).status == 404


async def test_pages_that_there_are_not(hearth: Hearth, riddles: Riddles) -> None:
    assert (await hearth.anybody.get(PAGE)).errcode == "M_MISSING_PARAM"
    for method in (hearth.anybody.get, hearth.anybody.post):
        assert (await method(PAGE, session="x")).status == 404
        other = await method(PAGE.replace(STAGE, "m.login.password"), session="x")
        assert (other.status, other.errcode) == (404, "M_UNRECOGNIZED")
    ann = await hearth.user("ann")
    # Sessions of something else have no riddle.
    session = (await ann.post("/_matrix/client/v3/delete_devices", {"devices": []})).json["session"]
    assert (await hearth.anybody.get(PAGE, session=session)).status == 404
    assert riddles.asked == []
