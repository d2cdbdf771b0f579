"""State resolution of room version 1.

https://spec.matrix.org/v1.19/rooms/v1/#state-resolution
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Generic

from federation.auth import auth_events_for, authorise
from federation.auth.selection import POWER_LEVELS
from federation.decision import ALLOWED
from federation.events import Event, StateKey
from federation.graph import Graph, Id

Conflicts = Mapping[StateKey, set[Id]]


def resolve(states: Sequence[Mapping[StateKey, Id]], graph: Graph[Id]) -> dict[StateKey, Id]:
    """The resolution of the states."""
    candidates: dict[StateKey, set[Id]] = {}
    for state in states:
        for key, found in state.items():
            candidates.setdefault(key, set()).add(found)
    # "A conflict occurs between states where those states have different event_ids for the same
    # (event_type, state_key)": unlike in later versions, a key that only some have is no conflict.
    conflicts = {key: found for key, found in candidates.items() if len(found) > 1}
    # "Start by setting R to the union of the states to be resolved, excluding any conflicting
    # events."
    resolved = {key: next(iter(found)) for key, found in candidates.items() if len(found) == 1}
    return _Resolution(graph, resolved).settle(conflicts)


class _Resolution(Generic[Id]):
    """*R*, the result so far, and the passes that complete it."""

    def __init__(self, graph: Graph[Id], resolved: dict[StateKey, Id]) -> None:
        self._graph = graph
        self._resolved = resolved

    def settle(self, conflicts: Conflicts[Id]) -> dict[StateKey, Id]:
        # "First we resolve conflicts between m.room.power_levels events." "Repeat the above
        # process for conflicts between m.room.join_rules events." "[...] m.room.member events."
        # As in all servers, only the power levels that have an effect go first.
        power_levels = {key for key in conflicts if key == POWER_LEVELS}
        join_rules = {key for key in conflicts if key[0] == "m.room.join_rules"}
        members = {key for key in conflicts if key[0] == "m.room.member"}
        for keys in (power_levels, join_rules, members):
            self._resolved.update({key: self._resolve_auth(conflicts[key]) for key in keys})
        others = conflicts.keys() - power_levels - join_rules - members
        self._resolved.update({key: self._resolve_normal(conflicts[key]) for key in others})
        return self._resolved

    def _resolve_auth(self, candidates: set[Id]) -> Id:
        # "Sort the list by ascending depth then descending sha1(event_id)."
        first, *others = reversed(self._by_depth(candidates))
        # "Add the first event in the list to R. For each subsequent event in the list, check that
        # the event would be allowed by the authorisation rules for a room in state R. [...] If it
        # would not be allowed, stop"
        winner = first
        for candidate in others:
            event = self._graph.event(candidate)
            if authorise(event, self._state_for(event, winner)) is not ALLOWED:
                break
            winner = candidate
        return winner

    def _resolve_normal(self, candidates: set[Id]) -> Id:
        # "just pick the event with the highest depth and lowest sha1(event_id) that passes
        # authentication in R". Where none does, the last one tried stays, as in other servers.
        ordered = self._by_depth(candidates)
        for candidate in ordered:
            event = self._graph.event(candidate)
            if authorise(event, self._state_for(event)) is ALLOWED:
                return candidate
        return ordered[-1]

    def _by_depth(self, candidates: set[Id]) -> list[Id]:
        """Descending depth, then ascending sha1."""

        def order(found: Id) -> tuple[int, str]:
            event = self._graph.event(found)
            digest = hashlib.sha1(event.event_id.encode(), usedforsecurity=False)
            return -event.depth, digest.hexdigest()

        return sorted(candidates, key=order)

    def _state_for(self, event: Event, winner: Id | None = None) -> dict[StateKey, Event]:
        state = {
            key: self._graph.event(self._resolved[key])
            for key in auth_events_for(event)
            if key in self._resolved
        }
        if winner is not None and event.state_key is not None:
            state[(event.type, event.state_key)] = self._graph.event(winner)
        return state
