"""State resolution written once more, straight from the specification and without any haste.

Sets and recursion, definition by definition, over event IDs. Only for small rooms, and only to
compare `federation.state_resolution` with. Three readings of the words are taken from there: a
state is part of its own full auth chain, power events have the empty state key (members apart),
and *X* is enlarged along chains that stay inside the full conflicted set.

https://spec.matrix.org/v1.19/rooms/v12/#state-resolution
"""

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence

from federation.auth import CREATE, auth_events_for, authorise
from federation.auth.selection import POWER_LEVELS
from federation.decision import ALLOWED
from federation.events import Event, StateKey
from federation.identifiers import EventID
from federation.power_levels import PowerLevels

State = Mapping[StateKey, EventID]


class Reference:
    """Version 2, or with `from_empty` version 2.1."""

    def __init__(
        self,
        events: Mapping[EventID, Event],
        *,
        from_empty: bool,
        rejected: Collection[EventID] = (),
    ) -> None:
        self.events = events
        self.from_empty = from_empty
        self.rejected = rejected
        self._chains: dict[EventID, set[EventID]] = {}

    def auth_chain(self, event: EventID) -> set[EventID]:
        """The events reachable by walking the graph induced by an event's auth_events links."""
        if event not in self._chains:
            cited = set(self.events[event].auth_events)
            self._chains[event] = cited.union(*(self.auth_chain(a) for a in cited))
        return self._chains[event]

    def full_auth_chain(self, state: State) -> set[EventID]:
        """The union of the auth chains for each event; the events are read to be among them."""
        return set(state.values()).union(*(self.auth_chain(e) for e in state.values()))

    def auth_difference(self, states: Sequence[State]) -> set[EventID]:
        chains = [self.full_auth_chain(state) for state in states]
        everywhere: set[EventID] = chains[0].intersection(*chains)
        return set().union(*chains) - everywhere

    def conflicted_subgraph(self, conflicted: set[EventID]) -> set[EventID]:
        """The union of all paths between any pair of events in the conflicted state set."""
        return {
            event
            for event in self.events
            if any(event == c or event in self.auth_chain(c) for c in conflicted)
            and any(event == c or c in self.auth_chain(event) for c in conflicted)
        }

    def is_power_event(self, event: Event) -> bool:
        if event.type in ("m.room.power_levels", "m.room.join_rules"):
            return event.state_key == ""
        return (
            event.type == "m.room.member"
            and event.content.get("membership") in ("leave", "ban")
            and event.sender != event.state_key
        )

    def level(self, found: EventID, create: Event) -> float:
        """The sender's power level, when looking at the event's auth_events."""
        cited = [self.events[a] for a in self.events[found].auth_events]
        levels = [e for e in cited if (e.type, e.state_key) == POWER_LEVELS]
        return PowerLevels(create, levels[0] if levels else None).of(self.events[found].sender)

    def power_order(self, chosen: set[EventID], create: Event) -> list[EventID]:
        """Kahn's algorithm, at each step selecting the smallest vertex."""
        left, order = set(chosen), []
        while left:
            free = [e for e in left if not left.intersection(self.events[e].auth_events)]
            smallest = min(
                free,
                key=lambda e: (-self.level(e, create), self.events[e].origin_server_ts, e),
            )
            left.remove(smallest)
            order.append(smallest)
        return order

    def power_levels_of(self, found: EventID) -> EventID | None:
        for cited in self.events[found].auth_events:
            if (self.events[cited].type, self.events[cited].state_key) == POWER_LEVELS:
                return cited
        return None

    def mainline(self, found: EventID | None) -> list[EventID]:
        return [] if found is None else [found, *self.mainline(self.power_levels_of(found))]

    def mainline_position(self, found: EventID, mainline: list[EventID]) -> float:
        e = self.power_levels_of(found)
        while e is not None and e not in mainline:
            e = self.power_levels_of(e)
        return math.inf if e is None else mainline.index(e)

    def iterate(self, start: State, order: list[EventID], create: Event) -> dict[StateKey, EventID]:
        """The iterative auth checks algorithm."""
        state = dict(start)
        for found in order:
            event = self.events[found]
            usable = [self.events[a] for a in event.auth_events if a not in self.rejected]
            cited = {(e.type, e.state_key): e for e in usable}
            facts = {CREATE: create}
            for key in auth_events_for(event):
                if key in state:
                    facts[key] = self.events[state[key]]
                elif key in cited:
                    facts[key] = cited[key]
            if authorise(event, facts) is ALLOWED:
                assert event.state_key is not None
                state[(event.type, event.state_key)] = found
        return state

    def resolve(self, states: Sequence[State]) -> dict[StateKey, EventID]:
        keys = {key for state in states for key in state}
        values = {key: {state.get(key) for state in states} for key in keys}
        unconflicted = {k: e for k, v in values.items() if len(v) == 1 for e in v if e}
        conflicted = {e for k, v in values.items() if k not in unconflicted for e in v if e}
        if not conflicted:
            return unconflicted
        create = self.events[unconflicted[CREATE]]
        full = conflicted | self.auth_difference(states)
        if self.from_empty:
            full |= self.conflicted_subgraph(conflicted)
        x = {e for e in full if self.is_power_event(self.events[e])}
        while more := {a for e in x for a in self.events[e].auth_events if a in full} - x:
            x |= more
        partial = self.iterate(
            {} if self.from_empty else unconflicted, self.power_order(x, create), create
        )
        mainline = self.mainline(partial.get(POWER_LEVELS))
        rest = sorted(
            full - x,
            key=lambda e: (
                -self.mainline_position(e, mainline),
                self.events[e].origin_server_ts,
                e,
            ),
        )
        return {**self.iterate(partial, rest, create), **unconflicted}


def resolve_v1(states: Sequence[State], events: Mapping[EventID, Event]) -> dict[StateKey, EventID]:
    """Version 1: https://spec.matrix.org/v1.19/rooms/v1/#state-resolution"""
    keys = {key for state in states for key in state}
    values = {key: {state[key] for state in states if key in state} for key in keys}
    r = {key: next(iter(v)) for key, v in values.items() if len(v) == 1}
    conflicts = {key: v for key, v in values.items() if len(v) > 1}

    def sha1(found: EventID) -> str:
        return hashlib.sha1(found.encode(), usedforsecurity=False).hexdigest()

    def ordered(v: set[EventID]) -> list[EventID]:
        """By ascending depth then descending sha1(event_id)."""
        by_hash = sorted(v, key=lambda e: sha1(e), reverse=True)
        return sorted(by_hash, key=lambda e: events[e].depth)

    def is_allowed(found: EventID, state: State) -> bool:
        return authorise(events[found], {k: events[e] for k, e in state.items()}) is ALLOWED

    for chosen in ("m.room.power_levels", "m.room.join_rules", "m.room.member"):
        passed = dict(r)
        for key in (k for k in conflicts if k[0] == chosen):
            first, *others = ordered(conflicts[key])
            passed[key] = first
            for found in others:
                if not is_allowed(found, {**r, key: passed[key]}):
                    break
                passed[key] = found
        r = passed
    rest = {k: v for k, v in conflicts.items() if k not in r}
    final = dict(r)
    for key, v in rest.items():
        candidates = ordered(v)[::-1]
        allowed = [found for found in candidates if is_allowed(found, r)]
        final[key] = (allowed or candidates[-1:])[0]
    return final
