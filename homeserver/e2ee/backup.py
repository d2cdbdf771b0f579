"""Backups of keys, which only their owners can read.

https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from homeserver.errors import BadJson, InvalidParam, NotFound, TooLarge, WrongRoomKeysVersion
from homeserver.storage import key_backup
from homeserver.storage.key_backup import SessionKey, Version
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process

LARGEST = 64 * 1024
"""Bytes of one key, or of what a backup says of itself."""
_MOST = 2**31 - 1


class Backups:
    """The backups of all users."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def create(self, user: UserNid, algorithm: str, auth_data: Mapping[str, Any]) -> str:
        """Begin a backup; its version."""
        async with self._process.database.reader() as conn:
            return str(await key_backup.create(conn, user, algorithm, _packed(auth_data)))

    async def get(self, user: UserNid, version: str | None = None) -> Version:
        """A backup, or the current one; or raise `NotFound`."""
        async with self._process.database.reader() as conn:
            found = await key_backup.find(conn, user, _number(version))
        if found is None:
            raise NotFound("there is no such backup")
        return found

    async def update(
        self, user: UserNid, version: str, algorithm: str, auth_data: Mapping[str, Any]
    ) -> None:
        """Replace what a backup says of itself.

        Raises:
            NotFound: there is no such backup.
            InvalidParam: it has another algorithm.

        """
        before = await self.get(user, version)
        if before.algorithm != algorithm:
            raise InvalidParam("a backup keeps its algorithm")
        async with self._process.database.reader() as conn:
            await key_backup.update(conn, user, before.version, _packed(auth_data))

    async def delete(self, user: UserNid, version: str) -> None:
        """Delete a backup, or raise `NotFound` if there never was one."""
        async with self._process.database.reader() as conn:
            number = _number(version)
            if number is None or not await key_backup.delete(conn, user, number):
                raise NotFound("there is no such backup")

    async def put(
        self, user: UserNid, version: str, keys: Mapping[str, Mapping[str, Any]]
    ) -> Version:
        """Keep keys, by room and session.

        Raises:
            NotFound: there is no such backup.
            WrongRoomKeysVersion: it is not the current one.
            BadJson, TooLarge: a key is none.

        """
        current = await self.get(user)
        if (await self.get(user, version)).version != current.version:
            raise WrongRoomKeysVersion(current_version=str(current.version))
        rows = [
            _row(room_id, session_id, key)
            for room_id, sessions in keys.items()
            for session_id, key in sessions.items()
        ]
        async with self._process.database.reader() as conn:
            if rows:
                await key_backup.put(conn, user, current.version, rows)
        return await self.get(user, version)

    async def read(
        self,
        user: UserNid,
        version: str,
        room_id: str | None = None,
        session_id: str | None = None,
    ) -> Sequence[SessionKey]:
        """Keys of a backup, or raise `NotFound` if there is no such backup."""
        found = await self.get(user, version)
        async with self._process.database.reader() as conn:
            return await key_backup.read(conn, user, found.version, room_id, session_id)

    async def remove(
        self,
        user: UserNid,
        version: str,
        room_id: str | None = None,
        session_id: str | None = None,
    ) -> Version:
        """Delete keys of a backup, or raise `NotFound` if there is no such backup."""
        found = await self.get(user, version)
        async with self._process.database.reader() as conn:
            await key_backup.remove(conn, user, found.version, room_id, session_id)
        return await self.get(user, version)


def _number(version: str | None) -> int | None:
    """A version; those that we never gave out are as good as 0."""
    if version is None:
        return None
    is_number = version.isascii() and version.isdecimal() and len(version) < 11
    return min(int(version), _MOST) if is_number else 0


def _row(room_id: str, session_id: str, key: object) -> SessionKey:
    if not isinstance(key, dict):
        raise BadJson("a key is an object")
    first, forwarded = key.get("first_message_index"), key.get("forwarded_count")
    data, is_verified = key.get("session_data"), key.get("is_verified")
    numbers = all(type(n) is int and 0 <= n < 2**53 for n in (first, forwarded))
    if not numbers or not isinstance(data, dict) or not isinstance(is_verified, bool):
        raise BadJson("a key has first_message_index, forwarded_count, is_verified, session_data")
    if "\0" in room_id + session_id or len(room_id) > 255 or len(session_id) > 255:
        raise InvalidParam("rooms and sessions are named by at most 255 characters")
    return SessionKey(
        room_id, session_id, int(first or 0), int(forwarded or 0), is_verified, _packed(data)
    )


def _packed(value: Mapping[str, Any]) -> bytes:
    try:
        raw = orjson.dumps(value)
    except TypeError as error:
        raise BadJson("this cannot be kept") from error
    if len(raw) > LARGEST:
        raise TooLarge(f"at most {LARGEST} bytes are kept")
    return raw
