"""A server made of `federation/` alone, which does what a test tells it, honest or not."""

import io
import itertools
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from federation import x_matrix
from federation.auth import select
from federation.building import Draft, Place, Signer, build, sign_event
from federation.canonical_json import JsonObject
from federation.events import Event, StateKey, parse
from federation.identifiers import EventID, RoomID, ServerName, UserID
from federation.room_versions import ROOM_VERSIONS, EventIDFormat, RoomVersion
from federation.signing import SigningKey
from tests.servers import Hearth, record

V1 = "/_matrix/federation/v1"
V2 = "/_matrix/federation/v2"
_FEW = 100
"""Entries of a state that is remembered for each event."""
_numbers = itertools.count(1)


@dataclass
class Room:
    """A room as the peer knows it."""

    room_id: RoomID
    version: RoomVersion
    state: dict[StateKey, Event]
    tips: list[Event]
    before: dict[EventID, dict[StateKey, Event]] = field(default_factory=dict)
    """The states before events, where they matter."""

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
    policy_key: SigningKey
    """With which it signs as a policy server."""
    known: dict[EventID, Event] = field(default_factory=dict)
    """What it answers with."""
    told: list[JsonObject] = field(default_factory=list)
    """The transactions that came."""
    asked_from: list[int] = field(default_factory=list)
    """The ports from which it was, one for each connection."""
    invited: list[JsonObject] = field(default_factory=list)
    """The bodies of the invitations that came."""
    asked: list[str] = field(default_factory=list)
    """The paths that were asked for."""
    devices: dict[str, JsonObject] = field(default_factory=dict)
    """What it answers of the devices of its users, as `GET /user/devices/{userId}`."""
    hosted: dict[RoomID, Room] = field(default_factory=dict)
    """Rooms that it lets others into."""
    strangers: dict[ServerName, Signer] = field(default_factory=dict)
    """Servers that nobody can reach, whose keys the peer tells."""
    lies: dict[str, Callable[[Any], Any]] = field(default_factory=dict)
    """What becomes of honest answers, by the endpoint."""

    @property
    def signer(self) -> Signer:
        return Signer(self.name, self.key)

    def user(self, localpart: str) -> UserID:
        return UserID(f"@{localpart}:{self.name}")

    def heard(self, kind: str) -> list[JsonObject]:
        """The contents of the EDUs of a type that came, in order."""
        edus = [edu for transaction in self.told for edu in transaction["edus"]]
        return [edu["content"] for edu in edus if edu["edu_type"] == kind]

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
            data=None if content is None else io.BytesIO(json.dumps(content).encode()),
            headers={"Authorization": header},
        ) as response:
            answer = await response.json()
            record(method, path, content, response.status, answer)
            return response.status, answer

    async def join(self, room_id: RoomID, user: UserID) -> Room:
        """Join somebody, as servers do."""
        event, answer = await self.send_join(room_id, user)
        state = [read(one, event.version) for one in answer["state"]]
        for one in [*state, *(read(e, event.version) for e in answer["auth_chain"]), event]:
            self.known[one.event_id] = one
        entries = {(e.type, e.state_key or ""): e for e in state}
        room = Room(room_id, event.version, entries, [event])
        room.add(event)
        return room

    async def send_join(
        self, room_id: RoomID, user: UserID, query: str = ""
    ) -> tuple[Event, JsonObject]:
        """The event with which somebody joins, and what the server tells of the room."""
        versions = "&".join(f"ver={name}" for name in ROOM_VERSIONS)
        path = f"{V1}/make_join/{quote(room_id)}/{quote(user)}?{versions}"
        status, made = await self.ask("GET", path)
        assert status == 200, made
        version = ROOM_VERSIONS[made["room_version"]]
        fields = {**made["event"], "origin_server_ts": now_ms()}
        if version.event_ids is EventIDFormat.SENT:
            fields["event_id"] = f"$j{next(_numbers)}:{self.name}"
        event = sign_event(fields, version, self.signer)
        path = f"{V2}/send_join/{quote(room_id)}/{quote(event.event_id)}{query}"
        status, answer = await self.ask("PUT", path, json.loads(event.json))
        assert status == 200, answer
        return event, answer

    def take(self, room: Room, raw: JsonObject) -> Event:
        """An event of somebody else, which is the latest in the room now."""
        event = read(raw, room.version)
        self.known[event.event_id] = event
        room.add(event)
        return event

    def stranger(self, name: str) -> Signer:
        """A server that nobody can reach."""
        key = SigningKey.from_seed("ed25519:1", next(_numbers).to_bytes(32, "big"))
        stranger = Signer(ServerName(name), key)
        self.strangers[stranger.server] = stranger
        return stranger

    def found(self, creator: UserID, version: str = "11", rule: str = "public") -> Room:
        """A room of the peer's own, which others may join."""
        known = ROOM_VERSIONS[version]
        room = Room(RoomID(f"!{next(_numbers)}:{self.name}"), known, {}, [])
        # Rooms of version 12 that are made in the same millisecond are the same room otherwise.
        content: JsonObject = {"room_version": version, "test.number": next(_numbers)}
        if known.create_names_creator:
            content["creator"] = creator
        if known.room_id_is_create_id:
            room.room_id = None  # type: ignore[assignment]
        room.room_id = self.say_state(room, "m.room.create", content, creator).room_id
        self.say_state(room, "m.room.member", {"membership": "join"}, creator, creator)
        users = {} if known.room_id_is_create_id else {creator: 100}
        self.say_state(room, "m.room.power_levels", {"users": users}, creator)
        self.say_state(room, "m.room.join_rules", {"join_rule": rule}, creator)
        self.hosted[room.room_id] = room
        return room

    def say_state(
        self,
        room: Room,
        kind: str,
        content: Mapping[str, Any],
        sender: UserID,
        state_key: str = "",
        **more: Any,
    ) -> Event:
        """An entry of the room's state, added to it."""
        event = self.make(room, kind, content, sender, state_key, **more)
        room.add(event)
        return event

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
        signer: Signer | None = None,
        sticky: int | None = None,
    ) -> Event:
        """An event of the room, at its end unless told otherwise; it is not added there."""
        draft = Draft(kind, sender, content, state_key, room.room_id, redacts, sticky)
        at = place or room.place(kind, sender, state_key, content)
        by = signer or self.signer
        opaque = f"p{next(_numbers)}"
        event = build(draft, at, room.version, by, now=now or now_ms(), opaque_id=opaque)
        self.known[event.event_id] = event
        if len(room.state) < _FEW:
            room.before[event.event_id] = dict(room.state)
        return event

    async def invite(self, room: Room, sender: UserID, user_id: str) -> Event:
        """Invite somebody of the server, who need not be in the room."""
        event, (status, answer) = await self.try_invite(room, sender, user_id, [])
        assert status == 200, answer
        return event

    async def try_invite(
        self, room: Room, sender: UserID, user_id: str, shown: Iterable[Any]
    ) -> tuple[Event, tuple[int, Any]]:
        """The invitation, and what is answered."""
        content = {"membership": "invite"}
        event = self.make(room, "m.room.member", content, sender, user_id)
        body = {
            "event": json.loads(event.json),
            "room_version": room.version.name,
            "invite_room_state": list(shown),
        }
        path = f"{V2}/invite/{quote(room.room_id)}/{quote(event.event_id)}"
        return event, await self.ask("PUT", path, body)

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
            "origin_server_ts": now_ms(),
            "pdus": pdus,
            "edus": list(edus),
        }
        status, answer = await self.ask("PUT", f"{V1}/send/{txn or next(_numbers)}", body)
        assert status == 200, answer
        results: dict[str, Any] = answer["pdus"]
        return results


def read(raw: JsonObject, version: RoomVersion) -> Event:
    """An event as it came."""
    return parse(json.dumps(raw).encode(), version).event


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
