"""New tokens for a device, and how long they are good for.

https://spec.matrix.org/v1.19/client-server-api/#refreshing-access-tokens
"""

from dataclasses import dataclass

from homeserver.accounts.tokens import new_access_token, new_refresh_token
from homeserver.storage.tokens import Issued


@dataclass(frozen=True, slots=True)
class Validity:
    """How long tokens are good for, in milliseconds; `None`: for ever."""

    session: int | None
    """`auth.session_validity`: until a device must log in again."""
    refreshable: int
    """`auth.refreshable_token_validity`: an access token that can be renewed."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens as the client gets them, and as they are stored."""

    access_token: str
    refresh_token: str | None
    expires_in_ms: int | None
    issued: Issued


def issue_refreshable(session: str, validity: Validity, ends: int | None, now: int) -> Tokens:
    """Tokens that can be renewed until `ends`, in milliseconds since the epoch."""
    access, refresh = new_access_token(session), new_refresh_token(session)
    expires = now + validity.refreshable if ends is None else min(now + validity.refreshable, ends)
    issued = Issued(access.hash, expires, refresh.hash, ends)
    return Tokens(access.text, refresh.text, expires - now, issued)


def issue_lasting(session: str, ends: int | None, now: int) -> Tokens:
    """An access token that is good until `ends` as it is."""
    access = new_access_token(session)
    expires_in = None if ends is None else ends - now
    return Tokens(access.text, None, expires_in, Issued(access.hash, ends, None, None))
