"""Telling other servers that somebody's devices changed.

https://spec.matrix.org/v1.19/server-server-api/#device-management
"""

from collections.abc import Collection
from typing import Any

import orjson

from federation.identifiers import UserID
from homeserver.storage import device_lists
from homeserver.storage.numbers import UserNid
from homeserver.storage.outgoing import Edu, queue_edu
from homeserver.storage.process import Process


class Telling:
    """Queues what other servers are told."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def device_changed(
        self, user: UserNid, user_id: UserID, device_id: str, keys: bytes
    ) -> None:
        """A device has new keys."""
        content = self._update(user_id, device_id)
        await self._queue(
            user,
            "m.device_list_update",
            {**content, "keys": orjson.Fragment(keys)},
            f"{user_id} {device_id}",
        )

    async def devices_gone(
        self, user: UserNid, user_id: UserID, device_ids: Collection[str]
    ) -> None:
        """Devices were deleted."""
        for device_id in device_ids:
            content = {**self._update(user_id, device_id), "deleted": True}
            await self._queue(user, "m.device_list_update", content, f"{user_id} {device_id}")

    async def keys_changed(self, user: UserNid, user_id: UserID, keys: dict[str, bytes]) -> None:
        """Somebody has new keys to sign with."""
        content: dict[str, Any] = {"user_id": user_id}
        content |= {
            f"{usage}_key": orjson.Fragment(key)
            for usage, key in keys.items()
            if usage in {"master", "self_signing"}
        }
        for kind in ("m.signing_key_update", "org.matrix.signing_key_update"):
            await self._queue(user, kind, content, user_id)

    def _update(self, user_id: UserID, device_id: str) -> dict[str, Any]:
        # Without `prev_id` the other server asks for the whole list, which is never wrong.
        position = self._process.clock.position
        return {"user_id": user_id, "device_id": device_id, "stream_id": position, "prev_id": []}

    async def _queue(self, user: UserNid, kind: str, content: dict[str, Any], key: str) -> None:
        async with self._process.database.reader() as conn:
            servers = await device_lists.servers_sharing(conn, user, self._process.server)
            if servers:
                edu = Edu(kind, orjson.dumps(content), key)
                self._process.committed(await queue_edu(conn, servers, edu))
