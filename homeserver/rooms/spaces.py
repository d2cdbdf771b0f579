"""Rooms seen from outside: one by one, and as trees of spaces; ours, and others' through them.

https://spec.matrix.org/v1.19/client-server-api/#spaces
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from federation.canonical_json import JsonObject
from federation.errors import FederationError, IdentifierError
from federation.events import Event, StateKey
from federation.identifiers import RoomID, ServerName, parse_room_id, parse_server_name
from federation.net.target import encode_target
from federation.room_versions import ROOM_VERSIONS, RoomVersion
from homeserver.errors import Forbidden, InvalidParam, NotFound
from homeserver.peers.peers import Peers
from homeserver.rooms.current import CREATE
from homeserver.rooms.describing import KEYS, described, summarised, told
from homeserver.rooms.restricted import allowed_rooms, join_rule
from homeserver.storage import memberships, public_rooms, room_states
from homeserver.storage.batch import Membership
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process

MOST = 50
"""Rooms of a page."""
_MOST_SEEN = 2000
"""Rooms of a tree."""
_MOST_CHILDREN = 500
_MOST_DOORS = 10
"""Rooms whose members a restricted room lets in, of which it is looked who is there."""
_MOST_SERVERS = 3
_FRESH = 300.0
"""Seconds for which another server's answer is good."""
_REMEMBERED = 1000
_SECONDS = 20.0
"""After which no other server is asked for a page any more."""
_RESTRICTED = frozenset({"restricted", "knock_restricted"})
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


class Wish(NamedTuple):
    """Which part of a tree is wanted."""

    suggested_only: bool = False
    max_depth: int | None = None
    limit: int = MOST
    start: str | None = None
    via: Sequence[ServerName] = ()
    """Servers to ask of the room at the top, if we are not in it."""


class Spaces:
    """Looks at rooms from outside.

    Args:
        process: the one that this is part of.
        peers: for rooms that we are not in.

    """

    def __init__(self, process: Process, peers: Peers) -> None:
        self._process = process
        self._peers = peers
        self._remote: OrderedDict[RoomID, tuple[float, Seen]] = OrderedDict()

    async def hierarchy(self, viewer: Viewer, room_id: RoomID, wish: Wish) -> JsonObject:
        """A page of the tree below a room, depth first, each space's children in their order.

        Raises:
            Forbidden: the viewer may not see the room, or there is none.
            InvalidParam: `start` is not of this hierarchy.

        """
        digest = _digest(room_id, wish)
        start, limit = _read(wish.start, digest), max(1, min(wish.limit, MOST))
        rooms: list[JsonObject] = []
        pending: list[tuple[RoomID, Sequence[ServerName], int]] = [(room_id, wish.via, 0)]
        told: dict[RoomID, JsonObject] = {}
        done: set[RoomID] = set()
        closed: set[RoomID] = set()
        ends = time.monotonic() + _SECONDS
        while pending and len(rooms) <= start + limit and len(done) < _MOST_SEEN:
            room, via, depth = pending.pop()
            if room in done:
                continue
            done.add(room)
            # "They should not be re-requested"; and who is waited for too long leaves the rest to
            # be asked for again.
            is_asked = room not in closed and time.monotonic() < ends
            seen = await self._see(viewer, room, via if is_asked else (), told)
            if seen is None:
                if not rooms:
                    raise Forbidden("there is no such room, or you may not see it")
                continue
            rooms.append(seen.shown())
            told |= seen.below
            closed |= seen.closed
            if seen.is_space and (wish.max_depth is None or depth < wish.max_depth):
                below = [c for c in seen.children if c.suggested or not wish.suggested_only]
                pending += [(child.room_id, child.via, depth + 1) for child in reversed(below)]
        answer: JsonObject = {"rooms": rooms[start : start + limit]}
        if len(rooms) > start + limit:
            answer["next_batch"] = f"{start + limit}.{digest}"
        return answer

    async def summary(
        self, viewer: Viewer, room_id: RoomID, via: Sequence[ServerName]
    ) -> JsonObject:
        """One room, or raise `NotFound`: it cannot be seen, or there is none."""
        seen = await self._see(viewer, room_id, via, {})
        if seen is None:
            raise NotFound("there is no such room, or you may not see it")
        return seen.summary

    async def lets_guests_in(self, room_id: RoomID, via: Sequence[ServerName]) -> bool:
        """Whether another server says so of a room that we are not in."""
        seen = await self._ask(room_id, via)
        return seen is not None and seen.summary.get("guest_can_join") is True

    async def for_server(
        self, server: ServerName, room_id: RoomID, *, suggested_only: bool
    ) -> JsonObject:
        """A room with its children, as far as people of another server could see them.

        Raises:
            NotFound: they cannot see the room, or we are not in it.

        """
        viewer = Viewer(server=server)
        seen = await self._local(viewer, room_id)
        if seen is None:
            raise NotFound("there is no such room, or your people may not see it")
        wanted = [c.room_id for c in seen.children if c.suggested or not suggested_only]
        below = await self._below(server, wanted if seen.is_space else ())
        children = [summary for summary in below.values() if summary is not None]
        closed = [child for child, summary in below.items() if summary is None]
        return {"room": seen.shown(), "children": children, "inaccessible_children": closed}

    async def _below(
        self, server: ServerName, room_ids: Sequence[RoomID]
    ) -> dict[RoomID, JsonObject | None]:
        """Those of the rooms that we are in, as a server sees them; `None`: it does not.

        However many there are, they are looked at together.
        """
        numbers = self._process.numbers
        async with self._process.database.reader() as conn:
            nids = await numbers.rooms.find(conn, room_ids)
            here = await memberships.rooms_with(conn, nids.values(), self._process.server)
            counted = await public_rooms.counted(conn, here)
            keys = await numbers.state_keys.find(conn, KEYS)
            states = await public_rooms.states(conn, counted, keys.values())
            doors = {room: _doors(state) for room, state in states.items()}
            behind = await numbers.rooms.find(conn, {i for d in doors.values() for i in d or ()})
            is_in = await memberships.rooms_with(conn, {*doors, *behind.values()}, server)
            invited = await memberships.rooms_inviting(conn, doors, server)

        def summary(room: RoomNid) -> JsonObject | None:
            names = doors[room]
            ways = {room, *(behind[name] for name in names or () if name in behind)}
            if names is not None and room not in invited and not ways & is_in:
                return None
            return summarised(described(counted[room], states[room]), states[room])

        return {i: summary(room) for i in room_ids if (room := nids.get(i)) in counted}

    async def _see(
        self,
        viewer: Viewer,
        room_id: RoomID,
        via: Sequence[ServerName],
        told: Mapping[RoomID, JsonObject],
    ) -> Seen | None:
        if await self._is_here(room_id):
            return await self._local(viewer, room_id)
        return await self._elsewhere(viewer, room_id, via, told)

    async def _is_here(self, room_id: RoomID) -> bool:
        async with self._process.database.reader() as conn:
            room = (await self._process.numbers.rooms.find(conn, [room_id])).get(room_id)
            return room is not None and await memberships.has_server(
                conn, room, self._process.server
            )

    async def _local(self, viewer: Viewer, room_id: RoomID) -> Seen | None:
        """A room that we are in, if the viewer may see it."""
        numbers = self._process.numbers
        async with self._process.database.reader() as conn:
            room = (await numbers.rooms.find(conn, [room_id])).get(room_id)
            counted = (await public_rooms.counted(conn, [room])).get(room) if room else None
            if room is None or counted is None:
                return None
            named = await room_states.keys_of(conn, room, "m.space.child", _MOST_CHILDREN)
            keys: list[StateKey] = [*KEYS, *(("m.space.child", one) for one in named)]
            nids = await numbers.state_keys.find(conn, keys)
            state = (await public_rooms.states(conn, [room], nids.values()))[room]
            if not await self._may_see(conn, viewer, room, state):
                return None
        children = _children(event for key, event in state.items() if key[0] == "m.space.child")
        return Seen(summarised(described(counted, state), state), children)

    async def _may_see(
        self, conn: Connection, viewer: Viewer, room: RoomNid, state: Mapping[StateKey, Event]
    ) -> bool:
        names = _doors(state)
        if names is None or await self._is_wanted(conn, viewer, room):
            return True
        return bool(names) and await self._is_let_in(conn, viewer, names)

    async def _is_wanted(self, conn: Connection, viewer: Viewer, room: RoomNid) -> bool:
        """Whether the viewer is in the room, or invited."""
        if viewer.server is not None:
            return await memberships.has_server(conn, room, viewer.server) or bool(
                await memberships.rooms_inviting(conn, [room], viewer.server)
            )
        if viewer.user is None:
            return False
        membership = await memberships.membership_of(conn, room, viewer.user)
        return membership in {Membership.JOIN, Membership.INVITE}

    async def _is_let_in(self, conn: Connection, viewer: Viewer, rooms: Sequence[str]) -> bool:
        """Whether the viewer is in one of the rooms whose members a restricted room lets in."""
        if viewer.server is not None:
            return await memberships.knows_one_of(conn, viewer.server, rooms)
        if viewer.user is None:
            return False
        return await memberships.is_in_one_of(conn, viewer.user, rooms)

    async def _elsewhere(
        self,
        viewer: Viewer,
        room_id: RoomID,
        via: Sequence[ServerName],
        told: Mapping[RoomID, JsonObject],
    ) -> Seen | None:
        """A room that we are not in, as another server tells of it."""
        with_parent = Seen(told[room_id]) if room_id in told else None
        seen = self._remembered(room_id)
        if seen is None and with_parent is not None and not with_parent.is_space:
            seen = with_parent  # there is no more to be told of it
        if seen is None:
            # What came with its parent is better than nothing.
            seen = await self._ask(room_id, via) or with_parent
            if seen is None:
                return None
            self._remember(room_id, seen)
        return seen if await self._is_open_to(viewer, room_id, seen.summary) else None

    def _remembered(self, room_id: RoomID) -> Seen | None:
        """What another server told of a room not long ago."""
        since, seen = self._remote.get(room_id, (0.0, None))
        return seen if since >= time.monotonic() - _FRESH else None

    def _remember(self, room_id: RoomID, seen: Seen) -> None:
        self._remote[room_id] = time.monotonic(), seen
        if len(self._remote) > _REMEMBERED:
            self._remote.popitem(last=False)

    async def _is_open_to(self, viewer: Viewer, room_id: RoomID, summary: JsonObject) -> bool:
        # "The requesting server is responsible for filtering the results further down"
        rule = summary.get("join_rule", "public")
        version = ROOM_VERSIONS.get(summary.get("room_version", ""))
        if _is_open(rule, version) or summary.get("world_readable") is True:
            return True
        async with self._process.database.reader() as conn:
            room = (await self._process.numbers.rooms.find(conn, [room_id])).get(room_id)
            if room is not None and await self._is_wanted(conn, viewer, room):
                return True
            allowed = summary.get("allowed_room_ids", [])[:_MOST_DOORS]
            return rule in _RESTRICTED and await self._is_let_in(conn, viewer, allowed)

    async def _ask(self, room_id: RoomID, via: Sequence[ServerName]) -> Seen | None:
        target = encode_target("_matrix", "federation", "v1", "hierarchy", room_id)
        for server in [name for name in via if name != self._process.server][:_MOST_SERVERS]:
            try:
                answer = await self._peers.client.get_json(server, target)
            except FederationError:
                continue
            seen = _told(answer, room_id)
            if seen is not None:
                return seen
        return None


def _is_open(rule: object, version: RoomVersion | None) -> bool:
    """Whether anybody may come in, or knock, in a room of this version, if that is known."""
    if version is None:
        return rule in {"public", *_KNOCKABLE}
    return rule == "public" or rule in version.knock_join_rules


def _doors(state: Mapping[StateKey, Event]) -> Sequence[str] | None:
    """The rooms whose members may see a room from outside; `None`: everybody may."""
    create = state.get(CREATE)
    rules = state.get(("m.room.join_rules", ""))
    rule = join_rule(rules.content) if rules else ""
    shown = state.get(("m.room.history_visibility", ""))
    if _is_open(rule, create.version if create else None):
        return None
    if shown and shown.content.get("history_visibility") == "world_readable":
        return None
    return allowed_rooms(rules.content)[:_MOST_DOORS] if rules and rule in _RESTRICTED else ()


def _children(events: Iterable[Event]) -> list[Child]:
    """The children that a space names, in their order.

    https://spec.matrix.org/v1.19/client-server-api/#ordering-of-children-within-a-space
    """
    found = []
    for event in events:
        state = {
            "type": event.type,
            "state_key": event.state_key or "",
            "content": event.content,
            "sender": event.sender,
            "origin_server_ts": event.origin_server_ts,
        }
        child = _child(state)
        if child is not None:
            found.append(child)
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


def _told(answer: JsonObject, room_id: RoomID) -> Seen | None:
    """What another server told of a room, as far as it is what it should be."""
    room, below = told(answer.get("room")), answer.get("children")
    if room is None or room["room_id"] != room_id:
        return None
    states = room.pop("children_state", None)
    children = [
        child
        for state in (states[:_MOST_CHILDREN] if isinstance(states, list) else [])
        if isinstance(state, dict) and (child := _child(state)) is not None
    ]
    listed = below[:_MOST_CHILDREN] if isinstance(below, list) else []
    summaries = {RoomID(room["room_id"]): room for room in map(told, listed) if room}
    shut = answer.get("inaccessible_children")
    closed = shut[:_MOST_CHILDREN] if isinstance(shut, list) else []
    return Seen(
        room,
        sorted(children, key=_place),
        summaries,
        frozenset(RoomID(one) for one in closed if isinstance(one, str)),
    )


def _digest(room_id: RoomID, wish: Wish) -> str:
    """Says which tree a token is of.

    "If specified, max_depth and suggested_only cannot be changed from the first request."
    """
    text = f"{wish.suggested_only} {wish.max_depth} {room_id}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read(start: str | None, digest: str) -> int:
    if not start:
        return 0
    number, _, of = start.partition(".")
    if not number.isascii() or not number.isdecimal() or len(number) > 6 or of != digest:
        raise InvalidParam("from is not a token of this hierarchy")
    return int(number)
