"""Random events to be judged in a room: most of them plausible, many of them wrong in one point."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from federation.auth import auth_events_for
from federation.canonical_json import JsonObject
from federation.events import Event
from federation.identifiers import ServerName, domain_of
from federation.signing import sign_json
from tests.oracle.rooms import (
    ANN,
    BOB,
    CAT,
    JOIN_RULES,
    KINDS,
    LEVELS,
    MEMBERSHIPS,
    NAMED_LEVELS,
    STRANGER,
    USERS,
    Room,
    levels,
    spelled,
    third_party_keys,
)


@dataclass(frozen=True)
class Sketch:
    """An event before it is known what it cites."""

    kind: str
    sender: str
    content: JsonObject
    state_key: str | None = None
    more: JsonObject | None = None


def candidate(rng: random.Random, room: Room) -> Event:
    """An event to be judged by the room's state."""
    sketches, weights = zip(*_SKETCHES, strict=True)
    sketch = rng.choices(sketches, weights)[0](rng, room)
    prev = _prev_events(rng, room, sketch)
    auth = _auth_events(rng, room, _event(room, sketch, prev, []))
    return _event(room, sketch, prev, auth)


def _prev_events(rng: random.Random, room: Room, sketch: Sketch) -> Sequence[str]:
    if sketch.kind == "m.room.create" and rng.random() < 0.8:
        return []
    create, other = room.create.event_id, room.spares[0].event_id
    return rng.choices(([other], [create], [create, other]), (85, 10, 5))[0]


def _event(room: Room, sketch: Sketch, prev: Sequence[str], auth: Sequence[str]) -> Event:
    return room.make.make(
        sketch.kind,
        sketch.sender,
        sketch.content,
        sketch.state_key,
        prev=prev,
        auth=auth,
        **(sketch.more or {}),
    )


def _auth_events(rng: random.Random, room: Room, event: Event) -> Sequence[str]:
    """What the event should cite, or something else."""
    right: list[str] = [
        room.state[key].event_id for key in auth_events_for(event) if key in room.state
    ]
    if rng.random() < 0.85:
        return right
    return rng.choice(_MISTAKES)(rng, room, right)


Mistake = Callable[[random.Random, Room, Sequence[str]], Sequence[str]]


def _drop(rng: random.Random, room: Room, right: Sequence[str]) -> Sequence[str]:
    return [event_id for event_id in right if rng.random() < 0.7]


def _drop_create(rng: random.Random, room: Room, right: Sequence[str]) -> Sequence[str]:
    return [event_id for event_id in right if event_id != room.create.event_id]


def _cite_create(rng: random.Random, room: Room, right: Sequence[str]) -> Sequence[str]:
    return [*_drop_create(rng, room, right), room.create.event_id]


def _repeat(rng: random.Random, room: Room, right: Sequence[str]) -> Sequence[str]:
    return [*right, *right[-1:]]


def _cite(events: Callable[[Room], Sequence[Event]]) -> Mistake:
    def cite(rng: random.Random, room: Room, right: Sequence[str]) -> Sequence[str]:
        return [*right, rng.choice(events(room)).event_id]

    return cite


def _swap(events: Callable[[Room], Sequence[Event]]) -> Mistake:
    """Cite others of the same keys instead."""

    def swap(rng: random.Random, room: Room, right: Sequence[str]) -> Sequence[str]:
        others = {(e.type, e.state_key): str(e.event_id) for e in events(room)}
        keys = {str(e.event_id): (e.type, e.state_key) for e in room.state.values()}
        return [others.get(keys[event_id], event_id) for event_id in right]

    return swap


_MISTAKES: Sequence[Mistake] = (
    _drop,
    _drop_create,
    _cite_create,
    _repeat,
    _cite(lambda room: list(room.state.values())),
    _cite(lambda room: room.spares),
    _cite(lambda room: room.foreign),
    _swap(lambda room: room.spares),
    _swap(lambda room: room.foreign),
    _swap(lambda room: room.rejected),
)


def _sender(rng: random.Random, room: Room) -> str:
    joined = [
        u for u in USERS if (m := room.state.get(("m.room.member", u))) and m.membership == "join"
    ]
    return rng.choice(joined) if joined and rng.random() < 0.8 else rng.choice((*USERS, STRANGER))


def _member(rng: random.Random, room: Room) -> Sketch:
    sender = _sender(rng, room) if rng.random() < 0.7 else rng.choice(USERS)
    target = sender if rng.random() < 0.4 else rng.choice(_targets(room))
    content: JsonObject = {"membership": rng.choice(MEMBERSHIPS), "displayname": "d"}
    return Sketch("m.room.member", sender, content, target)


def _deed(rng: random.Random, room: Room) -> Sketch:
    """What members do to those in the other's state of membership, if their level suffices."""
    target = rng.choice(_targets(room))
    found = room.state.get(("m.room.member", target))
    before = found.membership if found else "leave"
    membership = "invite" if before in {"leave", "knock"} else "leave"
    return Sketch("m.room.member", _sender(rng, room), {"membership": membership}, target)


def _join(rng: random.Random, room: Room) -> Sketch:
    user = rng.choice((*USERS, STRANGER))
    content: JsonObject = {"membership": "join"}
    if rng.random() < 0.6:
        content["join_authorised_via_users_server"] = rng.choice((*USERS, STRANGER))
    return Sketch("m.room.member", user, content, user)


def _knock(rng: random.Random, room: Room) -> Sketch:
    user = rng.choice((*USERS, STRANGER))
    target = user if rng.random() < 0.8 else rng.choice(_targets(room))
    return Sketch("m.room.member", user, {"membership": "knock"}, target)


def _odd_member(rng: random.Random, room: Room) -> Sketch:
    membership = rng.choice(("joined", "", 1, None, ["join"], {"a": "join"}, True))
    content: JsonObject = {} if rng.random() < 0.3 else {"membership": membership}
    if rng.random() < 0.2:
        content = {"membership": "join"}
        return Sketch("m.room.member", _sender(rng, room), content, None)
    return Sketch("m.room.member", _sender(rng, room), content, rng.choice(_targets(room)))


def _targets(room: Room) -> Sequence[str]:
    """Whose membership may change: see `differences.FEDERATE_TARGET` for why not everybody's."""
    if room.create.content.get("m.federate") is False:
        return [user for user in USERS if domain_of(user) == domain_of(room.create.sender)]
    return (*USERS, STRANGER)


def _third_party(rng: random.Random, room: Room) -> Sketch:
    """An invite by somebody's e-mail address, redeemed."""
    issued = room.state.get(("m.room.third_party_invite", "token"))
    sender = issued.sender if issued and rng.random() < 0.8 else rng.choice(USERS)
    target = rng.choice(_targets(room))
    signed: Any = {
        "mxid": target if rng.random() < 0.9 else ANN,
        "token": "token" if rng.random() < 0.9 else rng.choice(("other", 1, None)),
    }
    if rng.random() < 0.1:
        del signed[rng.choice(("mxid", "token"))]
    if rng.random() < 0.9:
        signed = sign_json(signed, ServerName("id.example"), rng.choice(room.keys))
    if rng.random() < 0.1:
        signed["mxid"] = rng.choice(USERS)
    invite: Any = {"display_name": "kit", "signed": signed}
    if rng.random() < 0.1:
        invite = rng.choice(({}, "signed", None, {"signed": 1}, {"signed": {}}, {"signed": None}))
    content = {"membership": "invite", "third_party_invite": invite}
    return Sketch("m.room.member", sender, content, target)


def _power_levels(rng: random.Random, room: Room) -> Sketch:
    """The levels in force with some changed, added or removed."""
    current = room.state.get(("m.room.power_levels", ""))
    content: JsonObject = dict(current.content) if current else levels(rng, room.version)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        content = rng.choice((_change_named, _change_group, _change_group))(rng, room, content)
    if rng.random() < 0.15:
        content = _spoil(rng, room, content)
    sender = ANN if rng.random() < 0.4 else _sender(rng, room)
    return Sketch("m.room.power_levels", sender, content, "")


def _change_named(rng: random.Random, room: Room, content: JsonObject) -> JsonObject:
    return _change(rng, room, content, NAMED_LEVELS)


def _change_group(rng: random.Random, room: Room, content: JsonObject) -> JsonObject:
    group, names = rng.choice(
        (("users", USERS), ("users", USERS), ("events", KINDS), ("notifications", ("room", "x")))
    )
    return {**content, group: _change(rng, room, content.get(group, {}), names)}


def _change(
    rng: random.Random, room: Room, content: JsonObject, names: Sequence[str]
) -> JsonObject:
    name = rng.choice(names)
    if name in content and rng.random() < 0.4:
        return {key: value for key, value in content.items() if key != name}
    return {**content, name: spelled(rng, rng.choice(LEVELS), room.version)}


def _spoil(rng: random.Random, room: Room, content: JsonObject) -> JsonObject:
    """The content with something in it that is no level."""
    wrong = rng.choice(_NO_LEVELS)
    how = rng.randrange(4)
    if how == 0:
        return {**content, rng.choice(NAMED_LEVELS): wrong}
    group = rng.choice(("users", "events", "notifications"))
    if how == 1 and (wrong or room.version.integer_power_levels):
        return {**content, group: wrong}
    if how == 2:
        return {**content, group: {**content.get(group, {}), rng.choice(USERS): wrong}}
    name = rng.choice(("bob", "@bob", "bob:a.example", ""))
    return {**content, "users": {**content.get("users", {}), name: 0}}


_NO_LEVELS: Sequence[Any] = (
    "",
    "abc",
    "5x",
    "1.5",
    "50",
    None,
    [],
    [50],
    {},
    {"a": 50},
    {"a": "x"},
)


def _create(rng: random.Random, room: Room) -> Sketch:
    content: JsonObject = {}
    if rng.random() < 0.8:
        content["creator"] = rng.choice((ANN, 1))
    if rng.random() < 0.5:
        content["room_version"] = rng.choice(("1", "2", "11", "12", "13", "", 1, None, ["1"]))
    if rng.random() < 0.4:
        content["additional_creators"] = rng.choice(_ADDITIONAL)
    sender = ANN if rng.random() < 0.8 else CAT
    has_room_id = not room.version.room_id_is_create_id or rng.random() < 0.2
    more = {} if has_room_id else {"room_id": None}
    return Sketch("m.room.create", sender, content, "", more)


_ADDITIONAL: Sequence[Any] = (
    [], [BOB], [BOB, CAT], [BOB, BOB], "", BOB, {}, None, 1, [1], [None], ["bob"], ["@bob"],
    ["bob:a.example"], ["@:a.example"], ["@bob:"], ["@bob:a.example:x"], ["@bob:a example"],
    ["@" + "b" * 300 + ":a.example"], ["@é:a.example"],
)  # fmt: skip


def _redaction(rng: random.Random, room: Room) -> Sketch:
    target = rng.choice(("$x:a.example", "$x:b.example:8448", "$x:c.example"))
    return Sketch("m.room.redaction", _sender(rng, room), {}, None, {"redacts": target})


def _aliases(rng: random.Random, room: Room) -> Sketch:
    key = rng.choice(("a.example", "b.example:8448", "c.example", "", "@ann:a.example", None))
    return Sketch("m.room.aliases", rng.choice((*USERS, STRANGER)), {"aliases": []}, key)


def _third_party_invite(rng: random.Random, room: Room) -> Sketch:
    content = third_party_keys(rng, room.keys)
    return Sketch("m.room.third_party_invite", _sender(rng, room), content, "token")


def _other(rng: random.Random, room: Room) -> Sketch:
    kind = rng.choice((*KINDS, "m.room.name"))
    if kind == "m.room.member":
        kind = "org.example.member"
    keys = (None, None, "", "x", *USERS, "@", "@x")
    key = None if kind == "m.room.message" else rng.choice(keys)
    if kind == "m.room.power_levels":
        return _power_levels(rng, room)
    if kind == "m.room.redaction":
        return _redaction(rng, room)
    content = (
        {"join_rule": rng.choice(JOIN_RULES)} if kind == "m.room.join_rules" else {"body": "b"}
    )
    return Sketch(kind, _sender(rng, room), content, key)


_SKETCHES: Sequence[tuple[Callable[[random.Random, Room], Sketch], float]] = (
    (_member, 25),
    (_deed, 12),
    (_join, 10),
    (_knock, 6),
    (_odd_member, 2),
    (_third_party, 10),
    (_power_levels, 22),
    (_create, 5),
    (_redaction, 4),
    (_aliases, 4),
    (_third_party_invite, 5),
    (_other, 12),
)
