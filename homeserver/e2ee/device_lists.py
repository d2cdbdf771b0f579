"""Whose devices a client has to look at again.

https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from federation.identifiers import ServerName, UserID, domain_of, is_user_id
from homeserver.storage import device_lists
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process


class Changes(NamedTuple):
    """What changed between two positions."""

    changed: tuple[UserID, ...]
    left: tuple[UserID, ...]
    """With whom no room is shared any more."""


class DeviceLists:
    """Knows what changed."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def changed_since(self, user: UserNid, after: int, up_to: int) -> Changes:
        """What changed for a user between two positions."""
        async with self._process.database.reader() as conn:
            changed = await device_lists.changed(conn, user, after, up_to)
            left = await device_lists.left(conn, user, after)
        return Changes(tuple(sorted(changed)), tuple(sorted(left)))

    async def receive(self, origin: ServerName, content: Mapping[str, Any]) -> None:
        """Another server says that devices, or keys, of somebody there changed.

        Nothing of it is kept: who wants to know the keys now is told by that server.
        https://spec.matrix.org/v1.19/server-server-api/#device-management
        """
        user = content.get("user_id")
        if not is_user_id(user) or domain_of(str(user)) != origin:
            return
        async with self._process.database.reader() as conn:
            # Of people whom nobody here ever met, nobody wants to know.
            known = await self._process.numbers.users.find(conn, [str(user)])
            if known:
                self._process.committed(await device_lists.touch(conn, list(known.values())))
