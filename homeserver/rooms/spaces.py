"""Rooms seen from outside: one by one, and as trees of spaces; ours, and others' through them.

https://spec.matrix.org/v1.19/client-server-api/#spaces
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from federation.canonical_json import JsonObject
from federation.errors import FederationError
from federation.identifiers import RoomID, ServerName
from federation.net.target import encode_target
from federation.room_versions import ROOM_VERSIONS
from homeserver.errors import Forbidden, InvalidParam, NotFound
from homeserver.peers.peers import Peers
from homeserver.rooms.describing import told
from homeserver.rooms.outside import (
    MOST_CHILDREN,
    MOST_DOORS,
    RESTRICTED,
    OurRooms,
    Seen,
    Viewer,
    is_open,
    our_rooms,
    read_children,
    ties,
)
from homeserver.storage.process import Process

MOST = 50
"""Rooms of a page."""
_MOST_SEEN = 2000
"""Rooms of a tree."""
_MOST_SERVERS = 3
_FRESH = 300.0
"""Seconds for which another server's answer is good."""
_REMEMBERED = 1000
_SECONDS = 20.0
"""After which no other server is asked for a page any more."""


class Wish(NamedTuple):
    """Which part of a tree is wanted."""

    suggested_only: bool = False
    max_depth: int | None = None
    limit: int = MOST
    start: str | None = None
    via: Sequence[ServerName] = ()
    """Servers to ask of the room at the top, if we are not in it."""


class _Next(NamedTuple):
    """A room to be looked at, and what its parent told of it: of no others it may speak."""

    room: RoomID
    via: Sequence[ServerName]
    depth: int
    told: JsonObject | None = None
    is_closed: bool = False
    """Our people can see it nowhere, the parent's server says."""


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
        walk = _Walk(self, viewer, room_id, wish)
        rooms = await walk.take(start + limit + 1)
        if not rooms:
            raise Forbidden("there is no such room, or you may not see it")
        answer: JsonObject = {"rooms": rooms[start : start + limit]}
        if len(rooms) > start + limit:
            answer["next_batch"] = f"{start + limit}.{digest}"
        return answer

    async def summary(
        self, viewer: Viewer, room_id: RoomID, via: Sequence[ServerName]
    ) -> JsonObject:
        """One room, or raise `NotFound`: it cannot be seen, or there is none."""
        ours = await self.ours(viewer, [room_id])
        seen = ours[room_id] if ours else await self.elsewhere(viewer, room_id, via, None)
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
        seen = (await self.ours(viewer, [room_id])).get(room_id)
        if seen is None:
            raise NotFound("there is no such room, or your people may not see it")
        wanted = [c.room_id for c in seen.children if c.suggested or not suggested_only]
        below = await our_rooms(self._process, viewer, wanted, with_children=False)
        children = [found.summary for found in below.values() if found is not None]
        closed = [child for child, found in below.items() if found is None]
        return {"room": seen.shown(), "children": children, "inaccessible_children": closed}

    async def ours(self, viewer: Viewer, room_ids: Collection[RoomID]) -> OurRooms:
        """Those of the rooms that we are in; `None`: the viewer may not see it."""
        return await our_rooms(self._process, viewer, room_ids)

    async def elsewhere(
        self,
        viewer: Viewer,
        room_id: RoomID,
        via: Sequence[ServerName],
        told: JsonObject | None,
    ) -> Seen | None:
        """A room that we are not in, if the viewer may see it.

        Args:
            viewer: who looks.
            room_id: of the room.
            via: servers that may be asked.
            told: what was told of it with its parent.

        """
        with_parent = None if told is None else Seen(told)
        seen = self._remembered(room_id)
        if seen is None and with_parent is not None and not with_parent.is_space:
            seen = with_parent  # there is no more to be told of it
        if seen is None:
            seen = await self._ask(room_id, via)
            if seen is not None:
                self._remember(room_id, seen)
        # What came with its parent is better than nothing, and not worth remembering: the next may
        # find somebody who answers.
        seen = seen or with_parent
        if seen is None:
            return None
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
        if is_open(rule, version) or summary.get("world_readable") is True:
            return True
        allowed = summary.get("allowed_room_ids", ())[:MOST_DOORS] if rule in RESTRICTED else ()
        async with self._process.database.reader() as conn:
            nids = await self._process.numbers.rooms.find(conn, [room_id, *allowed])
            is_in, invited = await ties(conn, viewer, nids.values(), self._process.server)
        return bool(is_in) or nids.get(room_id) in invited

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


class _Walk:
    """A walk through a tree, depth first, each space's children in their order."""

    def __init__(self, spaces: Spaces, viewer: Viewer, top: RoomID, wish: Wish) -> None:
        self._spaces = spaces
        self._viewer = viewer
        self._wish = wish
        self._pending = [_Next(top, wish.via, 0)]
        self._done: set[RoomID] = set()
        self._ours: dict[RoomID, Seen | None] = {}
        self._looked_for: set[RoomID] = set()
        self._left = _MOST_SEEN
        self._ends = time.monotonic() + _SECONDS

    async def take(self, most: int) -> list[JsonObject]:
        """The first rooms; none if the one at the top cannot be seen."""
        rooms: list[JsonObject] = []
        while self._pending and len(rooms) < most and self._left:
            here = self._pending.pop()
            if here.room in self._done:
                continue
            self._left -= 1
            seen = await self._see(here)
            if seen is not None:
                rooms.append(seen.shown())
                self._go_below(seen, here.depth)
            if seen is not None or not here.is_closed:
                self._done.add(here.room)
        return rooms

    async def _see(self, here: _Next) -> Seen | None:
        room = here.room
        if room not in self._looked_for:
            await self._look_for([room, *(one.room for one in self._pending[-MOST:])])
        if room in self._ours:
            return self._ours[room]
        # "They should not be re-requested"; and who is waited for too long leaves the rest to be
        # asked for again.
        is_asked = not here.is_closed and time.monotonic() < self._ends
        servers = here.via if is_asked else ()
        return await self._spaces.elsewhere(self._viewer, room, servers, here.told)

    async def _look_for(self, rooms: Iterable[RoomID]) -> None:
        """See which of the next rooms are ours, all together."""
        wanted = {room for room in rooms if room not in self._looked_for}
        self._ours |= await self._spaces.ours(self._viewer, wanted)
        self._looked_for |= wanted

    def _go_below(self, seen: Seen, depth: int) -> None:
        if seen.is_space and (self._wish.max_depth is None or depth < self._wish.max_depth):
            below = [c for c in seen.children if c.suggested or not self._wish.suggested_only]
            self._pending += [
                _Next(
                    c.room_id, c.via, depth + 1, seen.below.get(c.room_id), c.room_id in seen.closed
                )
                for c in reversed(below)
            ]


def _told(answer: JsonObject, room_id: RoomID) -> Seen | None:
    """What another server told of a room, as far as it is what it should be."""
    room, below = told(answer.get("room")), answer.get("children")
    if room is None or room["room_id"] != room_id:
        return None
    states = room.pop("children_state", None)
    children = read_children(states[:MOST_CHILDREN] if isinstance(states, list) else [])
    listed = below[:MOST_CHILDREN] if isinstance(below, list) else []
    summaries = {RoomID(room["room_id"]): room for room in map(told, listed) if room}
    shut = answer.get("inaccessible_children")
    closed = shut[:MOST_CHILDREN] if isinstance(shut, list) else []
    return Seen(
        room,
        children,
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
