"""Finding what was said.

https://spec.matrix.org/v1.19/client-server-api/#server-side-search
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

from federation.canonical_json import JsonObject
from federation.identifiers import RoomID
from homeserver.accounts.filters import RoomEventFilter
from homeserver.rooms.current import CREATE
from homeserver.rooms.filtering import matcher
from homeserver.rooms.moments import Moments
from homeserver.rooms.related import related
from homeserver.rooms.showing import Showing
from homeserver.rooms.standings import Reader
from homeserver.rooms.visibility import Visibility
from homeserver.storage import history, memberships, public_rooms, searches, sync
from homeserver.storage.batch import Fate, Membership, SearchKey
from homeserver.storage.history import Placed
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process
from homeserver.storage.searches import Words
from homeserver.storage.state_groups import EventNid
from homeserver.storage.stream_tokens import StreamToken

MOST = 50
"""Results of one page."""
MOST_AROUND = 20
"""Events before a result, and after it."""
_LOOKED_AT = 500
"""Events with the words that are looked at; the best, or the latest."""
_MOST_BEFORE = 8
"""How often a room may have been replaced, to be searched from its beginning."""


class Criteria(NamedTuple):
    """What is looked for."""

    term: str
    keys: Collection[SearchKey]
    by_rank: bool
    filter: RoomEventFilter
    before: int | None
    """Events that are wanted before each result; `None`: no context is."""
    after: int
    with_profiles: bool
    """Whether it is told what the senders were called then."""
    with_state: bool
    """Whether the state of the rooms of the results is wanted."""


class Result(NamedTuple):
    """An event that was found, as the client gets it."""

    event: JsonObject
    rank: float
    before: list[JsonObject]
    """The latest first."""
    after: list[JsonObject]
    start: StreamToken
    end: StreamToken
    profiles: JsonObject
    """By user ID, if they are wanted: of those who sent any of the events."""


class Results(NamedTuple):
    """A page of results."""

    total: int
    """Of what was found, as far as was looked."""
    results: list[Result]
    next: StreamToken | None
    """`None`: there are no more."""
    states: dict[str, list[JsonObject]]
    """By room ID, if they are wanted: of rooms that the reader is in."""


class Searching:
    """Searches the rooms that somebody is or was in.

    Args:
        process: the one that this is part of.
        epoch: of the installation.
        visibility: says what somebody may see.
        showing: says how.
        moments: tells the state at an event.

    """

    def __init__(
        self,
        process: Process,
        epoch: int,
        visibility: Visibility,
        showing: Showing,
        moments: Moments,
    ) -> None:
        self._process = process
        self._epoch = epoch
        self._visibility = visibility
        self._showing = showing
        self._moments = moments

    async def find(self, reader: Reader, wanted: Criteria, start: StreamToken | None) -> Results:
        """A page of what the reader may see; `start` is where the page before it ended.

        Such a token says up to which position was searched, and how many results were given.
        """
        here = start or StreamToken(self._epoch, self._process.clock.position)
        given = max(0, here.order or 0)
        limit = MOST if wanted.filter.limit is None else max(1, min(MOST, wanted.filter.limit))
        async with self._process.database.reader() as conn:
            ranks, found = await self._matches(conn, reader, wanted, here._replace(order=None))
            page = found[given : given + limit]
            results = await self._results(conn, reader, wanted, page, ranks)
            states = await self._states(conn, reader, page) if wanted.with_state else {}
        more = here._replace(order=given + limit) if len(found) > given + limit else None
        return Results(len(found), results, more, states)

    async def _matches(
        self, conn: Connection, reader: Reader, wanted: Criteria, until: StreamToken
    ) -> tuple[Mapping[EventNid, float], list[Placed]]:
        rooms = await self._rooms(conn, reader, wanted.filter)
        words = Words(wanted.term, wanted.keys, rooms, until.room_order)
        matches = await searches.find(conn, words, _LOOKED_AT, by_rank=wanted.by_rank)
        if not matches:
            return {}, []
        events = await history.by_nid(conn, [match.event for match in matches])
        test = matcher(msgspec.structs.replace(wanted.filter, rooms=None))
        fitting = [
            event
            for match in matches
            if (event := events.get(match.event)) and event.fate is Fate.ACCEPTED
            if test(event.event)
        ]
        asked = await related(conn, wanted.filter, fitting)
        seen = await self._visibility.visible(conn, reader, asked)
        return {match.event: match.rank for match in matches}, seen

    async def _rooms(
        self, conn: Connection, reader: Reader, wanted: RoomEventFilter
    ) -> list[RoomNid]:
        """Those of the reader's rooms that are wanted, and those that they replace."""
        theirs = {
            room.room_id: room.room
            for room in await memberships.rooms_of(conn, reader.user)
            if not room.is_forgotten and room.room_id not in (wanted.not_rooms or ())
        }
        if wanted.rooms is None:
            return list(theirs.values())
        found: set[RoomNid] = set()
        new = {theirs[room] for room in map(RoomID, wanted.rooms) if room in theirs}
        for _ in range(_MOST_BEFORE):
            found |= new
            if not new:
                break
            before = await self._replaced(conn, new)
            new = {theirs[room] for room in before if room in theirs} - found
        return list(found)

    async def _replaced(self, conn: Connection, rooms: Collection[RoomNid]) -> list[RoomID]:
        """The rooms that some rooms say they replace."""
        keys = await self._process.numbers.state_keys.find(conn, [CREATE])
        states = await public_rooms.states(conn, rooms, keys.values())
        named = [state[CREATE].content.get("predecessor") for state in states.values() if state]
        return [
            RoomID(before["room_id"])
            for before in named
            if isinstance(before, dict) and isinstance(before.get("room_id"), str)
        ]

    async def _results(
        self,
        conn: Connection,
        reader: Reader,
        wanted: Criteria,
        page: Sequence[Placed],
        ranks: Mapping[EventNid, float],
    ) -> list[Result]:
        near = {event.nid: _Near([], []) for event in page}
        if wanted.before is not None and page:
            near = await self._near(conn, reader, page, wanted.before, wanted.after)
        flat = {e.nid: e for e in page}
        flat |= {e.nid: e for pair in near.values() for e in (*pair.before, *pair.after)}
        lines = await self._showing.show_bundled(conn, reader, list(flat.values()))
        shown = dict(zip(flat, lines, strict=True))
        profiles = await self._profiles(conn, page, near) if wanted.with_profiles else {}
        return [
            self._result(event, ranks[event.nid], near[event.nid], shown)._replace(
                profiles=profiles.get(event.nid, {})
            )
            for event in page
        ]

    async def _profiles(
        self, conn: Connection, page: Sequence[Placed], near: "Mapping[EventNid, _Near]"
    ) -> dict[EventNid, JsonObject]:
        """For each result, the profiles of those who spoke around it, as they were then."""
        senders = {e.nid: _senders(e, near[e.nid]) for e in page}
        names = sorted({name for group in senders.values() for name in group})
        entries = await self._moments.entries(conn, [("m.room.member", n) for n in names], page)
        events = await history.by_nid(conn, {nid for row in entries.values() for nid in row if nid})
        return {
            result: {
                name: _profile(events[nid])
                for name, nid in zip(names, row, strict=True)
                if nid in events and name in senders[result]
            }
            for result, row in entries.items()
        }

    async def _states(
        self, conn: Connection, reader: Reader, page: Sequence[Placed]
    ) -> dict[str, list[JsonObject]]:
        """The current states of rooms; what became of those that were left is not told."""
        rooms = {event.room: event.event.room_id for event in page}
        joined = {
            room.room
            for room in await memberships.rooms_of(conn, reader.user)
            if room.membership is Membership.JOIN and room.room in rooms
        }
        position = self._process.clock.position
        states = await sync.states_at(conn, dict.fromkeys(joined, position))
        events = await history.by_nid(
            conn, {e for state in states.values() for e in state.values()}
        )
        return {
            rooms[room]: self._showing.show_state(events[e] for e in state.values() if e in events)
            for room, state in states.items()
        }

    async def _near(
        self, conn: Connection, reader: Reader, page: Sequence[Placed], before: int, after: int
    ) -> "dict[EventNid, _Near]":
        found = await searches.around(conn, [event.nid for event in page], before, after)
        nids = {nid for pair in found.values() for nids in pair for nid in nids}
        events = await history.by_nid(conn, nids)
        seen = {
            e.nid: e for e in await self._visibility.visible(conn, reader, list(events.values()))
        }
        return {
            nid: _Near(
                [seen[e] for e in earlier if e in seen], [seen[e] for e in later if e in seen]
            )
            for nid, (earlier, later) in found.items()
        }

    def _result(
        self, event: Placed, rank: float, near: "_Near", shown: Mapping[EventNid, JsonObject]
    ) -> Result:
        here = StreamToken(self._epoch, self._process.clock.position)
        first, last = [*near.before, event], [event, *near.after]
        first_order = min(e.order or 0 for e in first)
        return Result(
            event=shown[event.nid],
            rank=rank,
            before=[shown[e.nid] for e in near.before],
            after=[shown[e.nid] for e in near.after],
            start=here._replace(order=first_order - 1),
            end=here._replace(order=max(e.order or 0 for e in last)),
            profiles={},
        )


class _Near(NamedTuple):
    """What was said around an event."""

    before: list[Placed]
    after: list[Placed]


def _senders(event: Placed, near: _Near) -> set[str]:
    return {e.event.sender for e in (event, *near.before, *near.after)}


def _profile(member: Placed) -> JsonObject:
    content = member.event.content
    found = {name: content.get(name) for name in ("displayname", "avatar_url")}
    return {name: value for name, value in found.items() if isinstance(value, str)}
