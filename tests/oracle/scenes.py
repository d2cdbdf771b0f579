"""Small scenes in which Synapse and we are asked the same and answer differently.

Each function sets one up and returns both answers; `differences` says which are expected, and why.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from federation.auth import auth_events_for, authorise, check_auth_events
from federation.canonical_json import JsonObject
from federation.decision import ALLOWED
from federation.errors import EventFormatError
from federation.events import Event, parse
from federation.graph import EventGraph
from federation.hashing import content_hash
from federation.identifiers import ServerName
from federation.room_versions import RoomVersion
from federation.signatures import required_signers
from federation.signing import SigningKey, encode_base64, sign_json
from federation.state_resolution import resolve
from tests.oracle.documents import HASH
from tests.oracle.oracle import Oracle
from tests.oracle.rooms import ANN, BOB, CAT, EventMaker, Room

Shown = tuple[object, object]
"""Our answer and Synapse's."""


def plain_room(
    version: RoomVersion,
    levels: Mapping[str, Any] | None = None,
    create: Mapping[str, Any] | None = None,
) -> Room:
    """A public room of Ann's, who may do anything, and Bob's, who may not."""
    make = EventMaker(version, "d")
    room = Room(make)
    content: JsonObject = {"room_version": version.name, "creator": ANN, **(create or {})}
    _put(room, make.make("m.room.create", ANN, content, "", depth=1))
    make.room_id = room.create.room_id
    users = {} if version.privileged_creators else {ANN: 100}
    for user in (ANN, BOB):
        _put(room, make.make("m.room.member", user, {"membership": "join"}, user))
    _put(room, make.make("m.room.power_levels", ANN, {"users": users, **(levels or {})}, ""))
    _put(room, make.make("m.room.join_rules", ANN, {"join_rule": "public"}, ""))
    return room


def _put(room: Room, event: Event) -> None:
    room.state[event.type, event.state_key or ""] = event


def sent(room: Room, kind: str, sender: str, content: JsonObject, key: str | None) -> Event:
    """An event that cites what it should."""
    prev = [room.create.event_id, HASH]
    draft = room.make.make(kind, sender, content, key, prev=prev)
    auth = [room.state[k].event_id for k in auth_events_for(draft) if k in room.state]
    return room.make.make(kind, sender, content, key, prev=prev, auth=auth)


def fields_of(event: Event) -> JsonObject:
    """The event as JSON."""
    fields: JsonObject = json.loads(event.json)
    return fields


def verdicts(oracle: Oracle, room: Room, event: Event) -> Shown:
    """Whether each side allows the event."""
    state = [found.event_id for found in room.state.values()]
    (theirs,) = oracle.ask(
        "auth",
        version=room.version.name,
        room=[fields_of(found) for found in room.all],
        rejected=[],
        candidates=[{"event": fields_of(event), "state": state}],
    )
    known = {found.event_id: found for found in room.all}
    cited = check_auth_events(event, [known[found] for found in event.auth_events])
    return cited is ALLOWED and authorise(event, room.state) is ALLOWED, theirs is None


def federate_target(oracle: Oracle, version: RoomVersion) -> Shown:
    room = plain_room(version, create={"m.federate": False})
    return verdicts(oracle, room, sent(room, "m.room.member", ANN, {"membership": "ban"}, CAT))


def federate_null(oracle: Oracle, version: RoomVersion) -> Shown:
    room = plain_room(version, create={"m.federate": None})
    return verdicts(oracle, room, sent(room, "m.room.member", CAT, {"membership": "join"}, CAT))


def level(value: object) -> Callable[[Oracle, RoomVersion], Shown]:
    """Ann sets a level in a room that has levels already."""

    def show(oracle: Oracle, version: RoomVersion) -> Shown:
        room = plain_room(version)
        content = {"users": {ANN: 100}, "kick": value}
        return verdicts(oracle, room, sent(room, "m.room.power_levels", ANN, content, ""))

    return show


def no_object(oracle: Oracle, version: RoomVersion) -> Shown:
    room = plain_room(version)
    content: JsonObject = {"users": {ANN: 100}, "events": []}
    return verdicts(oracle, room, sent(room, "m.room.power_levels", ANN, content, ""))


def level_of_nobody(oracle: Oracle, version: RoomVersion) -> Shown:
    room = plain_room(version)
    users = dict(room.state["m.room.power_levels", ""].content["users"])
    content = {"users": {**users, "@cat:not a server": 0}}
    return verdicts(oracle, room, sent(room, "m.room.power_levels", ANN, content, ""))


def unread_level(oracle: Oracle, version: RoomVersion) -> Shown:
    room = plain_room(version, levels={"ban": "none"})
    return verdicts(oracle, room, sent(room, "m.room.member", CAT, {"membership": "join"}, CAT))


def target_no_user(oracle: Oracle, version: RoomVersion) -> Shown:
    room = plain_room(version)
    return verdicts(oracle, room, sent(room, "m.room.member", ANN, {"membership": "ban"}, "cat"))


def redacts_nothing(oracle: Oracle, version: RoomVersion) -> Shown:
    room = plain_room(version)
    return verdicts(oracle, room, sent(room, "m.room.redaction", BOB, {}, None))


_KEYS = [SigningKey.from_seed(f"ed25519:{n}", bytes([n] * 32)) for n in range(2)]


def invite(
    oracle: Oracle, version: RoomVersion, public_keys: Sequence[str], *, broken: bool
) -> Shown:
    room = plain_room(version)
    issued: JsonObject = {"public_keys": [{"public_key": key} for key in public_keys]}
    _put(room, room.make.make("m.room.third_party_invite", ANN, issued, "token"))
    signed: JsonObject = {"mxid": CAT, "token": "token"}
    if broken:
        signed["signatures"] = {"id.example": {"ed25519:0": HASH * 2}}
    signed = sign_json(signed, ServerName("id.example"), _KEYS[1])
    content = {"membership": "invite", "third_party_invite": {"signed": signed}}
    return verdicts(oracle, room, sent(room, "m.room.member", ANN, content, CAT))


def second_signature(oracle: Oracle, version: RoomVersion) -> Shown:
    return invite(oracle, version, [encode_base64(_KEYS[1].verify_key)], broken=True)


def second_key(oracle: Oracle, version: RoomVersion) -> Shown:
    return invite(oracle, version, ["short", encode_base64(_KEYS[1].verify_key)], broken=False)


def authoriser_of_a_leave(oracle: Oracle, version: RoomVersion) -> Shown:
    room = plain_room(version)
    content: JsonObject = {"membership": "leave", "join_authorised_via_users_server": CAT}
    event = sent(room, "m.room.member", ANN, content, ANN)
    fields = {**fields_of(event), "signatures": {"a.example": {"ed25519:1": HASH * 2}}}
    (theirs,) = oracle.ask("signers", version=version.name, events=[fields])
    return required_signers(event) <= fields["signatures"].keys(), theirs is None


def hashed_keys(oracle: Oracle, version: RoomVersion) -> Shown:
    """Whether the content hash covers a top-level key that Synapse once used for itself."""
    room = plain_room(version)
    plain = fields_of(sent(room, "m.room.message", ANN, {"body": "b"}, None))
    marked = {**plain, "age_ts": 1, "outlier": True, "destinations": []}
    seed = encode_base64(bytes(32))
    first, second = oracle.ask(
        "facts", version=version.name, events=[plain, marked], server="a.example", seed=seed
    )
    ours = content_hash(plain, version) != content_hash(marked, version)
    return ours, first["content_hash"] != second["content_hash"]


def parsed(**replaced: Any) -> Callable[[Oracle, RoomVersion], Shown]:
    """Whether each side takes a document for an event if one of its keys is replaced."""

    def show(oracle: Oracle, version: RoomVersion) -> Shown:
        room = plain_room(version)
        fields = {**fields_of(sent(room, "m.room.message", ANN, {}, None)), **replaced}
        (theirs,) = oracle.ask("parsed", version=version.name, events=[fields])
        try:
            parse(json.dumps(fields).encode(), version)
        except EventFormatError:
            return False, theirs is None
        return True, theirs is None

    return show


def rejected_before(oracle: Oracle, version: RoomVersion) -> Shown:
    """Whether a topic that was rejected once can win where the resolution finds it allowed."""
    room = plain_room(version)
    topic = sent(room, "m.room.topic", ANN, {"topic": "t"}, "")
    before = {key: found.event_id for key, found in room.state.items()}
    states = [before, {**before, ("m.room.topic", ""): topic.event_id}]
    events = {found.event_id: found for found in (*room.all, topic)}
    ours = resolve(states, EventGraph(events, {topic.event_id}), version)
    (theirs,) = oracle.ask(
        "resolve",
        version=version.name,
        room_id=topic.room_id,
        room=[fields_of(found) for found in events.values()],
        rejected=[topic.event_id],
        merges=[[list(state.values()) for state in states]],
    )
    return topic.event_id in ours.values(), topic.event_id in theirs
