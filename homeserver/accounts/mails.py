"""The mails that the server sends, as text and as HTML, and the pages of their links. Pure.

Whatever stands in them comes through `escape`; they load nothing from anywhere.
"""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from homeserver.accounts.pages import page
from homeserver.peers.mailing import Mail

ADD = "add"
REGISTER = "register"
RESET = "reset"
"""What an address is shown to be somebody's for."""


class _Words(NamedTuple):
    subject: str
    wish: str
    doubt: str


_CONFIRM = {
    ADD: _Words(
        "Confirm your e-mail address for {server}",
        "Somebody, we hope you, wants to add this e-mail address to an account on {server}.",
        "If that was not you, ignore this mail: the address is not added then.",
    ),
    REGISTER: _Words(
        "Confirm your e-mail address for {server}",
        "Somebody, we hope you, is making an account on {server} with this e-mail address.",
        "If that was not you, ignore this mail: there will be no account then.",
    ),
    RESET: _Words(
        "Reset your password on {server}",
        "Somebody, we hope you, wants another password for your account {user} on {server}.",
        "If that was not you, ignore this mail: the password stays what it is then.",
    ),
}
_NEWS = {
    ADD: _Words(
        "Your e-mail address on {server}",
        "Somebody, perhaps you, wanted to add this e-mail address to an account on {server}. It "
        "belongs to an account there already.",
        "An address can belong to one account only. Nothing was changed.",
    ),
    REGISTER: _Words(
        "You have an account on {server}",
        "Somebody, perhaps you, wanted to make an account on {server} with this e-mail address. "
        "It belongs to the account {user} already.",
        "If you have forgotten its password, your app can have it reset. Nothing was changed.",
    ),
    RESET: _Words(
        "No account on {server}",
        "Somebody, perhaps you, wanted another password for an account on {server}. This e-mail "
        "address belongs to no account there.",
        "Perhaps you gave another address, or none. Nothing was changed.",
    ),
}


def confirmation(purpose: str, to: str, server: str, link: str, user: str = "") -> Mail:
    """A mail with a link that shows that it arrived."""
    words = _filled(_CONFIRM[purpose], server, user)
    told = "Open this link, within an hour, and confirm it there:"
    lines = [words.wish, told, link, words.doubt]
    anchor = f'<a href="{escape(link)}">{escape(link)}</a>'
    return Mail(
        to,
        words.subject,
        _text(lines),
        _html([*map(escape, lines[:2]), anchor, escape(words.doubt)]),
    )


def notice(purpose: str, to: str, server: str, user: str = "") -> Mail:
    """A mail that says why there is nothing to confirm."""
    words = _filled(_NEWS[purpose], server, user)
    lines = [words.wish, words.doubt]
    return Mail(to, words.subject, _text(lines), _html([escape(line) for line in lines]))


def question_page(purpose: str, address: str, server: str) -> bytes:
    """What a link shows first: programs that look at mails follow links, and press no buttons."""
    wish = {
        ADD: f"Add {address} to your account on {server}?",
        REGISTER: f"Is {address} your address? An account is being made with it on {server}.",
        RESET: f"Set another password for the account of {address} on {server}?",
    }[purpose]
    button = '<form method="post"><button type="submit">Confirm</button></form>'
    return page("Confirm", [escape(wish), button])


def done_page(next_link: str | None) -> bytes:
    """After it was confirmed."""
    said = ["Your e-mail address is confirmed. You can close this page and go back to your app."]
    if next_link is not None:
        said.append(f'<a href="{escape(next_link)}" rel="noreferrer">Go on</a>')
    return page("Confirmed", said)


def failed_page() -> bytes:
    """A link that leads nowhere, or not any more."""
    return page("Not valid", ["This link is not valid, or not any more. Ask for a new mail."])


def _filled(words: _Words, server: str, user: str) -> _Words:
    return _Words(*(word.format(server=server, user=user) for word in words))


def _text(lines: Sequence[str]) -> str:
    return "\n\n".join(["Hello,", *lines]) + "\n"


def _html(paragraphs: Sequence[str]) -> str:
    body = "".join(f"<p>{paragraph}</p>" for paragraph in ["Hello,", *paragraphs])
    return f'<!DOCTYPE html><html lang="en"><body>{body}</body></html>'
