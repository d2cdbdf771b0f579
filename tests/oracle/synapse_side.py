"""The other side: answers questions with Synapse's own code.

Runs under the Python of `.oracle/`, which knows Synapse and nothing of ours; there is no import of
`federation` here. Reads one question a line, writes one answer a line, both JSON. `Oracle` in
`tests/oracle/oracle.py` is who asks.

Synapse's modules are imported by name, so everything of theirs is `Any` to the type checker: they
are not installed where it runs.
"""

import asyncio
import base64
import hashlib
import json
import logging
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

canonicaljson: Any = import_module("canonicaljson")
signing_key: Any = import_module("signedjson.key")
event_auth: Any = import_module("synapse.event_auth")
events: Any = import_module("synapse.events")
event_signing: Any = import_module("synapse.crypto.event_signing")
state_v1: Any = import_module("synapse.state.v1")
state_v2: Any = import_module("synapse.state.v2")
federation_base: Any = import_module("synapse.federation.federation_base")
event_federation: Any = import_module("synapse.storage.databases.main.event_federation")
rust_events: Any = import_module("synapse.synapse_rust.events")
room_versions: Any = import_module("synapse.api.room_versions")
SynapseError: Any = import_module("synapse.api.errors").SynapseError

Json = dict[str, Any]

_REFUSALS = (
    SynapseError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    AssertionError,
    RuntimeError,
)
"""What Synapse's checks raise: its errors, and whatever malformed input makes Python raise."""


def canonical(question: Json) -> list[Any]:
    """Canonical JSON of each of `values`."""
    return [canonicaljson.encode_canonical_json(value).decode() for value in question["values"]]


def facts(question: Json) -> list[Any]:
    """What follows from each of `events` alone: redaction, hashes, ID, signature, auth types."""
    version = room_versions.KNOWN_ROOM_VERSIONS[question["version"]]
    seed = question["seed"]
    key = signing_key.decode_signing_key_base64("ed25519", "1", seed)
    return [_facts(fields, version, question["server"], key) for fields in question["events"]]


def _facts(fields: Json, version: Any, server: str, key: Any) -> Json:
    try:
        event = events.make_event_from_dict(fields, version)
    except SynapseError as error:
        return {"refused": str(error)}
    return {
        "event_id": event.event_id,
        "redacted": rust_events.redact_event_dict(version, fields),
        "content_hash": _base64(event_signing.compute_content_hash(fields, hashlib.sha256)[1]),
        "content_hash_matches": event_signing.check_event_content_hash(event),
        "reference_hash": _base64(event_signing.compute_event_reference_hash(event)[1]),
        "signatures": event_signing.compute_event_signature(version, fields, server, key),
        "auth_types": _auth_types(event),
    }


def _auth_types(event: Any) -> list[Any] | None:
    """`None` where the event is too malformed to have any."""
    try:
        return list(event_auth.auth_types_for_event(event.room_version, event))
    except _REFUSALS:
        return None


def auth(question: Json) -> list[Any]:
    """Synapse's verdict on each of `candidates`.

    `room` holds the events they may cite, `rejected` the IDs of those that were refused earlier,
    each candidate the IDs of the state it is to be judged by. A verdict is `None` where the event
    is allowed, else the reason.
    """
    version = room_versions.KNOWN_ROOM_VERSIONS[question["version"]]
    store = Store(question["room"], version, question["rejected"])
    return [_verdict(candidate, store) for candidate in question["candidates"]]


def _verdict(candidate: Json, store: "Store") -> str | None:
    try:
        event = events.make_event_from_dict(candidate["event"], store.version)
    except SynapseError as error:
        return f"refused: {error}"
    state = [store.events[event_id] for event_id in candidate["state"]]

    def check(checked: Any) -> None:
        _run(event_auth.check_state_independent_auth_rules(store, checked))
        event_auth.check_state_dependent_auth_rules(checked, state)

    return _raises(check, event)


def parsed(question: Json) -> list[Any]:
    """Why each of `events`, as received from another server, is not an event; `None` if it is."""
    version = room_versions.KNOWN_ROOM_VERSIONS[question["version"]]

    def parse(fields: Json) -> None:
        event = federation_base.event_from_pdu_json(fields, version)
        event_auth._check_size_limits(event)

    return [_raises(parse, fields) for fields in question["events"]]


def signers(question: Json) -> list[Any]:
    """Whether each of `events` names a signature of every server it needs one of."""
    version = room_versions.KNOWN_ROOM_VERSIONS[question["version"]]
    made = [events.make_event_from_dict(fields, version) for fields in question["events"]]
    return [_raises(event_auth.validate_event_for_room_version, event) for event in made]


def _raises(function: Any, event: Any) -> str | None:
    try:
        function(event)
    except _REFUSALS as error:
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    return None


def resolve(question: Json) -> list[Any]:
    """The resolved state of each of `merges`, lists of states; a state is a list of event IDs.

    `room` and `rejected` are as in `auth`.
    """
    version = room_versions.KNOWN_ROOM_VERSIONS[question["version"]]
    store = Store(question["room"], version, question["rejected"])
    return [_resolve(merge, store, question["room_id"]) for merge in question["merges"]]


def _resolve(merge: list[list[str]], store: "Store", room_id: str) -> list[Any]:
    states = [_by_key(store.events[event_id] for event_id in state) for state in merge]
    if store.version.state_res == room_versions.StateResolutionVersions.V1:
        resolving = state_v1.resolve_events_with_store(
            room_id, store.version, states, None, store.get_events
        )
    else:
        resolving = state_v2.resolve_events_with_store(
            _Clock(), room_id, store.version, states, None, store
        )
    return sorted(_run(resolving).values())


def _by_key(state: Iterable[Any]) -> dict[tuple[str, str], str]:
    return {(event.type, event.state_key): event.event_id for event in state}


class Store:
    """The events of a question, in the shape that Synapse asks its database in."""

    def __init__(self, room: list[Json], version: Any, rejected: Iterable[str]) -> None:
        self.version = version
        made = [events.make_event_from_dict(fields, version) for fields in room]
        refused = set(rejected)
        self.events = {e.event_id: e for e in made if e.event_id not in refused}
        for fields, event in zip(room, made, strict=True):
            if event.event_id in refused:
                self.events[event.event_id] = events.make_event_from_dict(
                    fields, version, rejected_reason="auth_error"
                )

    async def get_events(
        self, event_ids: Iterable[str], *_args: Any, **_options: Any
    ) -> dict[str, Any]:
        """Those of the events that exist."""
        return {i: self.events[i] for i in event_ids if i in self.events}

    async def get_auth_chain_difference(
        self,
        _room_id: str,
        state_sets: list[set[str]],
        conflicted: set[str] | None,
        _additional: set[str] | None,
    ) -> Any:
        """As Synapse's chain cover computes it: a state's own events count to its chain."""
        chains = [self._reachable(state) for state in state_sets]
        difference = set[str].union(*chains) - set[str].intersection(*chains)
        subgraph = None if conflicted is None else self._subgraph(conflicted)
        return event_federation.StateDifference(difference, subgraph)

    def _reachable(self, start: Iterable[str]) -> set[str]:
        pending, found = list(start), set[str]()
        while pending:
            event_id = pending.pop()
            if event_id not in found:
                found.add(event_id)
                pending.extend(self.events[event_id].auth_event_ids())
        return found

    def _subgraph(self, conflicted: set[str]) -> set[str]:
        """All that lies on a path between two conflicted events."""
        below = self._reachable(conflicted)
        return {event_id for event_id in below if self._reachable([event_id]) & conflicted}


class _Clock:
    async def sleep(self, _duration: Any) -> None:
        """Nobody else waits for their turn here."""


def _run(waiting: Any) -> Any:
    return _LOOP.run_until_complete(waiting)


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


_LOOP = asyncio.new_event_loop()
_ANSWERS: Mapping[str, Any] = {
    "canonical": canonical,
    "facts": facts,
    "auth": auth,
    "parsed": parsed,
    "signers": signers,
    "resolve": resolve,
}


def main() -> None:
    """Answer until the input ends."""
    logging.disable(logging.CRITICAL)
    for line in sys.stdin:
        question = json.loads(line)
        json.dump(_ANSWERS[question["do"]](question), sys.stdout)
        sys.stdout.write("\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
