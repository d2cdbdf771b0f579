"""Random rooms that forked, for property tests; all in them was allowed where it happened.

Their states may be claimed wrongly afterwards, as by a server that lost part of the graph.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from hypothesis import strategies as st

from federation.auth import CREATE
from federation.events import StateKey
from federation.identifiers import EventID
from federation.room_versions import RoomVersion
from tests.federation.rooms import ANN, BOB, CAT, DAN, Branch, Room

USERS = (ANN, BOB, CAT, DAN)


class Step(NamedTuple):
    """Somebody tries something on one of the branches."""

    branch: int
    action: str
    actor: int
    target: int
    number: int
    ts: int


ACTIONS = ("join", "leave", "invite", "ban", "kick", "topic", "levels", "rule", "profile", "name")

steps = st.lists(
    st.builds(
        Step,
        st.integers(0, 3),
        st.sampled_from(ACTIONS),
        st.integers(0, 3),
        st.integers(0, 3),
        st.integers(0, 3),
        # Few moments, so that ties are decided by event IDs.
        st.integers(2_000_000, 2_000_003),
    ),
    max_size=14,
)


class Mistake(NamedTuple):
    """One state has an older, newer or no event under one of its keys."""

    state: int
    key: int
    instead: int


mistakes = st.lists(
    st.builds(Mistake, st.integers(0, 3), st.integers(0, 40), st.integers(0, 6)), max_size=3
)


def claimed_states(
    room: Room, branches: Sequence[Branch], wrong: Sequence[Mistake]
) -> list[dict[StateKey, EventID]]:
    """The states of the branches, except for the mistakes; all keep the create event."""
    states = [branch.ids for branch in branches]
    for state, number, instead in wrong:
        claimed = states[state % len(states)]
        key = sorted(claimed.keys() - {CREATE})[number % (len(claimed) - 1)]
        known = [e for e in room.events.values() if (e.type, e.state_key) == key]
        chosen = instead % (len(known) + 1)
        del claimed[key]
        if chosen < len(known):
            claimed[key] = known[chosen].event_id
    return states


def forked_room(
    version: RoomVersion, history: Sequence[Sequence[Step]]
) -> tuple[Room, list[Branch]]:
    """A room, and its branches after a history; between the parts, the first two branches merge."""
    room = Room(version, levels={"users": _levels(version, 100, 100, 50)})
    for user in USERS[1:]:
        room.join(user)
    branches = [room.fork() for _ in range(4)]
    for number, part in enumerate(history):
        if number:
            branches[0] = room.merge(branches[0], branches[1])
        for step in part:
            # What the rules refuse there does not happen.
            with suppress(AssertionError):
                _take(branches[step.branch], step, version)
    return room, branches


def _levels(version: RoomVersion, *levels: int) -> dict[str, int]:
    users = dict(zip(map(str, USERS), levels, strict=False))
    if version.privileged_creators:
        users.pop(ANN, None)
    return users


def _take(branch: Branch, step: Step, version: RoomVersion) -> None:
    actor, target, options = USERS[step.actor], USERS[step.target], {"ts": step.ts}

    def state(kind: str, content: dict[str, Any], state_key: str = "") -> None:
        branch.send(kind, actor, content, state_key, ts=step.ts)

    match step.action:
        case "join" | "leave":
            branch.member(actor, actor, step.action, **options)
        case "invite" | "ban":
            branch.member(actor, target, step.action, **options)
        case "kick":
            branch.member(actor, target, "leave", **options)
        case "topic" | "name":
            state(f"m.room.{step.action}", {step.action: str(step.number)})
        case "profile":
            branch.member(actor, actor, "join", displayname=str(step.number), **options)
        case "rule":
            state("m.room.join_rules", {"join_rule": ["public", "invite"][step.number % 2]})
        case "levels":
            users = _levels(version, 100, 100, 50, 0)
            users[target] = [0, 50, 75, 100][step.number]
            state("m.room.power_levels", {"users": users})
