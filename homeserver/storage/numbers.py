"""Numbers for names: rooms, users, servers, event IDs and state keys as the tables know them.

Names are interned before a batch is written, autocommitted, in sorted order: what exists is looked
up first, so that no number is burnt, and two processes that intern the same names cannot wait for
each other in a circle. A name keeps its number for ever; what was once found is remembered.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NewType, TypeVar

from federation.events import StateKey
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid, KeyNid

RoomNid = NewType("RoomNid", int)
UserNid = NewType("UserNid", int)
ServerNid = NewType("ServerNid", int)

_Name = TypeVar("_Name", bound=Hashable)
_Nid = TypeVar("_Nid", bound=int)


@dataclass(frozen=True, slots=True)
class _Kind(Generic[_Name]):
    """How one kind of name is looked up and added; the number is the last column of both."""

    find: str
    add: str
    columns: Callable[[Sequence[_Name]], list[list[Any]]]
    """The names as the queries' arguments: an array for each of their columns."""
    name_in: Callable[[Any], _Name]
    """The name in a row."""
    sequence: str
    """That the numbers are taken from."""


def _texts(names: Sequence[str]) -> list[list[Any]]:
    return [list(names)]


def _pairs(names: Sequence[StateKey]) -> list[list[Any]]:
    return [[kind for kind, _ in names], [key for _, key in names]]


def _has_nul(name: object) -> bool:
    """Whether a name cannot even be asked for: PostgreSQL has no such text."""
    parts = name if isinstance(name, tuple) else (name,)
    return any("\0" in part for part in parts)


def _text_in(row: Any) -> str:
    return str(row[0])


def _pair_in(row: Any) -> StateKey:
    return row[0], row[1]


_ROOMS = _Kind(
    "SELECT room_id, room_nid FROM rooms WHERE room_id = ANY ($1)",
    """
    INSERT INTO rooms (room_id) SELECT unnest($1::text[])
    ON CONFLICT (room_id) DO NOTHING RETURNING room_id, room_nid
    """,
    _texts,
    _text_in,
    "rooms_room_nid_seq",
)
_USERS = _Kind(
    "SELECT user_id, user_nid FROM users WHERE user_id = ANY ($1)",
    """
    INSERT INTO users (user_id) SELECT unnest($1::text[])
    ON CONFLICT (user_id) DO NOTHING RETURNING user_id, user_nid
    """,
    _texts,
    _text_in,
    "users_user_nid_seq",
)
_SERVERS = _Kind(
    "SELECT server_name, server_nid FROM servers WHERE server_name = ANY ($1)",
    """
    INSERT INTO servers (server_name) SELECT unnest($1::text[])
    ON CONFLICT (server_name) DO NOTHING RETURNING server_name, server_nid
    """,
    _texts,
    _text_in,
    "servers_server_nid_seq",
)
_EVENTS = _Kind(
    "SELECT event_id, event_nid FROM event_ids WHERE event_id = ANY ($1)",
    """
    INSERT INTO event_ids (event_id) SELECT unnest($1::text[])
    ON CONFLICT (event_id) DO NOTHING RETURNING event_id, event_nid
    """,
    _texts,
    _text_in,
    "event_ids_event_nid_seq",
)
_STATE_KEYS = _Kind(
    """
    SELECT k.type, k.state_key, k.state_key_nid
      FROM state_keys k JOIN unnest($1::text[], $2::text[]) AS n (type, state_key)
        ON k.type = n.type AND k.state_key = n.state_key
    """,
    """
    INSERT INTO state_keys (type, state_key) SELECT * FROM unnest($1::text[], $2::text[])
    ON CONFLICT (type, state_key) DO NOTHING RETURNING type, state_key, state_key_nid
    """,
    _pairs,
    _pair_in,
    "state_keys_state_key_nid_seq",
)


class Names(Generic[_Name, _Nid]):
    """One kind of name, with a memory of bounded size."""

    def __init__(self, kind: _Kind[_Name]) -> None:
        self._kind = kind
        self._known: OrderedDict[_Name, _Nid] = OrderedDict()
        self._aside: list[_Nid] = []

    async def find(self, conn: Connection, names: Iterable[_Name]) -> dict[_Name, _Nid]:
        """The numbers of those names that have one; none that holds NUL does."""
        found, missing = self._recalled(names)
        missing = [name for name in missing if not _has_nul(name)]
        if missing:
            found |= self._learn(await conn.fetch(self._kind.find, *self._kind.columns(missing)))
        return found

    def knows(self, name: _Name) -> bool:
        """Whether a name is in memory."""
        return name in self._known

    async def intern(
        self, conn: Connection, names: Iterable[_Name], *, are_new: bool = False
    ) -> dict[_Name, _Nid]:
        """The numbers of all the names; new ones are added, so `conn` must be in no transaction.

        With `are_new`, those that are not in memory were most likely never seen: they are added
        without a look, which burns a number for each that was.
        """
        wanted = set(names)
        found = self._recalled(wanted)[0] if are_new else await self.find(conn, wanted)
        while missing := sorted(wanted - found.keys()):  # type: ignore[type-var]
            found |= self._learn(await conn.fetch(self._kind.add, *self._kind.columns(missing)))
            # Whoever was quicker has committed by now.
            found |= await self.find(conn, wanted - found.keys())
        return found

    async def set_aside(self, conn: Connection, count: int) -> list[_Nid]:
        """So many numbers that are nobody's yet; whoever gives one to a name says so by `note`."""
        if len(self._aside) < count:
            query = "SELECT nextval($1::regclass) FROM generate_series(1, $2)"
            rows = await conn.fetch(query, self._kind.sequence, max(count, _SET_ASIDE))
            self._aside += [row[0] for row in rows]
        found, self._aside = self._aside[:count], self._aside[count:]
        return found

    def note(self, names: Mapping[_Name, _Nid]) -> None:
        """These names have these numbers now."""
        self._known.update(names)
        self._shrink()

    def _recalled(self, names: Iterable[_Name]) -> tuple[dict[_Name, _Nid], list[_Name]]:
        found: dict[_Name, _Nid] = {}
        missing: list[_Name] = []
        for name in set(names):
            nid = self._known.get(name)
            if nid is None:
                missing.append(name)
            else:
                self._known.move_to_end(name)
                found[name] = nid
        return found, missing

    def _learn(self, rows: Iterable[Any]) -> dict[_Name, _Nid]:
        learnt: dict[_Name, _Nid] = {self._kind.name_in(row): row[-1] for row in rows}
        self._known.update(learnt)
        self._shrink()
        return learnt

    def _shrink(self) -> None:
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)


_SET_ASIDE = 200
"""Numbers that are set aside at a time: those left are lost when the process ends."""
_REMEMBERED = 100_000
"""Names of each kind that are kept in memory: about 25 MB at the very most."""


class Numbers:
    """All kinds of names."""

    def __init__(self) -> None:
        self.rooms: Names[str, RoomNid] = Names(_ROOMS)
        self.users: Names[str, UserNid] = Names(_USERS)
        self.servers: Names[str, ServerNid] = Names(_SERVERS)
        self.events: Names[str, EventNid] = Names(_EVENTS)
        self.state_keys: Names[StateKey, KeyNid] = Names(_STATE_KEYS)
