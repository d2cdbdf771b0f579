"""Random rooms: a state that could be any, and other events that a malicious server could cite.

The state did not come about by events that allowed each other. That is intended: the rules must
give one answer for whatever state they are shown.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from federation import canonical_json
from federation.canonical_json import JsonObject
from federation.events import Event, StateKey, parse
from federation.identifiers import domain_of
from federation.room_versions import EventIDFormat, RoomVersion
from federation.signing import SigningKey, encode_base64
from tests.oracle.documents import HASH

ANN, BOB, CAT, DAN, EVE, FAY = USERS = (
    "@ann:a.example",
    "@bob:a.example",
    "@cat:b.example:8448",
    "@dan:b.example:8448",
    "@eve:c.example",
    "@fay:c.example",
)
"""Who may be in a room; `ANN` made it."""
STRANGER = "@gus:d.example"

MEMBERSHIPS = ("join", "invite", "leave", "ban", "knock")
JOIN_RULES = ("public", "invite", "knock", "restricted", "knock_restricted", "private")
LEVELS = (-1, 0, 1, 25, 49, 50, 51, 75, 99, 100, 101)
NAMED_LEVELS = (
    "users_default", "events_default", "state_default", "ban", "redact", "kick", "invite",
)  # fmt: skip
KINDS = (
    "m.room.topic", "m.room.power_levels", "m.room.join_rules", "m.room.message",
    "m.room.redaction", "m.room.member", "m.room.third_party_invite", "org.example.custom",
)  # fmt: skip
"""Event types that power levels speak of."""


class EventMaker:
    """Finishes events of one room: fills in what no rule looks at, finds out the identifier."""

    def __init__(self, version: RoomVersion, name: str) -> None:
        self.version = version
        self.name = name
        self.room_id = None if version.room_id_is_create_id else f"!{name}:a.example"
        self._serial = 0

    def make(
        self,
        kind: str,
        sender: str,
        content: JsonObject,
        state_key: str | None = None,
        *,
        prev: Sequence[str] = (),
        auth: Sequence[str] = (),
        depth: int = 5,
        **more: Any,
    ) -> Event:
        """An event as `federation.events.parse` reads it; `more` are further top-level keys."""
        self._serial += 1
        fields: JsonObject = {
            "type": kind,
            "room_id": self.room_id,
            "sender": sender,
            "content": content,
            "state_key": state_key,
            "depth": depth,
            "origin_server_ts": self._serial,
            "prev_events": self._references(prev),
            "auth_events": self._references(auth),
            "hashes": {"sha256": HASH},
            "signatures": {},
            **more,
        }
        if self.version.event_ids is EventIDFormat.SENT:
            fields.setdefault("event_id", f"${self.name}{self._serial}:{domain_of(sender)}")
        present = {key: value for key, value in fields.items() if value is not None}
        return parse(canonical_json.encode(present, strict=False), self.version).event

    def _references(self, ids: Sequence[str]) -> list[Any]:
        if self.version.event_ids is EventIDFormat.SENT:
            return [[event_id, {"sha256": HASH}] for event_id in ids]
        return list(ids)


@dataclass
class Room:
    """A state, and events beside it that may be cited rightly or wrongly."""

    make: EventMaker
    state: dict[StateKey, Event] = field(default_factory=dict)
    spares: list[Event] = field(default_factory=list)
    """Of this room, with keys that the state has too or could have."""
    foreign: list[Event] = field(default_factory=list)
    """Of another room."""
    rejected: list[Event] = field(default_factory=list)
    keys: list[SigningKey] = field(default_factory=list)
    """Those of an identity server; the first is in each third-party invite."""

    @property
    def version(self) -> RoomVersion:
        return self.make.version

    @property
    def create(self) -> Event:
        return self.state["m.room.create", ""]

    @property
    def all(self) -> list[Event]:
        return [*self.state.values(), *self.spares, *self.foreign, *self.rejected]


def random_room(rng: random.Random, version: RoomVersion) -> Room:
    """A room with members in all states of membership, and rules of all kinds."""
    room = Room(EventMaker(version, "r"))
    room.keys = [SigningKey.from_seed("ed25519:0", rng.randbytes(32)) for _ in range(3)]
    _add(room, _create(rng, room.make))
    other = EventMaker(version, "x")
    room.foreign = [_create(rng, other)]
    other.room_id = room.foreign[0].room_id
    for maker, into in ((room.make, None), (other, room.foreign)):
        maker.room_id = (into[0] if into else room.create).room_id
        for event in _rules_and_members(rng, maker, room.keys):
            into.append(event) if into is not None else _add(room, event)
    room.spares = _rules_and_members(rng, room.make, room.keys)
    room.rejected = [e for e in _rules_and_members(rng, room.make, room.keys) if rng.random() < 0.5]
    return room


def _add(room: Room, event: Event) -> None:
    room.state[event.type, event.state_key or ""] = event


def _create(rng: random.Random, make: EventMaker) -> Event:
    content: JsonObject = {"room_version": make.version.name, "n": rng.randrange(10**9)}
    if make.version.create_names_creator or rng.random() < 0.2:
        content["creator"] = ANN if rng.random() < 0.85 else BOB
    if rng.random() < 0.2:
        content["m.federate"] = rng.random() < 0.5
    if rng.random() < 0.4:
        content["additional_creators"] = rng.sample([BOB, CAT, STRANGER], rng.randrange(3))
    return make.make("m.room.create", ANN, content, "", depth=1)


def _rules_and_members(
    rng: random.Random, make: EventMaker, keys: Sequence[SigningKey]
) -> list[Event]:
    made = [
        make.make("m.room.member", rng.choice((user, ANN)), {"membership": membership}, user)
        for user in USERS
        if (membership := _membership(rng, user))
    ]
    if rng.random() < 0.85:
        made.append(make.make("m.room.power_levels", ANN, levels(rng, make.version), ""))
    if rng.random() < 0.9:
        made.append(make.make("m.room.join_rules", ANN, _join_rules(rng), ""))
    if rng.random() < 0.75:
        content = third_party_keys(rng, keys)
        made.append(make.make("m.room.third_party_invite", rng.choice(USERS), content, "token"))
    if rng.random() < 0.5:
        made.append(make.make("m.room.topic", ANN, {"topic": "t"}, ""))
    return made


def _membership(rng: random.Random, user: str) -> str | None:
    if user == ANN and rng.random() < 0.8:
        return "join"
    return rng.choice(("join", "join", "join", *MEMBERSHIPS, None))


def _join_rules(rng: random.Random) -> JsonObject:
    if rng.random() < 0.05:
        return {}
    return {"join_rule": rng.choice(JOIN_RULES), "allow": []}


def third_party_keys(rng: random.Random, keys: Sequence[SigningKey]) -> JsonObject:
    """The content of an invite that an identity server issued, its first key good for it."""
    public = [encode_base64(key.verify_key) for key in keys]
    content: JsonObject = {"display_name": "kit", "key_validity_url": "https://id.example/v"}
    if rng.random() < 0.7:
        content["public_key"] = public[0]
    if rng.random() < 0.5:
        content["public_keys"] = [{"public_key": key} for key in rng.sample(public[:2], 2)]
    return content


def levels(rng: random.Random, version: RoomVersion) -> JsonObject:
    """Well-formed content of `m.room.power_levels`."""
    content: JsonObject = {
        name: spelled(rng, rng.choice(LEVELS), version)
        for name in NAMED_LEVELS
        if rng.random() < 0.4
    }
    if rng.random() < 0.4:  # lest most events fail at the first hurdle
        content["state_default"] = spelled(rng, 0, version)
    creators = {ANN, BOB, CAT} if version.privileged_creators else set()
    content["users"] = {
        user: spelled(rng, 100 if user == ANN else rng.choice(LEVELS), version)
        for user in USERS
        if user not in creators and rng.random() < (0.9 if user == ANN else 0.6)
    }
    for group, names in (("events", KINDS), ("notifications", ("room",))):
        if rng.random() < 0.5:
            content[group] = {
                name: spelled(rng, rng.choice(LEVELS), version)
                for name in names
                if rng.random() < 0.3
            }
    return content


def spelled(rng: random.Random, level: int, version: RoomVersion) -> int | str | float:
    """The level in one of the spellings that the room version knows."""
    if version.integer_power_levels or rng.random() < 0.7:
        return level
    if not version.strict_json and rng.random() < 0.4:
        return level + (0.75 if level >= 0 else -0.75)
    plus = "+" if level >= 0 else ""
    return rng.choice((f"{level}", f" {level}\n", f"{plus}{level}", f"{level:05}", f"\t{level} "))
