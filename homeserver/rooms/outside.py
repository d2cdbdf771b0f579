"""Rooms of this server as they are seen from outside: who may see them, and what is below them.

However many they are, they are read together.

https://spec.matrix.org/v1.19/client-server-api/#spaces
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from federation.canonical_json import JsonObject
from federation.errors import IdentifierError
from federation.events import Event, StateKey
from federation.identifiers import RoomID, ServerName, parse_room_id, parse_server_name
from federation.room_versions import RoomVersion
from homeserver.rooms.current import CREATE
from homeserver.rooms.describing import KEYS, described, summarised
from homeserver.rooms.restricted import allowed_rooms, join_rule
from homeserver.storage import memberships, public_rooms
from homeserver.storage.batch import Membership
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process

MOST_CHILDREN = 500
MOST_DOORS = 10
"""Rooms whose members a restricted room lets in, of which it is looked who is there."""
RESTRICTED = frozenset({"restricted", "knock_restricted"})
_KNOCKABLE = frozenset({"knock", "knock_restricted"})


class Child(NamedTuple):
    """A room that a space names."""

    room_id: RoomID
    via: Sequence[ServerName]
    suggested: bool
    state: JsonObject
    """The event, as it is told."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A room as it is told of."""

    summary: JsonObject
    children: Sequence[Child] = ()
    below: Mapping[RoomID, JsonObject] = field(default_factory=dict)
    """What another server told of the children with it."""
    closed: frozenset[RoomID] = frozenset()
    """Children of which it said that our people can see them nowhere."""

    @property
    def is_space(self) -> bool:
        """Whether its children are to be looked at."""
        return self.summary.get("room_type") == "m.space"

    def shown(self) -> JsonObject:
        """As it is listed in a hierarchy."""
        states = [child.state for child in self.children] if self.is_space else []
        return {**self.summary, "children_state": states}


class Viewer(NamedTuple):
    """Who looks: somebody here, or another server."""

    user: UserNid | None = None
    server: ServerName | None = None


OurRooms = dict[RoomID, Seen | None]
"""Rooms that we are in; `None`: the viewer may not see it."""


async def our_rooms(
    process: Process, viewer: Viewer, room_ids: Collection[RoomID], *, with_children: bool = True
) -> OurRooms:
    """Those of the rooms that we are in, and what is below them if that is wanted."""
    numbers = process.numbers
    async with process.database.reader() as conn:
        nids = await numbers.rooms.find(conn, room_ids)
        here = await memberships.rooms_with(conn, nids.values(), process.server)
        counted = await public_rooms.counted(conn, here) if here else {}
        keys = await numbers.state_keys.find(conn, KEYS)
        states = await public_rooms.states(conn, counted, keys.values()) if counted else {}
        visible = await _visible(process, conn, viewer, states)
        spaces = [room for room in visible if with_children and _is_space(states[room])]
        named = await public_rooms.children(conn, spaces, MOST_CHILDREN) if spaces else {}

    def seen(room: RoomNid) -> Seen | None:
        if room not in visible:
            return None
        summary = summarised(described(counted[room], states[room]), states[room])
        return Seen(summary, _children(named.get(room, ())))

    return {i: seen(room) for i in room_ids if (room := nids.get(i)) in counted}


async def _visible(
    process: Process,
    conn: Connection,
    viewer: Viewer,
    states: Mapping[RoomNid, Mapping[StateKey, Event]],
) -> set[RoomNid]:
    """Those of the rooms with these states that the viewer may see."""
    doors = {room: _doors(state) for room, state in states.items()}
    closed = {room: names for room, names in doors.items() if names is not None}
    visible = doors.keys() - closed.keys()
    if not closed:
        return visible
    behind = await process.numbers.rooms.find(conn, {i for names in closed.values() for i in names})
    is_in, invited = await ties(conn, viewer, {*closed, *behind.values()}, process.server)
    for room, names in closed.items():
        ways = {room, *(behind[name] for name in names if name in behind)}
        if room in invited or ways & is_in:
            visible.add(room)
    return visible


async def ties(
    conn: Connection, viewer: Viewer, rooms: Collection[RoomNid], ours: ServerName
) -> tuple[set[RoomNid], set[RoomNid]]:
    """Those of the rooms that the viewer is in, and those to which they are invited.

    Which other servers are in a room is not known any more where we left it.
    """
    if viewer.server is not None:
        here = await memberships.rooms_with(conn, rooms, ours)
        return (
            await memberships.rooms_with(conn, here, viewer.server),
            await memberships.rooms_inviting(conn, rooms, viewer.server),
        )
    if viewer.user is None:
        return set(), set()
    found = await memberships.among(conn, viewer.user, rooms)
    is_in = {room for room, membership in found.items() if membership is Membership.JOIN}
    invited = {room for room, membership in found.items() if membership is Membership.INVITE}
    return is_in, invited


def is_open(rule: object, version: RoomVersion | None) -> bool:
    """Whether anybody may come in, or knock, in a room of this version, if that is known."""
    if version is None:
        return rule in {"public", *_KNOCKABLE}
    return rule == "public" or rule in version.knock_join_rules


def _doors(state: Mapping[StateKey, Event]) -> Sequence[RoomID] | None:
    """The rooms whose members may see a room from outside; `None`: everybody may."""
    create = state.get(CREATE)
    rules = state.get(("m.room.join_rules", ""))
    rule = join_rule(rules.content) if rules else ""
    shown = state.get(("m.room.history_visibility", ""))
    if is_open(rule, create.version if create else None):
        return None
    if shown and shown.content.get("history_visibility") == "world_readable":
        return None
    return allowed_rooms(rules.content)[:MOST_DOORS] if rules and rule in RESTRICTED else ()


def _is_space(state: Mapping[StateKey, Event]) -> bool:
    return CREATE in state and state[CREATE].content.get("type") == "m.space"


def _children(events: Iterable[Event]) -> list[Child]:
    """The children that a space names, in their order."""
    states = [
        {
            "type": event.type,
            "state_key": event.state_key or "",
            "content": event.content,
            "sender": event.sender,
            "origin_server_ts": event.origin_server_ts,
        }
        for event in events
    ]
    return read_children(states)


def read_children(states: Iterable[object]) -> list[Child]:
    """The children in what is told of a space, in their order.

    https://spec.matrix.org/v1.19/client-server-api/#ordering-of-children-within-a-space
    """
    found = [
        child
        for state in states
        if isinstance(state, dict) and (child := _child(state)) is not None
    ]
    return sorted(found, key=_place)


def _child(state: Mapping[str, Any]) -> Child | None:
    content = state.get("content")
    via = content.get("via") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(via, list):
        return None
    try:
        room_id = parse_room_id(str(state.get("state_key")))
    except IdentifierError:
        return None
    servers = [server for name in via[:20] if (server := _server(name))]
    return Child(room_id, servers, content.get("suggested") is True, dict(state))


def _server(name: object) -> ServerName | None:
    try:
        return parse_server_name(name) if isinstance(name, str) else None
    except IdentifierError:
        return None


def _place(child: Child) -> tuple[bool, str, int, str]:
    """Where a child comes: by `order`, then those without one by their age, then by room ID."""
    order = child.state["content"].get("order")
    is_valid = (
        isinstance(order, str) and len(order) <= 50 and all(" " <= char <= "~" for char in order)
    )
    ts = child.state.get("origin_server_ts")
    return not is_valid, order if is_valid else "", ts if type(ts) is int else 0, child.room_id
