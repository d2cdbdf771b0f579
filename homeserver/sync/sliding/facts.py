"""What filters of lists ask about rooms: their type, and whether they are encrypted.

https://github.com/matrix-org/matrix-spec-proposals/pull/4186, `SlidingRoomFilter`
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from federation.canonical_json import JsonObject
from federation.identifiers import UserID
from homeserver.accounts.sessions import Session
from homeserver.storage import history, sliding, sync
from homeserver.storage.batch import Membership
from homeserver.storage.memberships import RoomOf
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process
from homeserver.storage.state_groups import EventNid
from homeserver.sync.activity import Activity
from homeserver.sync.invitations import inviter, stripped_states

CREATE = ("m.room.create", "")
ENCRYPTION = ("m.room.encryption", "")
CHILD = "m.space.child"
_ASKED = frozenset({Membership.INVITE, Membership.KNOCK})
_MOST = 200_000
"""Rooms that are remembered, at some 200 bytes each."""


class Facts(NamedTuple):
    """What is known of a room."""

    type: str | None
    is_encrypted: bool
    inviter: str | None = None
    """Of a room that the user is invited to."""


class _Known(NamedTuple):
    facts: Facts
    up_to: int
    """The position at which it was so."""


class RoomFacts:
    """Reads facts; of rooms where nothing happened since from memory."""

    def __init__(self, process: Process, activity: Activity) -> None:
        self._process = process
        self._activity = activity
        self._joined: dict[RoomNid, _Known] = {}
        self._asked: dict[EventNid, Facts] = {}
        """By the invitation, or the knock."""

    async def of(self, who: Session, rooms: Sequence[RoomOf]) -> Mapping[RoomNid, Facts]:
        """The facts of rooms that the user is or was in, or is invited to."""
        asked = [room for room in rooms if room.membership in _ASKED]
        others = [room.room for room in rooms if room.membership not in _ASKED]
        found = {room: self._joined[room].facts for room in others if self._is_sure(room)}
        found |= {r.room: self._asked[r.event] for r in asked if r.event in self._asked}
        unsure = [room for room in others if room not in found]
        strange = [room for room in asked if room.room not in found]
        if unsure or strange:
            async with self._process.database.reader() as conn:
                found |= await self._learn(conn, unsure)
                found |= await self._learn_asked(conn, who, strange)
        return found

    async def children(self, spaces: Iterable[RoomNid]) -> set[str]:
        """The IDs of the rooms that are directly in any of the spaces."""
        async with self._process.database.reader() as conn:
            found = await sliding.entries(conn, spaces, [CHILD])
            nids = {nid for entries in found.values() for nid in entries.values()}
            events = await history.by_nid(conn, nids) if nids else {}
        # "a valid list of servers": without one the room is no child any more.
        return {
            str(placed.event.state_key)
            for placed in events.values()
            if isinstance(placed.event.content.get("via"), list)
        }

    def _is_sure(self, room: RoomNid) -> bool:
        known = self._joined.get(room)
        if known is None:
            return False
        return known.facts.is_encrypted or not self._activity.changed([room], known.up_to)

    async def _learn(self, conn: Connection, rooms: Sequence[RoomNid]) -> dict[RoomNid, Facts]:
        if not rooms:
            return {}
        up_to = self._activity.position
        types = {room: self._joined[room].facts.type for room in rooms if room in self._joined}
        keys = await self._process.numbers.state_keys.find(conn, [CREATE, ENCRYPTION])
        pairs = [(room, key) for room in rooms for key in keys.values()]
        entries = await sync.current_entries(conn, pairs) if pairs else {}
        created = {room: nid for (room, key), nid in entries.items() if key == keys.get(CREATE)}
        new = {nid for room, nid in created.items() if room not in types}
        for create in (await history.by_nid(conn, new) if new else {}).values():
            types[create.room] = _type(create.event.content)
        encrypted = {room for room, key in entries if key == keys.get(ENCRYPTION)}
        learnt = {room: Facts(types.get(room), room in encrypted) for room in rooms}
        if len(self._joined) > _MOST:
            self._joined.clear()
        # Of a room that we were never in nothing is known yet.
        self._joined |= {room: _Known(learnt[room], up_to) for room in created}
        return learnt

    async def _learn_asked(
        self, conn: Connection, who: Session, rooms: Sequence[RoomOf]
    ) -> dict[RoomNid, Facts]:
        numbers = self._process.numbers
        states = await stripped_states(conn, numbers, who.user, who.user_id, rooms)
        learnt = {r.room: _stripped_facts(states[r.room], who.user_id) for r in rooms}
        if len(self._asked) > _MOST:
            self._asked.clear()
        self._asked |= {room.event: learnt[room.room] for room in rooms}
        return learnt


def _stripped_facts(state: Sequence[JsonObject], user_id: UserID) -> Facts:
    """What stripped state says, which another server may have written."""
    by_type: dict[Any, Any] = {e.get("type"): e.get("content") for e in state}
    create = by_type.get("m.room.create")
    kind = _type(create) if isinstance(create, dict) else None
    return Facts(kind, "m.room.encryption" in by_type, inviter(state, user_id))


def _type(content: Mapping[str, Any]) -> str | None:
    kind = content.get("type")
    return kind if isinstance(kind, str) else None
