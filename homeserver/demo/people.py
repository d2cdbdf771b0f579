"""A person with one device: asks the server, follows `/sync`, encrypts and decrypts."""

import asyncio
import json
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast
from urllib.parse import quote

import aiohttp

from homeserver.demo.olm import CannotDecryptError, Device, Json, is_cross_signed
from homeserver.demo.servers import DemoError

V3 = "/_matrix/client/v3"
_PATIENCE = 20.0
"""Seconds in which something that was done must have arrived."""


class Seen(NamedTuple):
    """An event of the room as a person sees it."""

    event_id: str
    sender: str
    kind: str
    content: Json
    decrypted: bool


@dataclass
class Person:
    """Somebody with an account. Made by `register`."""

    name: str
    user_id: str
    device: Device
    _url: str
    _token: str
    _session: aiohttp.ClientSession
    _trust: ssl.SSLContext
    since: str | None = None
    seen: list[Seen] = field(default_factory=list)
    invites: dict[str, Json] = field(default_factory=dict)
    members: dict[str, str] = field(default_factory=dict)
    _transactions: int = 0

    async def ask(self, method: str, path: str, body: Json | None = None, **query: str) -> Json:
        """One request; anything but 200 is an error."""
        data = None if body is None else json.dumps(body).encode()
        found = await self._request(method, path, data, query)
        return cast("Json", json.loads(found))

    async def set_up_encryption(self) -> None:
        """Publish the device's keys, one-time keys and cross-signing keys."""
        device = self.device
        keys = {"device_keys": device.device_keys(), "one_time_keys": device.one_time_keys()}
        await self.ask("POST", f"{V3}/keys/upload", keys)
        await self.ask("POST", f"{V3}/keys/device_signing/upload", device.cross_signing_keys())
        answer = await self.ask("POST", f"{V3}/keys/signatures/upload", device.own_signature())
        if answer.get("failures"):
            raise DemoError(f"{self.name}'s device could not be cross-signed")

    async def sync(self, wait: int = 0) -> None:
        """Take in what is new; wait for it for so many milliseconds."""
        query = {"timeout": str(wait)}
        if self.since:
            query["since"] = self.since
        answer = await self.ask("GET", f"{V3}/sync", None, **query)
        for message in answer.get("to_device", {}).get("events", ()):
            if message["type"] == "m.room.encrypted":
                self.device.receive_olm(message["content"])
        rooms = answer.get("rooms", {})
        self.invites.update(rooms.get("invite", {}))
        for room in (*rooms.get("join", {}).values(), *rooms.get("leave", {}).values()):
            for event in (*_events(room, "state"), *_events(room, "timeline")):
                self._take(event)
        self.since = answer["next_batch"]

    async def until(self, true: Callable[["Person"], object], what: str) -> None:
        """Follow `/sync` until something is so."""
        try:
            async with asyncio.timeout(_PATIENCE):
                while not true(self):
                    await self.sync(wait=2000)
        except TimeoutError:
            raise DemoError(f"{self.name} waited in vain for {what}") from None

    async def send(self, room_id: str, kind: str, content: Json) -> str:
        """Send an event as it is; answers its ID."""
        self._transactions += 1
        path = f"{V3}/rooms/{quote(room_id)}/send/{kind}/{self._transactions}"
        return str((await self.ask("PUT", path, content))["event_id"])

    async def say(self, room_id: str, kind: str, content: Json) -> str:
        """Send an event, encrypted for who is in the room now."""
        if self.device.outbound is None:
            await self._share_room_key(room_id)
        encrypted = self.device.encrypt(room_id, kind, content)
        return await self.send(room_id, "m.room.encrypted", encrypted)

    async def upload(self, data: bytes) -> str:
        """Upload bytes; answers their `mxc://`."""
        found = await self._request("POST", "/_matrix/media/v3/upload", data, {})
        return str(json.loads(found)["content_uri"])

    async def download(self, mxc: str) -> bytes:
        """Fetch bytes from whatever server has them."""
        path = mxc.removeprefix("mxc://")
        return await self._request("GET", f"/_matrix/client/v1/media/download/{path}", None, {})

    def text_of(self, event_id: str) -> str | None:
        """What a message says, if it is here and could be decrypted."""
        found = next((seen for seen in self.seen if seen.event_id == event_id), None)
        return str(found.content.get("body")) if found and found.decrypted else None

    async def _share_room_key(self, room_id: str) -> None:
        """Begin a session and send its key to every device in the room, by Olm."""
        users = [user for user, membership in self.members.items() if membership == "join"]
        devices = await self._devices(users)
        await self._open_sessions(devices)
        key = self.device.new_room_key(room_id)
        messages: dict[str, dict[str, Json]] = {}
        for keys in devices:
            message = self.device.encrypt_olm(keys, None, "m.room_key", key)
            messages.setdefault(keys["user_id"], {})[keys["device_id"]] = message
        self._transactions += 1
        path = f"{V3}/sendToDevice/m.room.encrypted/{self._transactions}"
        await self.ask("PUT", path, {"messages": messages})

    async def _devices(self, users: Sequence[str]) -> list[Json]:
        """The keys of the users' devices, all of which must be cross-signed; not our own."""
        answer = await self.ask(
            "POST", f"{V3}/keys/query", {"device_keys": {user: [] for user in users}}
        )
        if answer.get("failures"):
            raise DemoError(f"the keys cannot be had of {list(answer['failures'])}")
        devices = []
        for user in users:
            for keys in answer["device_keys"].get(user, {}).values():
                master = answer["master_keys"][user]
                self_signing = answer["self_signing_keys"][user]
                if not is_cross_signed(keys, master, self_signing):
                    raise DemoError(f"a device of {user} is not cross-signed")
                devices.append(keys)
        return [keys for keys in devices if keys["device_id"] != self.device.device_id]

    async def _open_sessions(self, devices: Sequence[Json]) -> None:
        wanted: dict[str, dict[str, str]] = {}
        for keys in devices:
            if not self.device.has_session(keys):
                wanted.setdefault(keys["user_id"], {})[keys["device_id"]] = "signed_curve25519"
        if not wanted:
            return
        claimed = await self.ask("POST", f"{V3}/keys/claim", {"one_time_keys": wanted})
        for keys in devices:
            named = claimed["one_time_keys"].get(keys["user_id"], {}).get(keys["device_id"], {})
            for key in named.values():
                self.device.encrypt_olm(keys, key["key"], "m.dummy", {})

    def _take(self, event: Json) -> None:
        if event["type"] == "m.room.member":
            self.members[event["state_key"]] = event["content"]["membership"]
            # Whoever has left must not read what comes.
            self.device.outbound = None
        kind, content, decrypted = event["type"], event["content"], False
        if kind == "m.room.encrypted" and "ciphertext" in content:
            try:
                payload = self.device.decrypt(content)
            except CannotDecryptError:
                pass
            else:
                kind, content, decrypted = payload["type"], payload["content"], True
        if not any(seen.event_id == event["event_id"] for seen in self.seen):
            self.seen.append(Seen(event["event_id"], event["sender"], kind, content, decrypted))

    async def _request(
        self, method: str, path: str, data: bytes | None, query: dict[str, str]
    ) -> bytes:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        async with self._session.request(
            method, self._url + path, data=data, params=query, headers=headers, ssl=self._trust
        ) as response:
            found = await response.read()
            if response.status != 200:
                raise DemoError(f"{method} {path}: {response.status} {found.decode()}")
            return found


async def register(
    session: aiohttp.ClientSession, url: str, trust: ssl.SSLContext, name: str
) -> Person:
    """Make an account for somebody, with a device that encrypts."""
    body = {"username": name, "password": f"{name} likes Matrix", "auth": {"type": "m.login.dummy"}}
    path = f"{url}{_REGISTER}"
    async with session.post(path, data=json.dumps(body).encode(), ssl=trust) as response:
        made = await response.json()
        if response.status != 200:
            raise DemoError(f"{name} cannot register: {made}")
    device = Device(made["user_id"], made["device_id"])
    person = Person(
        name.capitalize(), made["user_id"], device, url, made["access_token"], session, trust
    )
    await person.set_up_encryption()
    return person


_REGISTER = f"{V3}/register"


def _events(room: Any, section: str) -> Sequence[Json]:
    return cast("Sequence[Json]", room.get(section, {}).get("events", ()))
