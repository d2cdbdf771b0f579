"""Showing that an e-mail address is theirs: mails are asked for, and their links opened.

Telephone numbers cannot be shown to be somebody's here: nothing sends text messages.

https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information
"""

import msgspec

from homeserver.accounts import mails
from homeserver.accounts.addresses import parse_email
from homeserver.accounts.email_validations import PATH, Asked
from homeserver.accounts.mails import ADD, REGISTER, RESET
from homeserver.client_server.house import House
from homeserver.client_server.html import html_headers
from homeserver.errors import Forbidden, MediumNotSupported
from homeserver.http import Json, Limit, Reply, Request, Routes

routes = Routes("client", limit=Limit("email_validation", "address"))

_V3 = "/_matrix/client/v3"
_NO_PHONES = "telephone numbers are not dealt with here"
_HTML = html_headers()


class EmailBody(msgspec.Struct):
    """Which address, and a secret by which the client will be known again."""

    client_secret: str
    email: str
    send_attempt: int
    next_link: str | None = None


class LinkQuery(msgspec.Struct):
    """What was mailed."""

    sid: str = ""
    token: str = ""


@routes.post(_V3 + "/account/3pid/email/requestToken", auth=False)
async def request_token_to_3pid_email(request: Request, house: House, body: EmailBody) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidemailrequesttoken"""
    if not house.settings.accounts.change_3pid:
        raise MediumNotSupported("the addresses of accounts cannot be changed here")
    return await _begin(house, ADD, body)


@routes.post(_V3 + "/register/email/requestToken", auth=False)
async def request_token_to_register_email(request: Request, house: House, body: EmailBody) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3registeremailrequesttoken"""
    if house.settings.registration.mode == "closed":
        raise Forbidden("registration is closed")
    return await _begin(house, REGISTER, body)


@routes.post(_V3 + "/account/password/email/requestToken", auth=False)
async def request_token_to_reset_password_email(
    request: Request, house: House, body: EmailBody
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpasswordemailrequesttoken"""
    if not (house.settings.auth.passwords and house.settings.accounts.change_password):
        raise Forbidden("passwords cannot be changed here")
    return await _begin(house, RESET, body)


@routes.post(_V3 + "/account/3pid/msisdn/requestToken", auth=False)
async def request_token_to_3pid_msisdn(request: Request, house: House) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidmsisdnrequesttoken"""
    raise MediumNotSupported(_NO_PHONES)


@routes.post(_V3 + "/register/msisdn/requestToken", auth=False)
async def request_token_to_register_msisdn(request: Request, house: House) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3registermsisdnrequesttoken"""
    raise MediumNotSupported(_NO_PHONES)


@routes.post(_V3 + "/account/password/msisdn/requestToken", auth=False)
async def request_token_to_reset_password_msisdn(request: Request, house: House) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpasswordmsisdnrequesttoken"""
    raise MediumNotSupported(_NO_PHONES)


# Not in the specification: "The homeserver should validate the email itself, either by sending a
# validation email itself [...]". For people, in a browser.
@routes.get(PATH, auth=False, limit=Limit("login_address", "address"))
async def ask_to_confirm_email(request: Request, house: House, query: LinkQuery) -> Reply:
    """Ask whoever opened a link; programs that look at mails open links too."""
    found = await house.email_validations.look_up(query.sid, query.token)
    if found is None:
        return Reply(404, mails.failed_page(), _HTML)
    page = mails.question_page(found.purpose, found.address, house.process.server)
    return Reply(200, page, _HTML)


@routes.post(PATH, auth=False, limit=Limit("login_address", "address"))
async def confirm_email(request: Request, house: House, query: LinkQuery) -> Reply:
    """Confirm what a link is for."""
    found = await house.email_validations.look_up(query.sid, query.token)
    if found is None or not await house.email_validations.confirm(query.sid, query.token):
        return Reply(404, mails.failed_page(), _HTML)
    return Reply(200, mails.done_page(found.next_link), _HTML)


async def _begin(house: House, purpose: str, body: EmailBody) -> Json:
    house.email_validations.check()
    email = parse_email(body.email)
    house.limits.check("email_validation", email)
    asked = Asked(purpose, email, body.client_secret, body.send_attempt, body.next_link)
    return {"sid": await house.email_validations.begin(asked)}
