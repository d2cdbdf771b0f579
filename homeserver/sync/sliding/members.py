"""Which members each connection was told of, so that they are not sent again and again.

Only what the client certainly has counts: an answer counts when its token comes back. Another
process knows nothing of it and may tell a member once more.

https://github.com/matrix-org/matrix-spec-proposals/pull/4186, "Lazy loaded memberships"
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

from federation.identifiers import UserID
from homeserver.storage.numbers import RoomNid

_REMEMBERED = 200_000
"""Members, at some 100 bytes each."""
_PENDING = 3
"""Answers of a connection that may be the one that its client got."""


class Told(NamedTuple):
    """What one answer tells of a room."""

    users: frozenset[UserID]
    is_anew: bool
    """Whether the client forgets whom it knew before."""


class _Connection:
    def __init__(self) -> None:
        self.known: dict[RoomNid, frozenset[UserID]] = {}
        self.pending: OrderedDict[int, Mapping[RoomNid, Told]] = OrderedDict()

    @property
    def size(self) -> int:
        return 1 + sum(map(len, self.known.values())) + sum(map(_size, self.pending.values()))


class KnownMembers:
    """Remembers them, of connections lately used."""

    def __init__(self, most: int = _REMEMBERED) -> None:
        self._most = most
        self._connections: OrderedDict[tuple[int, str], _Connection] = OrderedDict()
        self._used = 0

    def begin(self, device: int, conn_id: str, answer: int | None) -> None:
        """The client has this answer, and no other that is pending; with `None` it begins anew."""
        key = (device, conn_id)
        connection = self._connections.pop(key, None)
        self._used -= connection.size if connection else 0
        if connection is None or answer is None:
            connection = _Connection()
        for room, told in connection.pending.get(answer or 0, {}).items():
            before = frozenset() if told.is_anew else connection.known.get(room, frozenset())
            connection.known[room] = before | told.users
        connection.pending.clear()
        self._connections[key] = connection
        self._used += connection.size
        self._forget()

    def of(self, device: int, conn_id: str, room: RoomNid) -> frozenset[UserID]:
        """The members of a room that the client knows."""
        connection = self._connections.get((device, conn_id))
        return connection.known.get(room, frozenset()) if connection else frozenset()

    def note(self, device: int, conn_id: str, answer: int, told: Mapping[RoomNid, Told]) -> None:
        """Note what an answer tells, which the client may get."""
        connection = self._connections.get((device, conn_id))
        if connection is not None and told:
            connection.pending[answer] = told
            self._used += _size(told)
            while len(connection.pending) > _PENDING:
                self._used -= _size(connection.pending.popitem(last=False)[1])
            self._forget()

    def _forget(self) -> None:
        """Those that were not used for longest, while too much is remembered."""
        while self._used > self._most and len(self._connections) > 1:
            _, gone = self._connections.popitem(last=False)
            self._used -= gone.size


def _size(told: Mapping[RoomNid, Told]) -> int:
    return sum(len(one.users) for one in told.values())
