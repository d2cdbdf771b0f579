"""State resolution of room versions 2 to 11 ("v2"), and of version 12 ("v2.1").

https://spec.matrix.org/v1.19/rooms/v12/#state-resolution
https://spec.matrix.org/v1.19/rooms/v2/#state-resolution
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import compress, filterfalse
from operator import ne

from federation.auth import CREATE, auth_events_for, authorise
from federation.auth.selection import POWER_LEVELS
from federation.decision import ALLOWED
from federation.events import Event, StateKey
from federation.graph import Graph, Id, reachable
from federation.state_resolution.ordering import mainline_order, reverse_topological_power_order


def resolve(
    states: Sequence[Mapping[StateKey, Id]], graph: Graph[Id], *, from_empty: bool
) -> dict[StateKey, Id]:
    """The resolution of the states.

    Args:
        states: at least one.
        graph: looks up the events.
        from_empty: v2.1: start from the empty state, and include the conflicted subgraph.

    """
    unconflicted, conflicted = separate(states)
    if not conflicted:
        return unconflicted
    full = set(conflicted) | graph.auth_difference([state.values() for state in states])
    if from_empty:
        full |= graph.conflicted_subgraph(conflicted)
    create = _find_create(states, graph)
    # "Select the set X of all power events that appear in the full conflicted set. For each such
    # power event P, enlarge X by adding the events in the auth chain of P which also belong to
    # the full conflicted set. Sort X into a list using the reverse topological power ordering."
    power_events = _power_events_and_chains(full, graph)
    ordered = reverse_topological_power_order(power_events, graph, create)
    # "Apply the iterative auth checks algorithm, starting from the unconflicted state map [since
    # v12: an empty state map], to the list of events from the previous step"
    resolved: dict[StateKey, Id] = {} if from_empty else dict(unconflicted)
    _apply_allowed(ordered, resolved, graph, create)
    # "Take all remaining events that weren't picked in step 1 and order them by the mainline
    # ordering based on the power level in the partially resolved state"
    remaining = mainline_order(full - power_events, resolved.get(POWER_LEVELS), graph)
    # "Apply the iterative auth checks algorithm on the partial resolved state"
    _apply_allowed(remaining, resolved, graph, create)
    # "Update the result by replacing any event with the event with the same key from the
    # unconflicted state map, if such an event exists"
    return resolved | unconflicted


def separate(
    states: Sequence[Mapping[StateKey, Id]],
) -> tuple[dict[StateKey, Id], frozenset[Id]]:
    """The unconflicted state map, and the conflicted state set.

    "If a given key K is present in every Si with the same value V in each state map, then the
    pair (K, V) belongs to the unconflicted state map. Otherwise, V belongs to the conflicted state
    set."
    """
    first = states[0]
    keys: set[StateKey] = set()
    # States are large and many: what is done for each entry of each is left to the interpreter.
    for other in states[1:]:
        keys.update(compress(first, map(ne, first.values(), map(other.get, first))))
        keys.update(filterfalse(first.__contains__, other))
    unconflicted = {key: found for key, found in first.items() if key not in keys}
    conflicted: set[Id | None] = set()
    for state in states:
        conflicted.update(map(state.get, keys))
    return unconflicted, frozenset(found for found in conflicted if found is not None)


def _find_create(states: Sequence[Mapping[StateKey, Id]], graph: Graph[Id]) -> Event | None:
    """The create event of the room, if the states do not differ about it."""
    found = {state[CREATE] for state in states if CREATE in state}
    return graph.event(found.pop()) if len(found) == 1 else None


def _power_events_and_chains(full: Collection[Id], graph: Graph[Id]) -> set[Id]:
    """*X*: the power events, and what of the full conflicted set they build on.

    Chains are followed inside the full conflicted set only. The specification's words would also
    admit paths that leave it and come back; all servers read them so, and agreeing is what counts.
    """
    power_events = [found for found in full if is_power_event(graph.event(found))]
    return reachable(power_events, lambda e: (a for a in graph.auth_events(e) if a in full))


def is_power_event(event: Event) -> bool:
    """Whether the event might remove someone's ability to do something in the room.

    "A power event is a state event with type m.room.power_levels or m.room.join_rules, or a state
    event with type m.room.member where the membership is leave or ban and the sender does not
    match the state_key." As in all servers, the first two count under the empty state key only,
    the one under which they have any effect.
    """
    if event.state_key is None:
        return False
    if event.type in {"m.room.power_levels", "m.room.join_rules"}:
        return event.state_key == ""
    is_removal = event.type == "m.room.member" and event.membership in {"leave", "ban"}
    return is_removal and event.sender != event.state_key


def _apply_allowed(
    ordered: Iterable[Id],
    resolved: dict[StateKey, Id],
    graph: Graph[Id],
    create: Event | None,
) -> None:
    """The iterative auth checks algorithm; changes `resolved`."""
    for found in ordered:
        event = graph.event(found)
        if event.state_key is None:
            continue
        if authorise(event, _state_for(found, event, resolved, graph, create)) is ALLOWED:
            resolved[(event.type, event.state_key)] = found


def _state_for(
    found: Id,
    event: Event,
    resolved: Mapping[StateKey, Id],
    graph: Graph[Id],
    create: Event | None,
) -> dict[StateKey, Event]:
    state = {CREATE: create} if create else {}
    # "If a (event_type, state_key) key that is required for checking the authorisation rules is
    # not present in the state, then the appropriate state event from the event's auth_events is
    # used if the auth event is not rejected."
    for cited in graph.auth_events(found):
        auth_event = graph.event(cited)
        if auth_event.state_key is not None and not graph.is_rejected(cited):
            state[(auth_event.type, auth_event.state_key)] = auth_event
    for key in auth_events_for(event):
        if key in resolved:
            state[key] = graph.event(resolved[key])
    return state
