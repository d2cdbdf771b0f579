"""Messages straight to devices.

https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from itertools import islice
from typing import Any

import orjson

from federation.identifiers import ServerName, UserID, domain_of, is_user_id
from federation.signing import encode_base64
from homeserver.errors import BadJson, InvalidParam, TooLarge
from homeserver.storage import to_device
from homeserver.storage.outgoing import Edu, queue_edus
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process
from homeserver.storage.to_device import Addressed

MOST_MESSAGES = 10_000
"""In one request."""
LARGEST = 65_536
"""Bytes of one message, as of an event."""

Messages = Mapping[str, Mapping[str, Any]]
"""By user and device, the contents."""


class DeviceMessages:
    """Delivers them."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def send(
        self, sender: UserID, device: int, kind: str, txn_id: str, messages: Messages
    ) -> None:
        """Deliver to devices of any server, once for each transaction.

        Raises:
            BadJson, InvalidParam, TooLarge: these are no messages.

        """
        local, remote = self._sorted(sender, kind, messages)
        txn = txn_id.replace("\0", "\N{REPLACEMENT CHARACTER}")[:255]
        name = f"{kind} {txn}"
        async with self._process.database.reader() as conn:
            if await to_device.was_done(conn, str(device), [name]):
                return
            if remote:
                await self._queue(conn, sender, kind, name, device, remote)
            pos = await to_device.send(conn, str(device), name, local, self._process.now())
        self._process.committed(pos)

    async def receive(self, origin: ServerName, content: Mapping[str, Any]) -> None:
        """Deliver an `m.direct_to_device` of another server; what is none is left out.

        https://spec.matrix.org/v1.19/server-server-api/#send-to-device-messaging
        """
        sender, kind, name = content.get("sender"), content.get("type"), content.get("message_id")
        messages = content.get("messages")
        texts = all(isinstance(text, str) for text in (sender, kind, name))
        if not texts or not is_user_id(sender) or domain_of(str(sender)) != origin:
            return
        if not isinstance(messages, dict):
            return
        local = list(
            islice(self._for_here(UserID(str(sender)), str(kind), messages), MOST_MESSAGES)
        )
        message_id = str(name).replace("\0", " ")[:255]
        async with self._process.database.reader() as conn:
            pos = await to_device.send(conn, origin, message_id, local, self._process.now())
        self._process.committed(pos)

    def _for_here(self, sender: UserID, kind: str, messages: Messages) -> Iterator[Addressed]:
        """Those that can be delivered: what another one is like is none of their fault."""
        for user, devices in messages.items():
            if not is_user_id(user) or domain_of(user) != self._process.server:
                continue
            for device_id, content in devices.items() if isinstance(devices, dict) else ():
                # Of such a name there is no device here.
                if "\0" not in device_id:
                    with suppress(BadJson, TooLarge):
                        yield Addressed(user, device_id, _packed(sender, kind, content))

    def _sorted(
        self, sender: UserID, kind: str, messages: Messages
    ) -> tuple[list[Addressed], dict[ServerName, dict[str, Any]]]:
        """Those for here, and those for each other server."""
        local: list[Addressed] = []
        remote: dict[ServerName, dict[str, Any]] = {}
        for user, devices in messages.items():
            if not is_user_id(user) or not isinstance(devices, dict):
                raise InvalidParam("messages are by user and device")
            for device_id, content in devices.items():
                raw = _packed(sender, kind, content)
                if domain_of(user) == self._process.server:
                    local.append(Addressed(user, device_id.replace("\0", ""), raw))
                else:
                    to_server = remote.setdefault(domain_of(user), {})
                    to_server.setdefault(user, {})[device_id] = content
        elsewhere = sum(len(devices) for users in remote.values() for devices in users.values())
        if len(local) + elsewhere > MOST_MESSAGES:
            raise TooLarge(f"at most {MOST_MESSAGES} messages are delivered at a time")
        return local, remote

    async def _queue(
        self,
        conn: Connection,
        sender: UserID,
        kind: str,
        name: str,
        device: int,
        remote: Mapping[ServerName, Mapping[str, Any]],
    ) -> None:
        nids = await self._process.numbers.servers.intern(conn, list(remote))
        edus = [
            (nids[server], _edu(sender, kind, f"{device} {name} {number}", part))
            for server, messages in remote.items()
            for number, part in enumerate(_parts(messages))
        ]
        self._process.committed(await queue_edus(conn, edus))


def _edu(sender: UserID, kind: str, name: str, messages: Messages) -> Edu:
    """What a server is sent under a name that the same messages always have.

    "Arbitrary utf8 string, of maximum length 32 codepoints".
    """
    message_id = encode_base64(sha256(name.encode()).digest()[:24])
    content = {"sender": sender, "type": kind, "message_id": message_id, "messages": messages}
    return Edu("m.direct_to_device", orjson.dumps(content), message_id)


def _parts(messages: Messages) -> Iterator[dict[str, dict[str, Any]]]:
    """The messages in parts that are not much larger than one message may be."""
    part: dict[str, dict[str, Any]] = {}
    size = 0
    for user, devices in messages.items():
        for device_id, content in devices.items():
            if size > LARGEST:
                yield part
                part, size = {}, 0
            part.setdefault(user, {})[device_id] = content
            size += len(orjson.dumps(content)) + len(user) + len(device_id)
    yield part


def _packed(sender: UserID, kind: str, content: object) -> bytes:
    if not isinstance(content, dict):
        raise BadJson("a message is an object")
    try:
        raw = orjson.dumps({"type": kind, "sender": sender, "content": content})
    except TypeError as error:
        raise BadJson("a message cannot be delivered") from error
    if len(raw) > LARGEST:
        raise TooLarge(f"a message has at most {LARGEST} bytes")
    return raw
