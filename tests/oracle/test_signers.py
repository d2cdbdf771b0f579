"""Whose signatures an event needs, compared with Synapse's."""

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest

from federation import canonical_json
from federation.canonical_json import JsonObject
from federation.events import parse
from federation.identifiers import domain_of
from federation.room_versions import ROOM_VERSIONS, EventIDFormat, RoomVersion
from federation.signatures import required_signers
from tests.oracle.candidates import candidate
from tests.oracle.documents import HASH
from tests.oracle.oracle import Oracle
from tests.oracle.rooms import STRANGER, USERS, random_room
from tests.oracle.sizes import EVENTS

_SERVERS = sorted({domain_of(user) for user in (*USERS, STRANGER)})
_AUTHORISERS: Sequence[Any] = (*USERS, STRANGER, "@ann", "ann", "", None, 1, ["@ann:a.example"], {})


@pytest.mark.parametrize("version", ROOM_VERSIONS.values(), ids=lambda v: f"v{v.name}")
def test_required_signers(oracle: Oracle, version: RoomVersion) -> None:
    rng = random.Random(f"signers {version.name}")
    room = random_room(rng, version)
    events = [
        _signed(rng, json.loads(found.json), version)
        for found in (candidate(rng, room) for _ in range(EVENTS // 2))
        if found.type != "m.room.create"  # Synapse's parser refuses some, the rules do here
    ]
    answers = oracle.ask("signers", version=version.name, events=events)
    for fields, theirs in zip(events, answers, strict=True):
        signers = fields["signatures"].keys()
        event = parse(canonical_json.encode(fields, strict=False), version).event
        ours = required_signers(event) <= signers
        assert ours == (theirs is None), (json.dumps(fields), theirs)
    assert 0.2 < sum(found is None for found in answers) / len(answers) < 0.8


def _signed(rng: random.Random, fields: JsonObject, version: RoomVersion) -> JsonObject:
    """The event with the signatures of some servers, which need not be those that it needs."""
    content = fields["content"]
    if fields["type"] == "m.room.member":
        content.setdefault("membership", "leave")
    # Of other memberships, see the intended difference "authoriser-of-no-join".
    is_join = fields["type"] == "m.room.member" and content["membership"] == "join"
    if is_join and rng.random() < 0.6:
        content["join_authorised_via_users_server"] = rng.choice(_AUTHORISERS)
    if version.event_ids is EventIDFormat.SENT and rng.random() < 0.5:
        fields["event_id"] = f"$elsewhere:{rng.choice(_SERVERS)}"
    signers = rng.sample(_SERVERS, rng.randint(0, len(_SERVERS)))
    if rng.random() < 0.2:
        signers.append(domain_of(fields["sender"]))
    fields["signatures"] = {server: {"ed25519:1": HASH * 2} for server in signers}
    return fields
