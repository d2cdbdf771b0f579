"""What tokens look like, and the hashes that stand for them on the disk.

A token is random and tells nothing, but for a part that all tokens of a device share: by it, a
token that was replaced or forgotten is told from one whose device was logged out.
"""

import hashlib
import secrets
from typing import NamedTuple

_SESSION = 16
_SECRET = 32
_ACCESS = "hth_"
_REFRESH = "htr_"
_LOGIN = "htl_"
_OPENID = "hto_"


class Token(NamedTuple):
    """A token and what is stored of it."""

    text: str
    hash: bytes


def new_session() -> str:
    """What the tokens of a new device begin with."""
    return secrets.token_urlsafe(_SESSION * 3 // 4)


def new_access_token(session: str) -> Token:
    """Make an access token."""
    return _token(_ACCESS + session)


def new_refresh_token(session: str) -> Token:
    """Make a refresh token."""
    return _token(_REFRESH + session)


def new_login_token() -> Token:
    """Make a token for `m.login.token`."""
    return _token(_LOGIN)


def new_openid_token() -> Token:
    """Make a token that proves to another service who somebody is."""
    return _token(_OPENID)


def hash_of(token: str) -> bytes:
    """What is stored of a token; of strings that cannot be one, too."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


def session_in(token: str) -> str | None:
    """What all tokens of the device begin with; `None` if this is none of ours."""
    if len(token) != len(_ACCESS) + _SESSION + _SECRET or not token.isascii():
        return None
    prefix, session = token[: len(_ACCESS)], token[len(_ACCESS) : len(_ACCESS) + _SESSION]
    return session if prefix in {_ACCESS, _REFRESH} and "\0" not in session else None


def _token(beginning: str) -> Token:
    text = beginning + secrets.token_urlsafe(_SECRET * 3 // 4)
    return Token(text, hash_of(text))
