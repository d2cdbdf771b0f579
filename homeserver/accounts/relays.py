"""Names and passwords for TURN servers, as they compute them too. Pure.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3voipturnserver
"""

import base64
import hmac
from typing import NamedTuple

from federation.identifiers import UserID


class Credentials(NamedTuple):
    """What a client shows to a TURN server."""

    username: str
    password: str


def credentials(secret: str, user_id: UserID, now: int, lifetime: int) -> Credentials:
    """What is good for a while.

    The TURN server need not know who calls: it gets a name that tells one caller from another.

    Args:
        secret: shared with the TURN server.
        user_id: who calls.
        now: seconds since the epoch.
        lifetime: milliseconds.

    """
    key = secret.encode()
    caller = hmac.digest(key, b"caller " + user_id.encode(), "sha256").hex()[:16]
    username = f"{now + lifetime // 1000}:{caller}"
    # As the TURN servers want it: "TURN REST API", draft-uberti-behave-turn-rest.
    password = hmac.digest(key, username.encode(), "sha1")
    return Credentials(username, base64.b64encode(password).decode())
