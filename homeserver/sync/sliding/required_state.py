"""Which entries of rooms' states are told: `required_state`, and members as they turn up.

https://github.com/matrix-org/matrix-spec-proposals/pull/4186, `RequiredStateRequest`
"""

from collections.abc import Iterable, Mapping, Sequence

from federation.canonical_json import JsonObject
from federation.events import StateKey
from federation.identifiers import UserID
from homeserver.storage import sliding, sync
from homeserver.storage.history import Placed
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid, KeyNid
from homeserver.sync.room_memory import RoomMemory
from homeserver.sync.sliding.lines import Line
from homeserver.sync.sliding.state_wishes import MEMBER, Reach, Wishes, is_wanted, reach
from homeserver.sync.summaries import NAME

AVATAR: StateKey = ("m.room.avatar", "")

_Entries = dict[RoomNid, dict[KeyNid, EventNid]]


async def find_states(conn: Connection, memory: RoomMemory, lines: Sequence[Line]) -> None:
    """Fill in which entries are told however long they stand: at most five queries."""
    reaches = {line.room: _reach(line) for line in lines if _looks_at_state(line)}
    if not reaches:
        return
    found = await _named(conn, memory, reaches)
    for room, entries in (await _wide(conn, reaches)).items():
        found.setdefault(room, {}).update(entries)
    # Whoever left is told how it was then.
    past = {ln.room: ln.until for ln in lines if ln.room in reaches and not ln.is_joined}
    then = await sync.states_at(conn, past) if past else {}
    for line in lines:
        entries = found.get(line.room, {})
        if line.room in then:
            entries = {key: then[line.room][key] for key in entries if key in then[line.room]}
        line.state = entries


async def find_members(
    conn: Connection,
    memory: RoomMemory,
    lines: Iterable[Line],
    known: Mapping[RoomNid, frozenset[UserID]],
) -> dict[RoomNid, frozenset[UserID]]:
    """Fill in the memberships of people in the timelines whom the client does not know; who it is.

    https://github.com/matrix-org/matrix-spec-proposals/pull/4186, "Lazy loaded memberships"
    """
    named = {
        line.room: named_in(line.timeline) - known[line.room] for line in lines if line.timeline
    }
    wanted = {room: [(MEMBER, str(user)) for user in found] for room, found in named.items()}
    entries = await memory.entries(conn, {room: keys for room, keys in wanted.items() if keys})
    by_room = {room: [entry.event for entry in found.values()] for room, found in entries.items()}
    for line in lines:
        line.lazy = by_room.get(line.room, ())
    return {room: frozenset(found) for room, found in named.items() if found}


def wanted_events(line: Line) -> set[EventNid]:
    """Numbers of the events that have to be read to tell a room's state."""
    changed = {c.new if c.new is not None else c.old for c in line.changes}
    return {*line.state.values(), *line.lazy, *(nid for nid in changed if nid)}


def told_state(
    line: Line, events: Mapping[EventNid, Placed], departure: Placed | None
) -> tuple[dict[StateKey, Placed], list[StateKey]]:
    """The entries of `required_state`, and which are gone.

    Args:
        line: of the room.
        events: those that are wanted, as far as there are any.
        departure: the event with which the user left the room, if they did.

    """
    wishes = line.due.match.config.wishes
    told = {key: event for key, event in _keyed(line.state.values(), events) if _is_new(line, key)}
    gone: list[StateKey] = []
    for change in line.changes:
        nid = change.new if change.new is not None else change.old
        for key, event in _keyed([nid] if nid else (), events):
            if not _follows(line, key):
                continue
            if change.new is not None:
                told[key] = event
                gone = [other for other in gone if other != key]
            else:
                told.pop(key, None)
                gone.append(key)
    told |= dict(_keyed(line.lazy, events))
    if departure is not None:
        own = (MEMBER, departure.event.state_key or "")
        told |= {own: departure} if is_wanted(own, wishes) else {}
    return told, gone


def changed_keys(line: Line, events: Mapping[EventNid, Placed]) -> dict[StateKey, Placed | None]:
    """What changed of the state, wanted or not; `None`: it is gone."""
    found: dict[StateKey, Placed | None] = {}
    for change in line.changes:
        nid = change.new if change.new is not None else change.old
        for key, event in _keyed([nid] if nid else (), events):
            found[key] = event if change.new is not None else None
    return found


def stub(key: StateKey) -> JsonObject:
    """Stands for an entry that is gone."""
    return {"type": key[0], "state_key": key[1]}


def _follows(line: Line, key: StateKey) -> bool:
    """Whether a change of this entry is told."""
    config = line.due.match.config
    # "All membership updates since the last sync when limited is false"
    if key[0] == MEMBER and config.lazy and not line.limited:
        return True
    return is_wanted(key, config.wishes)


def _is_new(line: Line, key: StateKey) -> bool:
    """Whether an entry is wanted that was not wanted before."""
    before: Wishes = line.due.sent.wishes if line.due.sent else frozenset()
    return is_wanted(key, line.due.match.config.wishes) and not is_wanted(key, before)


def _looks_at_state(line: Line) -> bool:
    if not line.is_joined:
        departure = line.due.match.departure
        return line.is_initial and departure is not None and departure.was_joined
    return line.is_initial or bool(line.due.new_wishes)


def _reach(line: Line) -> Reach:
    wanted = reach(line.due.new_wishes)
    return wanted._replace(keys=wanted.keys | {NAME, AVATAR}) if line.is_initial else wanted


async def _named(
    conn: Connection, memory: RoomMemory, reaches: Mapping[RoomNid, Reach]
) -> _Entries:
    """The entries that are asked for by name."""
    entries = await memory.entries(conn, {room: wanted.keys for room, wanted in reaches.items()})
    return {room: {e.key: e.event for e in found.values()} for room, found in entries.items()}


async def _wide(conn: Connection, reaches: Mapping[RoomNid, Reach]) -> _Entries:
    """The entries that are asked for by type, or all."""
    found: _Entries = {}
    for but in ((), (MEMBER,)):
        rooms = [
            room
            for room, wanted in reaches.items()
            if wanted.types is None and wanted.is_without_members == bool(but)
        ]
        if rooms:
            found |= await sliding.entries(conn, rooms, None, but)
    typed = {room: wanted.types for room, wanted in reaches.items() if wanted.types}
    if typed:
        types = {kind for kinds in typed.values() for kind in kinds}
        found |= await sliding.entries(conn, typed, types)
    return found


def _keyed(
    nids: Iterable[EventNid], events: Mapping[EventNid, Placed]
) -> list[tuple[StateKey, Placed]]:
    placed = [events[nid] for nid in nids if nid in events]
    return [((e.event.type, e.event.state_key or ""), e) for e in placed]


def named_in(timeline: Iterable[Placed]) -> frozenset[UserID]:
    """Who says something in a timeline, and whose membership changes."""
    found = set()
    for placed in timeline:
        found.add(placed.event.sender)
        if placed.event.type == MEMBER and placed.event.state_key:
            found.add(UserID(placed.event.state_key))
    return frozenset(found)
