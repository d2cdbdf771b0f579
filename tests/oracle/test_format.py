"""What is an event at all, compared with Synapse's idea of it: one key at a time is replaced."""

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from federation.canonical_json import MAX_INTEGER, JsonObject
from federation.errors import FederationError
from federation.events import parse
from federation.room_versions import ROOM_VERSIONS, RoomVersion
from tests.oracle.documents import HASH, document
from tests.oracle.oracle import Oracle
from tests.oracle.sizes import EVENTS

_MISSING = object()
_INTEGERS: Sequence[Any] = (
    None,
    "1",
    True,
    [],
    {},
    0,
    1,
    -(2**53),
    2**53 - 1,
    2**53,
    2**63,
    2**64,
    10**30,
)
_OBJECTS: Sequence[Any] = (None, "x", 1, True, [], ["x"], {}, {"a": 1}, _MISSING)
_SIZES = ("a" * 255, "a" * 256, "é" * 127 + "a", "é" * 128, "\0", "")

_REPLACEMENTS: Mapping[str, Sequence[Any]] = {
    "type": (*_OBJECTS, *_SIZES),
    "state_key": (*_OBJECTS, *_SIZES),
    "content": _OBJECTS,
    "unsigned": _OBJECTS,
    "origin_server_ts": (*_INTEGERS, -1, 2**63 - 1, _MISSING),
    # Of larger ones, see the intended difference "depth".
    "depth": (None, "1", True, [], {}, -1, 0, 1, MAX_INTEGER, 2**63, 2**64, _MISSING),
    # Synapse misses `signatures` and `hashes.sha256` only when it verifies them.
    "signatures": (None, "x", 1, [], {}, {"a": 1}, {"a": []}, {"a": {"b": 1}}, {"a": {"b": "c"}}),
    "hashes": (None, "x", 1, [], {"sha256": 1}, {"sha256": HASH}, {"sha256": HASH, "md5": ""}),
    "prev_events": (None, "x", 1, {}, ["$x", 1], [["$x"]], [["$x:y", {}]], [["$x:y", {}, {}]], []),
    "auth_events": (None, "x", 1, {}, ["$x", 1], [["$x"]], [["$x:y", {}]], [[1, {}]], []),
    # Anything but identifiers: the intended difference "identifiers".
    "sender": (None, 1, True, [], {}, "@a:" + "b" * 252, "@a:" + "b" * 253, _MISSING),
    "room_id": (None, 1, True, [], {}, "!a:" + "b" * 252, "!a:" + "b" * 253),
    "redacts": _OBJECTS,
    "origin": _OBJECTS,
    "prev_state": _OBJECTS,
}


@pytest.mark.parametrize("version", ROOM_VERSIONS.values(), ids=lambda v: f"v{v.name}")
def test_well_formed(oracle: Oracle, version: RoomVersion) -> None:
    """Both sides take the same documents for events."""
    rng = random.Random(f"format {version.name}")
    cases = [_case(rng, version, number) for number in range(EVENTS)]
    answers = oracle.ask("parsed", version=version.name, events=[case[-1] for case in cases])
    wrong = [
        (key, value, reason, theirs)
        for (key, value, fields), theirs in zip(cases, answers, strict=True)
        if ((reason := _refusal(fields, version)) is None) != (theirs is None)
        # See the intended differences "nul-in-state-key" and "nul-in-state-type".
        and "NUL" not in (reason or "")
    ]
    assert not wrong
    assert 0.2 < sum(theirs is None for theirs in answers) / len(answers) < 0.8


def _case(rng: random.Random, version: RoomVersion, number: int) -> tuple[str, Any, JsonObject]:
    fields = {**document(rng, version, number), "signatures": {}}
    # A room ID that should not be there is for the rules: `create.room_id`.
    absent = [key for key in _REPLACEMENTS if key not in fields and key != "room_id"]
    key = rng.choice([key for key in _REPLACEMENTS if key in fields] + absent[:2])
    value = rng.choice(_REPLACEMENTS[key])
    fields[key] = value
    if value is _MISSING:
        del fields[key]
    return key, value, fields


def _refusal(fields: JsonObject, version: RoomVersion) -> str | None:
    try:
        parse(json.dumps(fields, ensure_ascii=False).encode(), version)
    except FederationError as error:
        return str(error)
    return None
