"""Filters: what they may say, and keeping them.

Their ids are made from what they say, so the same filter has the same id, on every process.

https://spec.matrix.org/v1.19/client-server-api/#filtering
"""

import base64
import binascii
import hashlib
from collections import OrderedDict
from typing import Literal

import msgspec

from federation.canonical_json import encode
from federation.errors import CanonicalJSONError, IdentifierError
from federation.identifiers import is_user_id, parse_room_id
from homeserver.errors import BadJson, Forbidden, NotFound, TooLarge
from homeserver.storage import filters
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process

MOST = 1000
"""Filters of one user."""
LARGEST = 64 * 1024
"""Bytes of one filter."""
_REMEMBERED = 5000
_ID_BYTES = 12


def _check_rooms(*lists: tuple[str, ...] | None) -> None:
    for room in (room for rooms in lists for room in rooms or ()):
        try:
            parse_room_id(room)
        except IdentifierError as error:
            raise ValueError("rooms must be room IDs") from error


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """`EventFilter` of https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridfilter"""

    limit: int | None = None
    senders: tuple[str, ...] | None = None
    not_senders: tuple[str, ...] | None = None
    types: tuple[str, ...] | None = None
    not_types: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        # COMPAT(bridges): the specification wants a limit above 0; some ask for none at all.
        if self.limit is not None and self.limit < 0:
            raise ValueError("limit must not be negative")
        for user in (*(self.senders or ()), *(self.not_senders or ())):
            if not is_user_id(user):
                raise ValueError("senders must be user IDs")


class RoomEventFilter(EventFilter, frozen=True, kw_only=True):
    """`RoomEventFilter` of https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridfilter"""

    unread_thread_notifications: bool = False
    lazy_load_members: bool = False
    include_redundant_members: bool = False
    rooms: tuple[str, ...] | None = None
    not_rooms: tuple[str, ...] | None = None
    contains_url: bool | None = None
    related_by_rel_types: tuple[str, ...] | None = None
    """MSC3440: what others have to be to events; with the next, one that is both."""
    related_by_senders: tuple[str, ...] | None = None
    rel_types: tuple[str, ...] | None = None
    """MSC3874: what events have to be to others; with it, those that are nothing are left out."""
    not_rel_types: tuple[str, ...] | None = None
    unstable_rel_types: tuple[str, ...] | None = msgspec.field(
        name="org.matrix.msc3874.rel_types", default=None
    )
    unstable_not_rel_types: tuple[str, ...] | None = msgspec.field(
        name="org.matrix.msc3874.not_rel_types", default=None
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_rooms(self.rooms, self.not_rooms)

    @property
    def asks_for_relations(self) -> bool:
        """Whether it matters what is related to an event."""
        return self.related_by_rel_types is not None or self.related_by_senders is not None


class RoomFilter(msgspec.Struct, frozen=True, kw_only=True):
    """`RoomFilter` of https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridfilter"""

    rooms: tuple[str, ...] | None = None
    not_rooms: tuple[str, ...] | None = None
    include_leave: bool = False
    ephemeral: RoomEventFilter = RoomEventFilter()
    state: RoomEventFilter = RoomEventFilter()
    timeline: RoomEventFilter = RoomEventFilter()
    account_data: RoomEventFilter = RoomEventFilter()

    def __post_init__(self) -> None:
        _check_rooms(self.rooms, self.not_rooms)


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridfilter"""

    event_fields: tuple[str, ...] | None = None
    event_format: Literal["client", "federation"] = "client"
    presence: EventFilter = EventFilter()
    account_data: EventFilter = EventFilter()
    room: RoomFilter = RoomFilter()


_FILTER: msgspec.json.Decoder[Filter] = msgspec.json.Decoder(Filter)


def parse_filter(raw: bytes) -> Filter:
    """Read a filter; what it says beyond the specification is ignored.

    Raises:
        BadJson: it is none.
        TooLarge: it is larger than `LARGEST`.

    """
    if len(raw) > LARGEST:
        raise TooLarge(f"a filter has at most {LARGEST} bytes")
    try:
        return _FILTER.decode(raw)
    except msgspec.MsgspecError as error:
        raise BadJson(f"not a filter: {error}") from error


class Filters:
    """The filters of all users, those lately used in memory; they never change."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._known: OrderedDict[tuple[UserNid, bytes], tuple[bytes, Filter]] = OrderedDict()

    async def add(self, user: UserNid, raw: bytes) -> str:
        """Keep a filter; answer its id.

        Raises:
            BadJson, TooLarge: see `parse_filter`.
            Forbidden: the user has too many.

        """
        parse_filter(raw)
        try:
            stored = encode(msgspec.json.decode(raw), strict=False)
        except CanonicalJSONError as error:
            raise BadJson("not a filter") from error
        digest = hashlib.sha256(stored).digest()[:_ID_BYTES]
        async with self._process.database.reader() as conn:
            if not await filters.add(conn, user, digest, stored, MOST):
                raise Forbidden(f"a user has at most {MOST} filters")
        return base64.urlsafe_b64encode(digest).decode()

    async def get(self, user: UserNid, filter_id: str) -> Filter:
        """A filter of the user, or raise `NotFound`."""
        return (await self._find(user, filter_id))[1]

    async def get_json(self, user: UserNid, filter_id: str) -> bytes:
        """A filter of the user as JSON, or raise `NotFound`."""
        return (await self._find(user, filter_id))[0]

    async def _find(self, user: UserNid, filter_id: str) -> tuple[bytes, Filter]:
        key = user, _digest(filter_id)
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            return known
        async with self._process.database.reader() as conn:
            raw = await filters.find(conn, *key)
        if raw is None:
            raise NotFound("no such filter")
        self._known[key] = known = raw, parse_filter(raw)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return known


def _digest(filter_id: str) -> bytes:
    try:
        return base64.b64decode(filter_id.encode(), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return b""
