"""The authorisation rules and the selection of auth events, compared with Synapse's."""

import json
import random
from collections import Counter
from collections.abc import Iterable, Sequence

import pytest

from federation.auth import auth_events_for, authorise, check_auth_events
from federation.canonical_json import JsonObject
from federation.decision import ALLOWED, Decision, Denied
from federation.events import Event
from federation.room_versions import ROOM_VERSIONS, RoomVersion
from tests.oracle.candidates import candidate
from tests.oracle.oracle import Oracle
from tests.oracle.rooms import Room, random_room
from tests.oracle.sizes import EVENTS

_PER_ROOM = 25
_ALLOWED = "allowed"

ALL_VERSIONS = pytest.mark.parametrize(
    "version", ROOM_VERSIONS.values(), ids=lambda version: f"v{version.name}"
)


@ALL_VERSIONS
def test_verdicts(oracle: Oracle, version: RoomVersion) -> None:
    """Both sides allow and deny the same, and the random events try every rule there is."""
    counts: Counter[str] = Counter()
    for number in range(max(1, EVENTS // _PER_ROOM)):
        seed = f"auth {version.name} {number}"
        counts += _compare(oracle, seed, version)
    print(f"version {version.name}: {dict(counts.most_common())}")
    assert 0.2 <= counts[_ALLOWED] / counts.total() <= 0.8
    assert EVENTS < 2000 or _rules_of(version) <= counts.keys()


@ALL_VERSIONS
def test_auth_types(oracle: Oracle, version: RoomVersion) -> None:
    """Both sides want the same state cited."""
    rng = random.Random(f"auth types {version.name}")
    room = random_room(rng, version)
    events = [candidate(rng, room) for _ in range(EVENTS // 4)]
    answers = oracle.ask(
        "facts",
        version=version.name,
        events=[_fields(event) for event in events],
        server="a.example",
        seed="A" * 43,
    )
    for event, theirs in zip(events, answers, strict=True):
        # Synapse finds no types where membership or third-party invite are malformed; no such
        # event is allowed on either side, so what it cites does not matter.
        if theirs.get("auth_types") is not None:
            ours = auth_events_for(event)
            assert _wanted(ours, version) == _wanted(theirs["auth_types"], version), event.json


def _compare(oracle: Oracle, seed: str, version: RoomVersion) -> Counter[str]:
    rng = random.Random(seed)
    room = random_room(rng, version)
    events = [candidate(rng, room) for _ in range(_PER_ROOM)]
    state = [event.event_id for event in room.state.values()]
    oracle.begin(
        "auth",
        version=version.name,
        room=[_fields(event) for event in room.all],
        rejected=[event.event_id for event in room.rejected],
        candidates=[{"event": _fields(event), "state": state} for event in events],
    )
    ours = [_verdict(event, room) for event in events]
    for number, (event, mine, theirs) in enumerate(zip(events, ours, oracle.finish(), strict=True)):
        if (mine is ALLOWED) != (theirs is None):
            pytest.fail(_report(f"{seed}, event {number}", event, room, mine, theirs))
    return Counter(found.rule if isinstance(found, Denied) else _ALLOWED for found in ours)


def _verdict(event: Event, room: Room) -> Decision:
    known = {cited.event_id: cited for cited in room.all}
    rejected = {cited.event_id for cited in room.rejected}
    cited = check_auth_events(event, [known[found] for found in event.auth_events], rejected)
    return authorise(event, room.state) if cited is ALLOWED else cited


def _fields(event: Event) -> JsonObject:
    fields: JsonObject = json.loads(event.json)
    return fields


def _wanted(keys: Iterable[Sequence[str]], version: RoomVersion) -> set[tuple[str, ...]]:
    """Synapse names the create event in every version, and keys that no state can have."""
    wanted = {tuple(key) for key in keys if isinstance(key[1], str)}
    return wanted - {("m.room.create", "")} if version.room_id_is_create_id else wanted


def _report(where: str, event: Event, room: Room, ours: Decision, theirs: str | None) -> str:
    state = {f"{kind}|{key}": found.content for (kind, key), found in room.state.items()}
    return "\n".join(
        (
            f"version {room.version.name}, seed {where!r}",
            f"we say: {ours}",
            f"Synapse: {theirs or 'allowed'}",
            f"event: {event.json.decode()}",
            f"state: {json.dumps(state)}",
        )
    )


def _rules_of(version: RoomVersion) -> set[str]:
    """The names of the rules that random events must meet, in versions that have them."""
    rules = set(_EVERYWHERE)
    if version.room_id_is_create_id:
        rules -= {"auth_events.create"}
    if version.create_names_creator:
        rules |= {"create.creator"}
    if version.privileged_creators:
        rules |= {"create.additional_creators", "power_levels.creators"}
    if version.aliases_by_domain:
        rules |= {"aliases.state_key", "aliases.domain"}
    if version.redactions_need_level:
        rules |= {"redaction"}
    if version.integer_power_levels:
        rules |= {"power_levels.integers"}
    if version.restricted_join_rules:
        rules |= {"join.authoriser"}
    if version.knock_join_rules:
        rules |= {"knock.join_rule", "knock.sender", "knock.membership"}
    return rules


_EVERYWHERE = (
    "auth_events.create", "auth_events.duplicate", "auth_events.rejected", "auth_events.room",
    "auth_events.unexpected", "ban.level", "ban.sender", "create.prev_events", "create.room_id",
    "create.room_version", "federate", "invite.level", "invite.sender", "invite.target",
    "invite.third_party.banned", "invite.third_party.mxid", "invite.third_party.properties",
    "invite.third_party.sender", "invite.third_party.signature", "invite.third_party.signed",
    "invite.third_party.token", "join.banned", "join.join_rule", "join.sender", "leave.level",
    "leave.membership", "leave.sender", "leave.unban", "member.malformed", "member.unknown",
    "power_levels.change", "power_levels.user", "power_levels.users", "sender.level",
    "sender.membership", "state_key", "third_party_invite.level",
)  # fmt: skip
