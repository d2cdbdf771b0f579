"""Rooms as they are answered: `RoomResult`.

https://github.com/matrix-org/matrix-spec-proposals/pull/4186, "Response Body"
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from federation.canonical_json import JsonObject
from federation.events import StateKey
from federation.identifiers import UserID
from homeserver.accounts.filters import Filter
from homeserver.rooms.standings import Reader
from homeserver.rooms.stripped import stripped
from homeserver.storage.batch import Membership
from homeserver.storage.history import Placed
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid
from homeserver.storage.stream_tokens import StreamToken
from homeserver.storage.sync import Hero
from homeserver.sync import shown
from homeserver.sync.departing import departures
from homeserver.sync.invitations import stripped_states
from homeserver.sync.joined import Means
from homeserver.sync.sliding.bumps import bump_stamps
from homeserver.sync.sliding.due import ASKED, Due
from homeserver.sync.sliding.faces import Faces
from homeserver.sync.sliding.lines import Line, Lines
from homeserver.sync.sliding.members import KnownMembers, Told
from homeserver.sync.sliding.positions import Sent
from homeserver.sync.sliding.required_state import (
    AVATAR,
    changed_keys,
    find_members,
    find_states,
    stub,
    told_state,
    wanted_events,
)
from homeserver.sync.sliding.state_wishes import MEMBER
from homeserver.sync.sliding.wishes import SlidingWish
from homeserver.sync.summaries import NAME, Summary, summaries
from homeserver.sync.unread import room_total

_UNFILTERED = Filter()


@dataclass(slots=True)
class Said:
    """What is said of rooms."""

    rooms: dict[str, JsonObject] = field(default_factory=dict)
    sent: dict[RoomNid, Sent] = field(default_factory=dict)
    """What the connection was sent of them then."""
    members: dict[RoomNid, Told] = field(default_factory=dict)
    timelines: dict[RoomNid, Sequence[Placed]] = field(default_factory=dict)
    """Of rooms that are new to the client, or new again."""


@dataclass(frozen=True, slots=True)
class _Material:
    """What was read for some rooms."""

    events: Mapping[EventNid, Placed]
    summaries: Mapping[RoomNid, Summary]
    bumps: Mapping[RoomNid, int]
    departures: Mapping[RoomNid, Placed]
    """With which the user left rooms."""


class Sections:
    """Puts them together."""

    def __init__(self, means: Means, known: KnownMembers) -> None:
        self._means = means
        self._known = known
        self._lines = Lines(means)

    async def read(
        self, wish: SlidingWish, reader: Reader, dues: Sequence[Due], up_to: int
    ) -> Said:
        """What is said of rooms; the number of queries does not depend on how many they are."""
        said = Said()
        if not dues:
            return said
        asked = [due for due in dues if due.match.room.membership in ASKED]
        others = [due for due in dues if due.match.room.membership not in ASKED]
        async with self._means.process.database.perhaps() as conn:
            await self._add_asked(conn, wish, asked, said)
            if others:
                lines = await self._lines.read(conn, others, wish.after, up_to)
                await self._add_lines(conn, wish, reader, lines, up_to, said)
        await self._add_counts(wish, others, up_to, said)
        return said

    async def _add_counts(
        self, wish: SlidingWish, dues: Sequence[Due], up_to: int, said: Said
    ) -> None:
        """How much is unread in the rooms of which anything is said."""
        rooms = [
            due.match.room
            for due in dues
            if due.match.room.membership is Membership.JOIN and due.match.room.room_id in said.rooms
        ]
        if not rooms:
            return
        who = wish.who
        counted = await self._means.unread.of(who.user, who.user_id, rooms, up_to)
        for room in rooms:
            said.rooms[room.room_id] |= room_total(counted[room.room]).shown()

    async def _add_asked(
        self, conn: Connection, wish: SlidingWish, dues: Sequence[Due], said: Said
    ) -> None:
        rooms = [due.match.room for due in dues]
        numbers = self._means.process.numbers
        states = await stripped_states(conn, numbers, wish.who.user, wish.who.user_id, rooms)
        for due in dues:
            state = states[due.room]
            # The name that was proposed, and the one that clients know.
            section = {"stripped_state": state, "invite_state": state, "initial": True}
            room = due.match.room
            said.rooms[room.room_id] = _common(due) | section | {"bump_stamp": room.pos}
            said.sent[due.room] = due.after_it(has_gap=True)

    async def _add_lines(
        self,
        conn: Connection,
        wish: SlidingWish,
        reader: Reader,
        lines: Sequence[Line],
        up_to: int,
        said: Said,
    ) -> None:
        standings = await self._lines.see(conn, reader, lines)
        faces = Faces(self._means.memory, wish, lines)
        strange = [line for line in lines if line.room not in faces.known]
        await find_states(conn, self._means.memory, strange)
        told = faces.members() | await self._find_members(conn, wish, strange)
        material = await self._material(conn, wish, strange)
        events = [event for line in lines for event in line.timeline]
        showing = self._means.showing
        limited = {line.room for line in lines if line.limited}
        rest = iter(
            await shown.timeline(conn, showing, reader, events, standings, _UNFILTERED, limited)
        )
        for line in lines:
            section = _common(line.due)
            section |= self._timeline(wish, line, [next(rest) for _ in line.timeline], up_to)
            known = faces.known.get(line.room)
            state = known.fields if known else self._state(wish, line, material)
            faces.learn(line, state, told.get(line.room))
            section |= state
            said.sent[line.room] = line.due.after_it(has_gap=line.limited)
            if not _says_something(section, line):
                continue
            said.rooms[line.due.match.room.room_id] = section
            if line.room in told:
                said.members[line.room] = told[line.room]
            if line.is_initial:
                said.timelines[line.room] = line.timeline
        faces.keep(up_to)

    async def _find_members(
        self, conn: Connection, wish: SlidingWish, lines: Sequence[Line]
    ) -> dict[RoomNid, Told]:
        """Members that turn up; "clients must flush any membership cache when limited is true"."""
        lazy = [line for line in lines if line.is_joined and line.due.match.config.lazy]
        device, known = int(wish.who.device), {}
        for line in lazy:
            is_anew = line.is_initial or line.limited
            before = self._known.of(device, wish.conn_id, line.room)
            known[line.room] = frozenset() if is_anew else before
        found = await find_members(conn, self._means.memory, lazy, known)
        return {
            line.room: Told(found.get(line.room, frozenset()), line.is_initial or line.limited)
            for line in lazy
            if line.room in found or line.limited
        }

    async def _material(
        self, conn: Connection, wish: SlidingWish, lines: Sequence[Line]
    ) -> _Material:
        events = {event.nid: event for line in lines for event in line.news.events}
        found = await self._summaries(conn, wish, [line for line in lines if line.is_initial])
        wanted = {line.room: wanted_events(line) | _of_heroes(found, line.room) for line in lines}
        await self._read_more(conn, events, wanted)
        known = [line for line in lines if not line.is_initial and _moves_people(line, events)]
        if known:
            found |= await self._summaries(conn, wish, known)
            heroes = {line.room: _of_heroes(found, line.room) for line in known}
            await self._read_more(conn, events, heroes)
        gone = [line.due.match.room for line in lines if not line.is_joined]
        who = wish.who
        left = await departures(conn, who.user, who.user_id, gone) if gone else {}
        return _Material(events, found, await bump_stamps(conn, lines), left)

    async def _summaries(
        self, conn: Connection, wish: SlidingWish, lines: Sequence[Line]
    ) -> dict[RoomNid, Summary]:
        rooms = [line.room for line in lines if line.is_joined]
        if not rooms:
            return {}
        # "Heroes are only included if the room name is not set."
        return await summaries(conn, self._means.memory, wish.who.user_id, rooms, (NAME,))

    async def _read_more(
        self,
        conn: Connection,
        events: dict[EventNid, Placed],
        wanted: Mapping[RoomNid, set[EventNid]],
    ) -> None:
        """Add those of the events that are wanted and not there yet."""
        missing = {room: nids - events.keys() for room, nids in wanted.items()}
        events |= await self._means.memory.events(conn, {r: n for r, n in missing.items() if n})

    def _state(self, wish: SlidingWish, line: Line, material: _Material) -> JsonObject:
        """What is said of a room's state, and of who is in it."""
        section: JsonObject = {"initial": True} if line.is_initial else {}
        if line.due.is_expanded:
            section["expanded_timeline"] = section["unstable_expanded_timeline"] = True
        departure = material.departures.get(line.room)
        told, gone = told_state(line, material.events, departure)
        if told or gone:
            written = self._means.showing.write_state(told.values())
            section["required_state"] = [*written, *map(stub, gone)]
        if not line.is_joined and not _knows(line, departure):
            section["stripped_state"] = [_departed(departure, wish.who.user_id)]
        section |= _names(line, material)
        if line.room in material.bumps:
            section["bump_stamp"] = material.bumps[line.room]
        summary = material.summaries.get(line.room)
        if summary is not None:
            section |= {"joined_count": summary.joined, "invited_count": summary.invited}
            if summary.heroes:
                section["heroes"] = [_hero(one, material.events) for one in summary.heroes]
        return section

    def _timeline(
        self, wish: SlidingWish, line: Line, timeline: list[JsonObject], up_to: int
    ) -> JsonObject:
        if not timeline and not line.limited:
            return {}
        epoch = self._means.epoch
        prev = StreamToken(epoch, min(line.until, up_to))
        if line.timeline and line.timeline[0].order is not None:
            prev = prev._replace(order=line.timeline[0].order - 1)
        lives = [e for e in line.timeline if wish.after and (e.pos or 0) > wish.after]
        found: JsonObject = {
            "timeline": timeline,
            "limited": line.limited,
            "num_live": len(lives),
            "prev_batch": str(prev),
        }
        return found


def _common(due: Due) -> JsonObject:
    room, lists = due.match.room, due.match.lists
    section: JsonObject = {"membership": room.membership.name.lower()}
    if lists:
        section["lists"] = list(lists)
    before = due.sent.is_dm if due.sent else False
    if before != due.is_dm:
        section["is_dm"] = due.is_dm
    return section


def _knows(line: Line, departure: Placed | None) -> bool:
    """Whether a user who is out of a room was in it, as far as its events tell."""
    how = line.due.match.departure
    return departure is not None and departure.order is not None and bool(how and how.was_joined)


def _departed(departure: Placed | None, user_id: UserID) -> JsonObject:
    """How a user came to be out of a room that they were not in, or that has no event of it."""
    if departure is not None:
        return stripped([departure.event])[0]
    content = {"membership": "leave"}
    return {"type": MEMBER, "state_key": user_id, "sender": user_id, "content": content}


def _names(line: Line, material: _Material) -> JsonObject:
    """`name` and `avatar`, where they are not what they were; without one of them `None`."""
    keyed: dict[StateKey, Placed | None] = dict(changed_keys(line, material.events))
    if line.is_initial:
        placed = [material.events[n] for n in line.state.values() if n in material.events]
        keyed = {(e.event.type, e.event.state_key or ""): e for e in placed}
    found: JsonObject = {}
    for name, key, part in (("name", NAME, "name"), ("avatar", AVATAR, "url")):
        text = _text(keyed.get(key), part)
        if text is not None or (key in keyed and not line.is_initial):
            found[name] = text
    return found


def _text(placed: Placed | None, name: str) -> str | None:
    value: Any = placed.event.content.get(name) if placed else None
    return value if isinstance(value, str) and value else None


def _of_heroes(found: Mapping[RoomNid, Summary], room: RoomNid) -> set[EventNid]:
    return {hero.event for hero in found[room].heroes} if room in found else set()


def _hero(hero: Hero, events: Mapping[EventNid, Placed]) -> JsonObject:
    """A hero with their name and picture in the room."""
    found: JsonObject = {"user_id": hero.user_id}
    placed = events.get(hero.event)
    if placed is None or placed.event.state_key != hero.user_id or placed.event.type != MEMBER:
        return found
    for name in ("displayname", "avatar_url"):
        text = _text(placed, name)
        if text is not None:
            found[name] = text
    return found


def _moves_people(line: Line, events: Mapping[EventNid, Placed]) -> bool:
    """Whether the counts of members or the heroes may be others than before."""
    return any(key[0] == MEMBER or key == NAME for key in changed_keys(line, events))


def _says_something(section: JsonObject, line: Line) -> bool:
    """Whether the client learns anything: what it could not see does not count."""
    before = line.due.sent
    if before is None or before.membership is not line.due.match.room.membership:
        return True
    if line.due.is_expanded:
        return True
    told = section.get("timeline") or section.get("limited") or section.keys() & _TELLING
    return bool(told)


_TELLING = frozenset({"required_state", "name", "avatar", "joined_count", "heroes", "is_dm"})
