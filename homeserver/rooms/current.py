"""Looking at the current state of a room, as it is now and not as it was."""

from collections.abc import Iterable, Mapping

from federation.events import Event, StateKey
from federation.identifiers import RoomID
from federation.power_levels import PowerLevels
from homeserver.rooms.heads import Head, Heads
from homeserver.storage.numbers import Numbers, RoomNid
from homeserver.storage.pool import Connection

CREATE: StateKey = ("m.room.create", "")
POWER_LEVELS: StateKey = ("m.room.power_levels", "")


class Current:
    """Reads entries of current states, mostly from memory."""

    def __init__(self, numbers: Numbers, heads: Heads) -> None:
        self._numbers = numbers
        self._heads = heads

    async def room(self, conn: Connection, room_id: RoomID) -> RoomNid | None:
        """The room's number, if it was ever heard of."""
        return (await self._numbers.rooms.find(conn, [room_id])).get(room_id)

    async def head(
        self, conn: Connection, room_id: RoomID, keys: Iterable[StateKey] = ()
    ) -> Head | None:
        """The room's head, knowing these entries; `None` if there is no such room here."""
        room = await self.room(conn, room_id)
        if room is not None:
            await self._heads.drop_old(conn, [room])
        return await self.late_head(conn, room_id, keys)

    async def head_at(
        self,
        conn: Connection,
        room_id: RoomID,
        number: int,
        keys: Iterable[StateKey],
        absent: Iterable[StateKey] = (),
    ) -> Head | None:
        """The head, for whoever has just read its number, and which entries are not there."""
        room = await self.room(conn, room_id)
        if room is not None:
            self._heads.see(room, number, absent)
        return await self.late_head(conn, room_id, keys)

    async def late_head(
        self, conn: Connection, room_id: RoomID, keys: Iterable[StateKey] = ()
    ) -> Head | None:
        """The same as it was a moment ago: whoever acts on it has to see whether it still is."""
        room = await self.room(conn, room_id)
        if room is None:
            return None
        head = (await self._heads.get(conn, {room: list(keys)})).get(room)
        return head if head and head.version else None

    async def created(self, conn: Connection, room_id: RoomID) -> Event | None:
        """The create event, which never changes; `None` if there is no such room here."""
        head = await self.late_head(conn, room_id, [CREATE])
        tip = head.known.get(CREATE) if head else None
        return tip.event if tip else None

    async def heads(
        self, conn: Connection, room_ids: Iterable[RoomID], keys: Iterable[StateKey] = ()
    ) -> list[Head]:
        """The heads of those of the rooms that there are, knowing these entries."""
        rooms = (await self._numbers.rooms.find(conn, room_ids)).values()
        await self._heads.drop_old(conn, rooms)
        wanted = list(keys)
        heads = await self._heads.get(conn, dict.fromkeys(rooms, wanted))
        return [head for head in heads.values() if head.version]

    async def read(
        self, conn: Connection, room_id: RoomID, keys: Iterable[StateKey]
    ) -> Mapping[StateKey, Event]:
        """Those of the entries that there are; nothing of a room that is not here."""
        wanted = list(keys)
        head = await self.head(conn, room_id, wanted)
        return entries(head, wanted) if head else {}

    async def levels(self, conn: Connection, room_id: RoomID) -> PowerLevels | None:
        """The power levels; `None` if there is no such room here."""
        state = await self.read(conn, room_id, [CREATE, POWER_LEVELS])
        if CREATE not in state:
            return None
        return PowerLevels(state[CREATE], state.get(POWER_LEVELS))


def entries(head: Head, keys: Iterable[StateKey]) -> dict[StateKey, Event]:
    """Those of the entries that there are, as far as the head knows them."""
    return {key: tip.event for key in keys if (tip := head.known.get(key))}
