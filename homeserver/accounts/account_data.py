"""Account data: what clients keep here for themselves.

https://spec.matrix.org/v1.19/client-server-api/#client-config
"""

import orjson

from federation.identifiers import RoomID
from homeserver.errors import BadJson, InvalidParam, NotFound, ServerManaged, TooLarge
from homeserver.storage import account_data
from homeserver.storage.account_data import WHOLE_ACCOUNT
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.process import Process

# "Servers MUST reject setting account data for event types that the server manages by using a 405
# error response. Currently, this only includes m.fully_read and m.push_rules. This applies to both
# global and room-specific account data."
MANAGED = frozenset({"m.fully_read", "m.push_rules"})

LONGEST_TYPE = 255
"""Bytes, as in an event."""


class AccountData:
    """The account data of all users.

    Args:
        process: the one that this is part of.
        largest: bytes that one content may have.

    """

    def __init__(self, process: Process, largest: int = 1024 * 1024) -> None:
        self._process = process
        self._largest = largest

    async def get(self, user: UserNid, room_id: RoomID | None, kind: str) -> bytes:
        """The content of this type, as JSON, or raise `NotFound`."""
        room = await self._find_room(room_id)
        if room is not None and _is_type(kind):
            async with self._process.database.reader() as conn:
                content = await account_data.find(conn, user, room, kind)
            if content is not None:
                return content
        raise NotFound("there is no account data of this type")

    async def put(self, user: UserNid, room_id: RoomID | None, kind: str, content: bytes) -> None:
        """Keep a JSON object; an empty one is as good as none (MSC3391).

        Raises:
            ServerManaged: the type is for the server to write.
            BadJson: it is not a JSON object.
            TooLarge: it has more bytes than are kept.
            InvalidParam: no data can have this type.

        """
        _check_type(kind)
        if len(content) > self._largest:
            raise TooLarge(f"account data has at most {self._largest} bytes")
        if not _object(content):
            await self.delete(user, room_id, kind)
            return
        room = WHOLE_ACCOUNT if room_id is None else await self._number_of(room_id)
        async with self._process.database.reader() as conn:
            self._process.committed(await account_data.put(conn, user, room, kind, content))

    async def delete(self, user: UserNid, room_id: RoomID | None, kind: str) -> None:
        """Remove what is kept; clients are told that it is `{}` now (MSC3391).

        Raises:
            ServerManaged: the type is for the server to write.
            InvalidParam: no data can have this type.

        """
        _check_type(kind)
        room = await self._find_room(room_id)
        if room is not None:
            async with self._process.database.reader() as conn:
                self._process.committed(await account_data.put(conn, user, room, kind, None))

    async def _find_room(self, room_id: RoomID | None) -> RoomNid | None:
        if room_id is None:
            return WHOLE_ACCOUNT
        async with self._process.database.reader() as conn:
            return (await self._process.numbers.rooms.find(conn, [room_id])).get(room_id)

    async def _number_of(self, room_id: RoomID) -> RoomNid:
        async with self._process.database.reader() as conn:
            return (await self._process.numbers.rooms.intern(conn, [room_id]))[room_id]


def _is_type(kind: str) -> bool:
    try:
        return len(kind.encode()) <= LONGEST_TYPE and "\0" not in kind
    except UnicodeEncodeError:
        return False


def _check_type(kind: str) -> None:
    if kind in MANAGED:
        raise ServerManaged(f"{kind} is written by the server")
    if not _is_type(kind):
        raise InvalidParam(f"a type has at most {LONGEST_TYPE} bytes of Unicode, without NUL")


def _object(content: bytes) -> dict[str, object]:
    """The object that a content is, or raise `BadJson`."""
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise BadJson("the content is not JSON") from error
    if not isinstance(value, dict):
        raise BadJson("the content must be an object")
    return value
