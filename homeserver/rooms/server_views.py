"""What other servers may see of what was said in rooms; the rest they get redacted.

https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from federation import events
from federation.events import Event, StateKey
from federation.history_visibility import (
    HistoryVisibility,
    ServerFacts,
    is_redacted_for,
    read_visibility,
    server_may_see,
)
from federation.identifiers import RoomID, ServerName, UserID
from homeserver.rooms.current import Current
from homeserver.rooms.intake import Means
from homeserver.storage import accounts, memberships, received
from homeserver.storage.pool import Connection
from homeserver.storage.received import Stored
from homeserver.storage.state_groups import EventNid, GroupNid, KeyNid, StateGroup

VISIBILITY: StateKey = ("m.room.history_visibility", "")
_FIRST = 20
"""People of a server who are looked at first."""
_CLOSED = frozenset({HistoryVisibility.JOINED, HistoryVisibility.INVITED})


class _Facts(NamedTuple):
    """What decides what a server sees of some events."""

    rules: Mapping[GroupNid, HistoryVisibility]
    memberships: Mapping[GroupNid, Collection[str]]
    """Of the server's people, where they matter."""
    erased: Collection[UserID]


class ServerViews:
    """Shows events to servers that are in the room."""

    def __init__(self, current: Current, means: Means) -> None:
        self._current = current
        self._means = means

    async def shown(
        self, conn: Connection, origin: ServerName, room_id: RoomID, stored: Sequence[Stored]
    ) -> list[bytes]:
        """Events of one room, redacted where the server may not see what they say."""
        facts = await self._facts(conn, origin, room_id, stored)
        return [
            one.event.json if _may_see(one, facts) else events.redacted(one.event).json
            for one in stored
        ]

    async def present(
        self, conn: Connection, origin: ServerName, room_id: RoomID, stored: Sequence[Stored]
    ) -> list[Stored]:
        """Those of the events of one room before which people of the server were in it."""
        groups = await self._means.states.load(conn, {s.group for s in stored if s.group})
        words = await self._memberships(conn, origin, room_id, groups)
        return [one for one in stored if one.group and "join" in words[one.group]]

    async def _facts(
        self, conn: Connection, origin: ServerName, room_id: RoomID, stored: Sequence[Stored]
    ) -> _Facts:
        groups = await self._means.states.load(conn, {s.group for s in stored if s.group})
        rules = await self._rules(conn, groups)
        erased = await accounts.erased(conn, {s.event.sender for s in stored})
        present: Mapping[GroupNid, Collection[str]] = {}
        if erased or any(rule in _CLOSED for rule in rules.values()):
            present = await self._memberships(conn, origin, room_id, groups)
        return _Facts(rules, present, erased)

    async def _memberships(
        self,
        conn: Connection,
        origin: ServerName,
        room_id: RoomID,
        groups: Mapping[GroupNid, StateGroup],
    ) -> dict[GroupNid, set[str]]:
        """What the server's people were in each state."""
        room = await self._current.room(conn, room_id)
        users = await memberships.of_server(conn, room, origin) if room is not None else []
        found: dict[GroupNid, set[str]] = {nid: set() for nid in groups}
        # If anybody was joined, nothing else matters: most of the time one of the first was.
        for some in (users[:_FIRST], users[_FIRST:]):
            open_ = {nid: group for nid, group in groups.items() if "join" not in found[nid]}
            named = [("m.room.member", str(user)) for user in some]
            members = list((await self._means.numbers.state_keys.find(conn, named)).values())
            words = await _words(conn, open_.values(), members)
            for nid, group in open_.items():
                found[nid] |= {words[event] for key in members if (event := group.find(key))}
        return found

    async def _rules(
        self, conn: Connection, groups: Mapping[GroupNid, StateGroup]
    ) -> dict[GroupNid, HistoryVisibility]:
        """Who may see what was said in each state."""
        keys = await self._means.numbers.state_keys.find(conn, [VISIBILITY])
        key = keys.get(VISIBILITY)
        named = {nid: group.find(key) if key else None for nid, group in groups.items()}
        found = await received.by_nids(conn, {event for event in named.values() if event})
        return {
            nid: read_visibility(found[event].event.content if event in found else None)
            for nid, event in named.items()
        }


async def _words(
    conn: Connection, groups: Iterable[StateGroup], members: Sequence[KeyNid]
) -> dict[EventNid, str]:
    """What memberships in the states say."""
    wanted = {n for group in groups for key in members if (n := group.find(key))}
    found = await received.by_nids(conn, wanted) if wanted else {}
    words = {nid: row.event.membership or "leave" for nid, row in found.items()}
    return dict.fromkeys(wanted, "leave") | words


def _may_see(stored: Stored, facts: _Facts) -> bool:
    """Whether the server gets the event as it is; state it needs, to know what the room is."""
    event: Event = stored.event
    if event.is_state:
        return True
    rule = facts.rules[stored.group] if stored.group else HistoryVisibility.SHARED
    present = facts.memberships.get(stored.group, ()) if stored.group else ()
    if is_redacted_for(present, sender_is_erased=event.sender in facts.erased):
        return False
    return server_may_see(ServerFacts([rule], frozenset(present), is_in_room=True))
