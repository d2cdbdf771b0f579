"""Where people are notified: setting and removing pushers.

https://spec.matrix.org/v1.19/client-server-api/#push-notifications
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from yarl import URL

from homeserver.errors import InvalidParam, MatrixError
from homeserver.storage import pushers
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process
from homeserver.storage.pushers import Fields, Known
from homeserver.storage.tokens import DeviceNid

MOST = 100
"""Pushers of one user."""
LONGEST_KEY = 512
"""Bytes: "Max length, 512 bytes"."""
LONGEST_APP_ID = 64
"""Characters: "Max length, 64 chars"."""
LONGEST_TEXT = 256
"""Characters of everything else that is a text."""
LONGEST_DATA = 8 * 1024
"""Bytes."""
_PATH = "/_matrix/push/v1/notify"


class Pushers:
    """The pushers of all users of this server."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def read(self, user: UserNid) -> Sequence[Known]:
        """All pushers of a user."""
        async with self._process.database.reader() as conn:
            return await pushers.read(conn, user)

    async def put(self, user: UserNid, device: DeviceNid, fields: Fields, *, append: bool) -> None:
        """Make a pusher, or change the one of this app and key.

        Args:
            user: whose.
            device: with whose tokens it goes.
            fields: what it is, which was checked.
            append: whether others may be notified under the same key.

        Raises:
            MatrixError: the user has too many, or has just logged out.

        """
        now = self._process.now()
        async with self._process.database.reader() as conn:
            pos = await pushers.put(conn, user, device, fields, append=append, now=now, most=MOST)
        if not self._process.committed(pos):
            raise MatrixError(f"nobody has more than {MOST} pushers, or without a device")

    async def delete(self, user: UserNid, app_id: str, pushkey: str) -> None:
        """Remove a pusher, if it is there."""
        async with self._process.database.reader() as conn:
            self._process.committed(await pushers.delete(conn, user, app_id, pushkey))


def check_key(app_id: str, pushkey: str) -> None:
    """Raise `InvalidParam` where no pusher can be named so."""
    _check_text("app_id", app_id, LONGEST_APP_ID)
    _check_text("pushkey", pushkey, LONGEST_KEY)
    if not app_id or not pushkey or len(pushkey.encode()) > LONGEST_KEY:
        raise InvalidParam(f"app_id and pushkey must be given, with at most {LONGEST_KEY} bytes")


def check_fields(fields: Fields) -> None:
    """Raise `InvalidParam` where no pusher can be such."""
    check_key(fields.app_id, fields.pushkey)
    for name in ("app_display_name", "device_display_name", "profile_tag", "lang"):
        _check_text(name, getattr(fields, name) or "", LONGEST_TEXT)
    if len(fields.data) > LONGEST_DATA:
        raise InvalidParam(f"data has at most {LONGEST_DATA} bytes")


def written_data(data: Mapping[str, Any]) -> bytes:
    """What is stored of `data`, or raise `InvalidParam`.

    "MUST be an HTTPS URL with a path of `/_matrix/push/v1/notify`": where its host leads is
    looked at when it is asked.
    """
    url = data.get("url")
    if not isinstance(url, str):
        raise InvalidParam("data.url is missing")
    try:
        parsed = URL(url)
        port = parsed.port
    except ValueError as error:
        raise InvalidParam("data.url is no URL") from error
    if parsed.scheme != "https" or not parsed.raw_host or parsed.raw_user or parsed.raw_password:
        raise InvalidParam("data.url must be an HTTPS URL")
    if parsed.raw_path != _PATH or parsed.raw_fragment or not port:
        raise InvalidParam(f"data.url must have the path {_PATH}")
    return msgspec.json.encode(data)


def _check_text(name: str, text: str, longest: int) -> None:
    if len(text) > longest or "\0" in text:
        raise InvalidParam(f"{name} has at most {longest} characters, none of them NUL")
