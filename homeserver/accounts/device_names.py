"""Device ids and display names: what clients may choose, and what we choose for them.

https://spec.matrix.org/v1.19/client-server-api/#relationship-between-access-tokens-and-devices
"""

import hashlib
import secrets
import string

from homeserver.errors import InvalidParam, TooLarge

LONGEST_ID = 255
"""Bytes."""
LONGEST_NAME = 256
"""Characters."""


def new_device_id() -> str:
    """Make an id for a device whose client did not."""
    return "".join(secrets.choice(string.ascii_uppercase) for _ in range(10))


def device_id_of(session_hash: bytes) -> str:
    """The id for a device that a registration makes: the same when the request is repeated."""
    digest = hashlib.sha256(session_hash).digest()
    return "".join(string.ascii_uppercase[byte % 26] for byte in digest[:10])


def is_possible(device_id: str) -> bool:
    """Whether a device can have this id."""
    try:
        size = len(device_id.encode())
    except UnicodeEncodeError:
        return False
    return 0 < size <= LONGEST_ID and "\0" not in device_id


def check_device_id(device_id: str) -> None:
    """Raise `InvalidParam` if no device can have this id."""
    if not is_possible(device_id):
        raise InvalidParam(f"a device ID has 1 to {LONGEST_ID} bytes of Unicode, without NUL")


def first_name(display_name: str | None) -> str | None:
    """What a new device is called, if its client said so; a long name is cut."""
    return None if display_name is None else _storable(display_name)[:LONGEST_NAME]


def new_name(display_name: str) -> str:
    """What a device is called from now on, or raise `TooLarge`."""
    if len(display_name) > LONGEST_NAME:
        raise TooLarge(f"a device's name has at most {LONGEST_NAME} characters")
    return _storable(display_name)


def _storable(text: str) -> str:
    """PostgreSQL has no NUL in text, and nobody has lone surrogates."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
