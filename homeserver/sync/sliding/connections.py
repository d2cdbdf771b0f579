"""The connections of devices: which position a token names, over restarts and on every worker.

https://github.com/matrix-org/matrix-spec-proposals/pull/4186, "Connections"
"""

from collections import OrderedDict

from homeserver.errors import UnknownPos
from homeserver.storage import sliding
from homeserver.storage.process import Process
from homeserver.sync.sliding.positions import Position, decode, encode
from homeserver.sync.sliding.wishes import SlidingWish

_MOST_ROOMS = 500_000
"""Rooms of all positions that are remembered, at some 100 bytes each."""

NOTHING = Position()

_Key = tuple[int, str, int]


class Connections:
    """Reads and writes positions, those lately used in memory."""

    def __init__(self, process: Process, epoch: int) -> None:
        self._process = process
        self._epoch = epoch
        self._known: OrderedDict[_Key, tuple[Position, int]] = OrderedDict()
        self._used = 0

    async def find(self, wish: SlidingWish) -> Position:
        """What the connection was sent when the client got its token.

        Raises:
            UnknownPos: it is not a position of this connection, or not any more.

        """
        if wish.pos is None:
            return NOTHING
        if wish.pos.stream.epoch != self._epoch:
            raise UnknownPos
        key = (int(wish.who.device), wish.conn_id, wish.pos.version)
        known = self._known.get(key)
        if known is not None and known[1] == self._process.today:
            self._known.move_to_end(key)
            return known[0]
        return self._remember(key, await self._read(key))

    async def store(self, wish: SlidingWish, before: Position, after: Position) -> int:
        """The version of what the connection was sent; written if that is otherwise than before."""
        if wish.pos is not None and before == after:
            return wish.pos.version
        device, base = int(wish.who.device), wish.pos.version if wish.pos else 0
        async with self._process.database.reader() as conn:
            version = await sliding.add(
                conn, device, wish.conn_id, encode(after), self._process.today, base
            )
        self._remember((device, wish.conn_id, version), after)
        return version

    async def _read(self, key: _Key) -> Position:
        device, conn_id, version = key
        async with self._process.database.reader() as conn:
            found = await sliding.find(conn, version, device, conn_id, self._process.today)
        if found is None:
            raise UnknownPos
        return decode(found)

    def _remember(self, key: _Key, position: Position) -> Position:
        gone = self._known.pop(key, None)
        self._used += len(position.rooms) + 1 - (len(gone[0].rooms) + 1 if gone else 0)
        self._known[key] = position, self._process.today
        while self._used > _MOST_ROOMS and len(self._known) > 1:
            _, (dropped, _) = self._known.popitem(last=False)
            self._used -= len(dropped.rooms) + 1
        return position
