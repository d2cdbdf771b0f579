"""User names as people type them, and the user IDs that they mean.

https://spec.matrix.org/v1.19/appendices/#user-identifiers
"""

import string

from federation.errors import IdentifierError
from federation.identifiers import ServerName, UserID, new_user_id

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def user_id_for(username: str, server: ServerName) -> UserID | None:
    """The user ID that somebody who registers as `username` gets; `None` if it cannot be one.

    Capitals are lowered, of ASCII only: other letters have no place in a name, and some of them
    (the Kelvin sign) would turn into ASCII.
    """
    try:
        return new_user_id(username.translate(_LOWER), server)
    except IdentifierError:
        return None


def local_user_id(user: str, server: ServerName) -> UserID | None:
    """The local user that a login means: by user ID or by what stands before its colon.

    https://spec.matrix.org/v1.19/client-server-api/#identifier-types
    """
    if not user.startswith("@"):
        return user_id_for(user, server)
    localpart, _, domain = user[1:].partition(":")
    return user_id_for(localpart, server) if domain == server else None
