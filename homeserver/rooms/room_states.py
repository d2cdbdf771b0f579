"""A room's state, and who its members are, as somebody may see them.

Whoever is in the room sees it as it is; whoever left, as it was when they did.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstate
"""

from collections.abc import Sequence

from federation.canonical_json import JsonObject
from federation.events import StateKey
from federation.identifiers import RoomID
from homeserver.errors import Forbidden, NotFound
from homeserver.rooms.access import Access, Reach
from homeserver.rooms.member_events import MemberEvent, MemberEvents
from homeserver.rooms.showing import Showing
from homeserver.rooms.standings import Reader
from homeserver.rooms.wholeness import Wholeness
from homeserver.storage import history, room_states
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process
from homeserver.storage.raw_json import RawJson
from homeserver.storage.state_groups import EventNid
from homeserver.storage.stream_tokens import ORDER_BITS, StreamToken

MEMBER = "m.room.member"


class RoomStates:
    """Reads states.

    Args:
        process: the one that this is part of.
        access: says how far somebody may look.
        showing: says how entries are shown.
        wholeness: waits for members that are not known yet.

    """

    def __init__(
        self, process: Process, access: Access, showing: Showing, wholeness: Wholeness
    ) -> None:
        self._wholeness = wholeness
        self._process = process
        self._access = access
        self._showing = showing
        self._member_events = MemberEvents()

    async def check_current(self, reader: Reader, room_id: RoomID) -> None:
        """Raise `Forbidden` if the reader may not look at the room as it is now."""
        async with self._process.database.reader() as conn:
            reach = await self._access.reach(conn, reader, room_id)
        if reach.departed is not None:
            raise Forbidden("you are not in this room")

    async def whole(self, reader: Reader, room_id: RoomID) -> list[JsonObject]:
        """Every entry, or raise `Forbidden`."""
        await self._wholeness.wait(room_id)
        async with self._process.database.reader() as conn:
            reach = await self._access.reach(conn, reader, room_id)
            nids = await room_states.all_at(conn, reach.room, _position(reach))
            return await self._shown(conn, nids)

    async def entry(self, reader: Reader, room_id: RoomID, kind: str, state_key: str) -> JsonObject:
        """One entry.

        Raises:
            Forbidden: the reader may not look into the room.
            NotFound: there is nothing under this key.

        """
        if kind == MEMBER:
            await self._wholeness.wait(room_id)
        async with self._process.database.reader() as conn:
            reach = await self._access.reach(conn, reader, room_id)
            key = (kind, state_key)
            nids = await self._process.numbers.state_keys.find(conn, [key]) if _is_text(key) else {}
            found = (
                await room_states.find_at(conn, reach.room, nids[key], _position(reach))
                if key in nids
                else None
            )
            if found is None:
                raise NotFound("there is no such state in this room")
            return (await self._shown(conn, [found]))[0]

    async def members(
        self,
        reader: Reader,
        room_id: RoomID,
        at: StreamToken | None = None,
        membership: str | None = None,
        not_membership: str | None = None,
    ) -> RawJson:
        """The membership events, as a list.

        Args:
            reader: who asks.
            room_id: of the room.
            at: when it was so; `None`: now.
            membership: of which kind, if not of all.
            not_membership: of all kinds but this; together they "create an 'or' condition".

        Raises:
            Forbidden: the reader may not look into the room.

        """
        await self._wholeness.wait(room_id)
        async with self._process.database.reader() as conn:
            reach = await self._access.reach(conn, reader, room_id)
            pos = _position(reach)
            if at is not None:
                pos = min(pos, at.room_order >> ORDER_BITS)
            entries = await room_states.members_at(conn, reach.room, pos)
            events = await self._member_events.read(conn, entries)
        wanted = [e.raw for e in events if _is_asked_for(e, membership, not_membership)]
        return RawJson(b"[" + b",".join(wanted) + b"]")

    async def joined_members(self, reader: Reader, room_id: RoomID) -> RawJson:
        """The profiles of the joined members by ID; `Forbidden` unless the reader is one."""
        await self._wholeness.wait(room_id)
        async with self._process.database.reader() as conn:
            standing = await self._access.joined(conn, reader, room_id)
            entries = await room_states.members_at(conn, standing.room, room_states.NOW)
            events = await self._member_events.read(conn, entries)
        joined = [event.profile for event in events if event.membership == "join"]
        return RawJson(b"{" + b",".join(joined) + b"}")

    async def _shown(self, conn: Connection, nids: Sequence[EventNid]) -> list[JsonObject]:
        return self._showing.show_state((await history.by_nid(conn, nids)).values())


def _position(reach: Reach) -> int:
    return room_states.NOW if reach.departed is None else reach.departed


def _is_asked_for(event: MemberEvent, membership: str | None, not_membership: str | None) -> bool:
    if membership is None and not_membership is None:
        return True
    found = event.membership
    return found == membership or (not_membership is not None and found != not_membership)


def _is_text(key: StateKey) -> bool:
    """Whether there can be such a key: what paths hold may be no Unicode."""
    try:
        return b"\0" not in "".join(key).encode()
    except UnicodeEncodeError:
        return False
