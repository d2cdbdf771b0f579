"""State resolution, all three algorithms, compared with Synapse's on random forked rooms."""

import json
import random

import pytest

from federation.room_versions import ROOM_VERSIONS, RoomVersion, StateResolutionVersion
from tests.oracle.forks import History, Merge, random_history
from tests.oracle.oracle import Oracle
from tests.oracle.sizes import GRAPHS

_STEPS = (40, 80, 80, 160)


@pytest.mark.parametrize("algorithm", StateResolutionVersion, ids=lambda a: f"v{a.value}")
def test_resolved_states(oracle: Oracle, algorithm: StateResolutionVersion) -> None:
    """Both sides come to the same state in each merge of each random room."""
    versions = [v for v in ROOM_VERSIONS.values() if v.state_resolution is algorithm]
    merges = []
    for number in range(GRAPHS):
        version = versions[number % len(versions)]
        merges += _compare(oracle, f"forks {version.name} {number}", version)
    conflicts = [_conflicted(merge) for merge in merges]
    print(f"{len(merges)} merges, {sum(map(len, conflicts))} conflicts")
    # The comparison is worth something only if there is much to resolve.
    assert sum(map(len, conflicts)) > 3 * len(merges)
    assert sum(("m.room.power_levels", "") in found for found in conflicts) > len(merges) / 2


def _compare(oracle: Oracle, seed: str, version: RoomVersion) -> list[Merge]:
    rng = random.Random(seed)
    history = random_history(rng, version, rng.choice(_STEPS))
    answers = oracle.ask(
        "resolve",
        version=version.name,
        room_id=history.make.room_id,
        room=[json.loads(event.json) for event in history.events.values()],
        rejected=[],
        merges=[[list(state.values()) for state in merge.states] for merge in history.merges],
    )
    for number, (merge, theirs) in enumerate(zip(history.merges, answers, strict=True)):
        if sorted(merge.resolved.values()) != theirs:
            pytest.fail(_report(f"{seed}, merge {number}", history, merge, theirs))
    return history.merges


def _conflicted(merge: Merge) -> set[tuple[str, str]]:
    keys = set().union(*merge.states)
    return {key for key in keys if len({state.get(key) for state in merge.states}) > 1}


def _report(where: str, history: History, merge: Merge, theirs: list[str]) -> str:
    events = {str(event_id): event.json.decode() for event_id, event in history.events.items()}
    ours = set(map(str, merge.resolved.values()))
    return "\n".join(
        (
            f"version {history.version.name}, seed {where!r}",
            *(f"only we: {events[found]}" for found in sorted(ours - set(theirs))),
            *(f"only Synapse: {events[found]}" for found in sorted(set(theirs) - ours)),
        )
    )
