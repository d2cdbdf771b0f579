"""Rooms to test with: small graphs of really signed events, made in a few lines.

room = Room(V11)                        # created by @ann:one.test, public, everybody's levels
room.join("@bob:two.test")
left, right = room.fork(), room.fork()
left.send("m.room.topic", ANN, {"topic": "a"}, "")
right.ban(ANN, "@bob:two.test")
merged = room.merge(left, right)        # state by `resolve`
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from federation import canonical_json
from federation.auth import CREATE, authorise, select
from federation.building import Draft, Place, Signer, build
from federation.canonical_json import JsonObject
from federation.decision import Denied
from federation.events import Event, StateKey
from federation.graph import EventGraph
from federation.hashing import content_hash, essential_bytes
from federation.identifiers import EventID, KeyID, RoomID, ServerName, UserID, domain_of
from federation.room_versions import ROOM_VERSIONS, V11, EventIDFormat, RoomVersion
from federation.server_keys import Keys, ServerKey
from federation.signing import SigningKey, encode_base64
from federation.state_resolution import resolve

ANN = UserID("@ann:one.test")
BOB = UserID("@bob:two.test")
CAT = UserID("@cat:three.test")
DAN = UserID("@dan:four.test")

ALL_VERSIONS = list(ROOM_VERSIONS.values())
FAR_FUTURE = 2**52


def signer(server: str) -> Signer:
    """The server's name with its key, which follows from the name."""
    seed = hashlib.sha256(server.encode()).digest()
    return Signer(ServerName(server), SigningKey.from_seed("ed25519:1", seed))


def keys_of(*servers: str, valid_until: int = FAR_FUTURE) -> Keys:
    """The servers' public keys."""
    return {
        ServerName(s): {KeyID("ed25519:1"): ServerKey(signer(s).key.verify_key, valid_until)}
        for s in servers
    }


def message_fields(version: RoomVersion, **changed: Any) -> JsonObject:
    """A message of Ann's before it is signed, with some fields replaced; `...` removes one."""
    sent = version.event_ids is EventIDFormat.SENT
    reference = ["$parent:one.test", {"sha256": "A" * 43}] if sent else "$" + "A" * 43
    fields = {
        "type": "m.room.message",
        "room_id": "!room:one.test",
        "sender": ANN,
        "content": {"body": "hello"},
        "origin_server_ts": 1_000_000,
        "depth": 7,
        "prev_events": [reference],
        "auth_events": [reference],
        "hashes": {"sha256": "A" * 43},
        "signatures": {},
        **({"event_id": "$message:one.test"} if sent else {}),
    }
    return {key: value for key, value in {**fields, **changed}.items() if value is not ...}


def sealed(fields: JsonObject, version: RoomVersion, *servers: str) -> JsonObject:
    """The event with its right content hash, signed by these servers and nobody else."""
    digest = encode_base64(content_hash(fields, version))
    made = {**fields, "hashes": {"sha256": digest}, "signatures": {}}
    covered = essential_bytes(made, version)
    made["signatures"] = {s: {"ed25519:1": signer(s).key.sign(covered)} for s in servers}
    return made


def bytes_of(fields: JsonObject) -> bytes:
    """The fields as canonical JSON, be they allowed in the room's version or not."""
    return canonical_json.encode(fields, strict=False)


def fields_of(event: Event) -> JsonObject:
    """The event in federation format, for a test to change."""
    return canonical_json.decode_object(event.json, strict=event.version.strict_json)


def bare_event(
    event_id: str,
    kind: str = "m.room.message",
    content: JsonObject | None = None,
    state_key: str | None = None,
    *,
    version: RoomVersion = V11,
    sender: str = ANN,
    ts: int = 0,
    depth: int = 1,
    prev: Iterable[str] = (),
    auth: Iterable[str] = (),
) -> Event:
    """An event of `!room:one.test` that nobody signed: cheap, and under an ID of one's choice."""
    return Event(
        version,
        EventID(event_id),
        RoomID("!room:one.test"),
        kind,
        state_key,
        UserID(sender),
        content or {},
        ts,
        depth,
        tuple(map(EventID, prev)),
        tuple(map(EventID, auth)),
        None,
        b"",
    )


@dataclass
class Branch:
    """A line of events in a room, and the state after the last of them."""

    room: "Room"
    tips: list[Event] = field(default_factory=list)
    state: dict[StateKey, Event] = field(default_factory=dict)

    def send(
        self,
        kind: str,
        sender: str,
        content: Mapping[str, Any],
        state_key: str | None = None,
        *,
        redacts: str | None = None,
        auth_events: Iterable[Event] | None = None,
        ts: int | None = None,
        check: bool = True,
    ) -> Event:
        """Add an event; with `check`, it must be allowed by the branch's state."""
        version = self.room.version
        draft = Draft(
            kind,
            UserID(sender),
            content,
            state_key,
            None if kind == "m.room.create" and version.room_id_is_create_id else self.room.room_id,
            EventID(redacts) if redacts else None,
        )
        cited = select(kind, sender, state_key, content, version)
        chosen = [self.state[k] for k in cited if k in self.state]
        place = Place(list(self.tips), list(chosen if auth_events is None else auth_events))
        number = self.room.next_number()
        event = build(
            draft,
            place,
            version,
            signer(domain_of(sender)),
            now=1_000_000 + number * 1000 if ts is None else ts,
            opaque_id=f"e{number}",
        )
        if check:
            verdict = authorise(event, self.state)
            assert not isinstance(verdict, Denied), verdict
        self.add(event)
        return event

    def add(self, event: Event) -> None:
        """Let an event that was made elsewhere be the next."""
        self.room.events[event.event_id] = event
        self.tips = [event]
        if event.state_key is not None:
            self.state[(event.type, event.state_key)] = event

    def member(self, sender: str, target: str, membership: str, **more: Any) -> Event:
        """Add a membership event; keywords of `send` are taken, others go into the content."""
        options = {k: more.pop(k) for k in ("auth_events", "ts", "check") if k in more}
        content = {"membership": membership, **more}
        return self.send("m.room.member", sender, content, target, **options)

    def join(self, user: str, **more: Any) -> Event:
        return self.member(user, user, "join", **more)

    def leave(self, user: str, **more: Any) -> Event:
        return self.member(user, user, "leave", **more)

    def invite(self, sender: str, target: str, **more: Any) -> Event:
        return self.member(sender, target, "invite", **more)

    def kick(self, sender: str, target: str, **more: Any) -> Event:
        return self.member(sender, target, "leave", **more)

    def ban(self, sender: str, target: str, **more: Any) -> Event:
        return self.member(sender, target, "ban", **more)

    def join_rule(self, sender: str, rule: str, **more: Any) -> Event:
        return self.send("m.room.join_rules", sender, {"join_rule": rule, **more}, "")

    def power_levels(self, sender: str, content: Mapping[str, Any], **options: Any) -> Event:
        return self.send("m.room.power_levels", sender, content, "", **options)

    def fork(self) -> "Branch":
        """A second branch from here."""
        return Branch(self.room, list(self.tips), dict(self.state))

    @property
    def ids(self) -> dict[StateKey, EventID]:
        """The state by event ID, as `resolve` takes it."""
        return {key: event.event_id for key, event in self.state.items()}


class Room(Branch):
    """A room with its create event and its creator's join, and, unless `bare`, more.

    A room that is not bare is public and has power levels: the creator's 100, where it can be set.
    """

    def __init__(
        self,
        version: RoomVersion,
        creator: UserID = ANN,
        *,
        bare: bool = False,
        levels: Mapping[str, Any] | None = None,
        **create_content: Any,
    ) -> None:
        super().__init__(self)
        self.version = version
        self.creator = creator
        self.events: dict[EventID, Event] = {}
        self._count = 0
        self.room_id = RoomID(f"!room:{domain_of(creator)}")
        content = {"room_version": version.name, **create_content}
        if version.create_names_creator:
            content.setdefault("creator", creator)
        self.create = self.send("m.room.create", creator, content, "")
        self.room_id = self.create.room_id
        self.join(creator)
        if not bare:
            users = {} if version.privileged_creators else {str(creator): 100}
            self.power_levels(creator, {"users": users, **(levels or {})})
            self.join_rule(creator, "public")

    def next_number(self) -> int:
        """Counts the room's events, for times and IDs."""
        self._count += 1
        return self._count

    @property
    def graph(self) -> EventGraph:
        return EventGraph(self.events)

    def resolve(self, *branches: Branch) -> dict[StateKey, EventID]:
        """The state that the branches resolve to."""
        return resolve([b.ids for b in branches], self.graph, self.version)

    def merge(self, *branches: Branch) -> Branch:
        """A branch after all of these."""
        state = {key: self.events[e] for key, e in self.resolve(*branches).items()}
        assert CREATE in state
        return Branch(self, [tip for b in branches for tip in b.tips], state)
