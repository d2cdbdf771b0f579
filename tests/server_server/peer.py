"""A server made of `federation/` alone, which does what a test tells it, honest or not."""

import itertools
import json
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import web
from yarl import URL

from federation import x_matrix
from federation.auth import select
from federation.building import Draft, Place, Signer, build, sign_event
from federation.canonical_json import JsonObject
from federation.events import Event, StateKey, parse
from federation.identifiers import EventID, RoomID, ServerName, UserID
from federation.room_versions import ROOM_VERSIONS, RoomVersion
from federation.server_keys import build_document
from federation.signing import SigningKey
from homeserver.http.listeners import bind
from tests.federation.net.loopback import Authority
from tests.servers import LOOPBACK, Hearth

V1 = "/_matrix/federation/v1"
V2 = "/_matrix/federation/v2"
_numbers = itertools.count(1)


@dataclass
class Room:
    """A room as the peer knows it."""

    room_id: RoomID
    version: RoomVersion
    state: dict[StateKey, Event]
    tips: list[Event]

    def place(
        self, kind: str, sender: UserID, key: str | None, content: Mapping[str, Any]
    ) -> Place:
        """Behind the tips, with the auth events that belong there."""
        keys = select(kind, sender, key, content, self.version)
        return Place(list(self.tips), [self.state[k] for k in keys if k in self.state])

    def add(self, event: Event) -> None:
        """The event is the latest now."""
        self.tips = [event]
        if event.state_key is not None:
            self.state[(event.type, event.state_key)] = event


@dataclass
class Peer:
    """It answers what it is asked with what it has, and notes what it is told."""

    name: ServerName
    key: SigningKey
    hearth: Hearth
    session: aiohttp.ClientSession
    known: dict[EventID, Event] = field(default_factory=dict)
    """What it answers with."""
    told: list[JsonObject] = field(default_factory=list)
    """The transactions that came."""
    asked: list[str] = field(default_factory=list)
    """The paths that were asked for."""

    @property
    def signer(self) -> Signer:
        return Signer(self.name, self.key)

    def user(self, localpart: str) -> UserID:
        return UserID(f"@{localpart}:{self.name}")

    async def ask(
        self, method: str, path: str, content: Any = None, *, key: SigningKey | None = None
    ) -> tuple[int, Any]:
        """A signed request to the server; status and JSON of the answer."""
        header = x_matrix.sign_request(
            key=key or self.key,
            origin=self.name,
            destination=self.hearth.name,
            method=method,
            uri=path,
            content=content,
        )
        async with self.session.request(
            method,
            URL(self.hearth.url + path, encoded=True),
            json=content,
            headers={"Authorization": header},
        ) as response:
            return response.status, await response.json()

    async def join(self, room_id: RoomID, user: UserID) -> Room:
        """Join somebody, as servers do."""
        versions = "&".join(f"ver={name}" for name in ROOM_VERSIONS)
        path = f"{V1}/make_join/{quote(room_id)}/{quote(user)}?{versions}"
        status, made = await self.ask("GET", path)
        assert status == 200, made
        version = ROOM_VERSIONS[made["room_version"]]
        fields = {**made["event"], "origin_server_ts": _now()}
        event = sign_event(fields, version, self.signer)
        path = f"{V2}/send_join/{quote(room_id)}/{quote(event.event_id)}"
        status, answer = await self.ask("PUT", path, json.loads(event.json))
        assert status == 200, answer
        state = [_read(one, version) for one in answer["state"]]
        for one in [*state, *(_read(e, version) for e in answer["auth_chain"]), event]:
            self.known[one.event_id] = one
        room = Room(room_id, version, {(e.type, e.state_key or ""): e for e in state}, [event])
        room.add(event)
        return room

    def make(
        self,
        room: Room,
        kind: str,
        content: Mapping[str, Any],
        sender: UserID,
        state_key: str | None = None,
        *,
        place: Place | None = None,
        redacts: EventID | None = None,
        now: int | None = None,
    ) -> Event:
        """An event of the room, at its end unless told otherwise; it is not added there."""
        draft = Draft(kind, sender, content, state_key, room.room_id, redacts)
        at = place or room.place(kind, sender, state_key, content)
        event = build(
            draft, at, room.version, self.signer, now=now or _now(), opaque_id=f"p{next(_numbers)}"
        )
        self.known[event.event_id] = event
        return event

    def say(self, room: Room, text: str, sender: UserID, **more: Any) -> Event:
        return self.make(
            room, "m.room.message", {"msgtype": "m.text", "body": text}, sender, **more
        )

    async def send(
        self,
        events: Iterable[Event | Any] = (),
        edus: Iterable[Any] = (),
        txn: str | None = None,
    ) -> dict[str, Any]:
        """A transaction; what became of each event."""
        pdus = [json.loads(e.json) if isinstance(e, Event) else e for e in events]
        body = {
            "origin": self.name,
            "origin_server_ts": _now(),
            "pdus": pdus,
            "edus": list(edus),
        }
        status, answer = await self.ask("PUT", f"{V1}/send/{txn or next(_numbers)}", body)
        assert status == 200, answer
        results: dict[str, Any] = answer["pdus"]
        return results

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        if request.path == "/_matrix/key/v2/server":
            return web.json_response(build_document(self.name, [self.key], [], _now() + 86_400_000))
        what = request.path.removeprefix(V1 + "/").split("/")[0]
        if what == "send":
            self.told.append(await request.json())
            return web.json_response({"pdus": {}})
        if what == "get_missing_events":
            return web.json_response({"events": self._between(await request.json())})
        if what == "event":
            event = self.known.get(EventID(request.path.rsplit("/", 1)[1]))
            if event is not None:
                return web.json_response({"pdus": [json.loads(event.json)]})
        if what == "event_auth":
            event = self.known.get(EventID(request.path.rsplit("/", 1)[1]))
            return web.json_response({"auth_chain": self._chain([event] if event else [])})
        return web.json_response({"errcode": "M_UNRECOGNIZED", "error": "no"}, status=404)

    def _between(self, wanted: JsonObject) -> list[Any]:
        found: dict[EventID, Event] = {}
        pending = [self.known[i] for i in wanted["latest_events"] if i in self.known]
        while pending:
            for parent in pending.pop().prev_events:
                event = self.known.get(parent)
                if event and parent not in found and parent not in wanted["earliest_events"]:
                    found[parent] = event
                    pending.append(event)
        return [json.loads(event.json) for event in found.values()][: wanted["limit"]]

    def _chain(self, events: list[Event]) -> list[Any]:
        found: dict[EventID, Event] = {}
        pending = list(events)
        while pending:
            for cited in pending.pop().auth_events:
                if cited in self.known and cited not in found:
                    found[cited] = self.known[cited]
                    pending.append(self.known[cited])
        return [json.loads(event.json) for event in found.values()]


@asynccontextmanager
async def peering(hearth: Hearth, authority: Authority) -> AsyncIterator[Peer]:
    """A peer of a server, on loopback."""
    bound = bind(LOOPBACK, 0)
    name = ServerName(f"127.0.0.1:{bound.getsockname()[1]}")
    key = SigningKey.from_seed("ed25519:peer", bound.getsockname()[1].to_bytes(32, "big"))
    connector = aiohttp.TCPConnector(ssl=False)
    async with aiohttp.ClientSession(connector=connector) as session:
        peer = Peer(name, key, hearth, session)
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", peer._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        tls = authority.server_context("127.0.0.1")
        await web.SockSite(runner, bound, ssl_context=tls).start()
        try:
            yield peer
        finally:
            await runner.cleanup()


def _read(raw: JsonObject, version: RoomVersion) -> Event:
    return parse(json.dumps(raw).encode(), version).event


def _now() -> int:
    return time.time_ns() // 1_000_000
