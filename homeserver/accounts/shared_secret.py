"""Registration by whoever knows a secret, as `/_synapse/admin/v1/register` does it.

Not in the specification, but what test rigs and tools use: a nonce is asked for, and sent back
with the account's name, password and rank under a MAC.
"""

import hashlib
import hmac
import secrets
from typing import NamedTuple

from homeserver.accounts.tokens import hash_of
from homeserver.storage import registration
from homeserver.storage.process import Process

NONCE_VALIDITY = 60_000
"""Milliseconds for which a nonce is good."""


class Asked(NamedTuple):
    """What is under the MAC."""

    nonce: str
    username: str
    password: str
    is_admin: bool = False
    user_type: str | None = None


def mac_of(secret: str, asked: Asked) -> str:
    """The MAC that proves knowledge of the secret: HMAC-SHA1 in lower-case hexadecimal."""
    parts = [asked.nonce, asked.username, asked.password, "admin" if asked.is_admin else "notadmin"]
    if asked.user_type is not None:
        parts.append(asked.user_type)
    message = "\0".join(parts).encode(errors="surrogatepass")
    return hmac.new(secret.encode(), message, hashlib.sha1).hexdigest()


def is_right(secret: str, asked: Asked, mac: str) -> bool:
    """Whether `mac` is the MAC of what is asked."""
    return hmac.compare_digest(mac_of(secret, asked).encode(), mac.encode(errors="surrogatepass"))


async def new_nonce(process: Process) -> str:
    """Hand out a nonce."""
    nonce = secrets.token_hex(32)
    now = process.now()
    async with process.database.reader() as conn:
        await registration.add_nonce(conn, hash_of(nonce), now + NONCE_VALIDITY, now)
    return nonce


async def take_nonce(process: Process, nonce: str) -> bool:
    """Use up a nonce; false if it was used, has expired, or is none of ours."""
    async with process.database.reader() as conn:
        return await registration.take_nonce(conn, hash_of(nonce), process.now())
