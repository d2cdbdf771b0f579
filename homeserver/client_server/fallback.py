"""A stage of authentication in a browser, for clients that have no page of their own.

https://spec.matrix.org/v1.19/client-server-api/#fallback
"""

import secrets
from urllib.parse import parse_qs

import msgspec

from homeserver.accounts import captchas
from homeserver.accounts.stages import RECAPTCHA
from homeserver.client_server.house import House
from homeserver.client_server.html import html_headers
from homeserver.config.settings import Captcha
from homeserver.errors import InvalidParam, NotFound, Unrecognized
from homeserver.http import Limit, Reply, Request, Routes

routes = Routes("client", limit=Limit("registration", "address"))

_MOST_FIELDS = 20
_PATH = "/_matrix/client/v3/auth/{authType}/fallback/web"


class SessionQuery(msgspec.Struct):
    """Of which authentication."""

    session: str


# Not in the specification's API definitions, but in its text: "This MUST return an HTML page".
@routes.get(_PATH, auth=False)
async def get_fallback_page(request: Request, house: House, query: SessionQuery) -> Reply:
    """Show the page of a stage."""
    captcha = _captcha(request, house)
    if not await house.captchas.awaits(query.session):
        raise NotFound("there is no such authentication session")
    return _riddle(captcha)


@routes.post(_PATH, auth=False)
async def complete_on_fallback_page(
    request: Request, house: House, query: SessionQuery, body: bytes
) -> Reply:
    """Take what somebody did on the page."""
    captcha = _captcha(request, house)
    if await house.captchas.complete(query.session, _answer(body)) is not None:
        return _riddle(captcha)
    nonce = secrets.token_urlsafe(12)
    return Reply(200, captchas.done_page(nonce), html_headers(f"script-src 'nonce-{nonce}'"))


def _captcha(request: Request, house: House) -> Captcha:
    captcha = house.settings.captcha
    if captcha is None or request.match_info["authType"] != RECAPTCHA:
        raise Unrecognized("there is no such page")
    return captcha


def _answer(form: bytes) -> str:
    try:
        fields = parse_qs(form.decode(errors="replace"), max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise InvalidParam("the form cannot be read") from error
    return fields.get("g-recaptcha-response", [""])[0]


def _riddle(captcha: Captcha) -> Reply:
    nonce = secrets.token_urlsafe(12)
    # Its maker's script brings more of its kind, from wherever it likes.
    beside = (
        f"script-src 'nonce-{nonce}' 'strict-dynamic'; frame-src https:; connect-src https:; "
        "worker-src https: blob:; img-src https: data:"
    )
    page = captchas.riddle_page(captcha.site_key, captcha.script_url, nonce)
    return Reply(200, page, html_headers(beside))
