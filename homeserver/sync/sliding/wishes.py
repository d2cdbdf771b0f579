"""What a client asks sliding sync for, read and bounded.

https://github.com/matrix-org/matrix-spec-proposals/pull/4186, "Request Body"
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from federation.identifiers import RoomID
from homeserver.accounts.sessions import Session
from homeserver.errors import InvalidParam, UnknownPos
from homeserver.storage.stream_tokens import StreamToken
from homeserver.sync.sliding.state_wishes import RoomConfig

MOST_LISTS = 100
MOST_SUBSCRIPTIONS = 100
MOST_RANGES = 20
MOST_EVENTS = 100
"""In the timeline of one room, whatever is asked for."""


class RoomFilter(NamedTuple):
    """Which rooms are in a list; `None`: that does not matter. `SlidingRoomFilter`."""

    is_dm: bool | None = None
    is_encrypted: bool | None = None
    is_invite: bool | None = None
    spaces: tuple[RoomID, ...] | None = None
    room_types: tuple[str | None, ...] | None = None
    not_room_types: tuple[str | None, ...] = ()
    tags: tuple[str, ...] | None = None
    not_tags: tuple[str, ...] = ()


class ListRule(NamedTuple):
    """A list: rooms that pass a filter, and which of them are wanted."""

    config: RoomConfig
    ranges: tuple[tuple[int, int], ...] | None = None
    """First and last place, from 0; `None`: all."""
    filter: RoomFilter = RoomFilter()


@dataclass(frozen=True, slots=True)
class Rules:
    """Which rooms are wanted."""

    lists: Mapping[str, ListRule] = field(default_factory=dict)
    subscriptions: Mapping[RoomID, RoomConfig] = field(default_factory=dict)


class Scope(NamedTuple):
    """For which rooms an extension is wanted; `None`: all lists, all subscriptions."""

    lists: frozenset[str] | None = None
    rooms: frozenset[str] | None = None


class ToDeviceWish(NamedTuple):
    """https://github.com/matrix-org/matrix-spec-proposals/pull/3885"""

    since: StreamToken | None = None
    limit: int = 100


class StickyWish(NamedTuple):
    """https://github.com/matrix-org/matrix-spec-proposals/pull/4480"""

    since: StreamToken | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class Extensions:
    """What is wanted beside rooms; `None`: not wanted."""

    to_device: ToDeviceWish | None = None
    e2ee: bool = False
    account_data: Scope | None = None
    receipts: Scope | None = None
    typing: Scope | None = None
    thread_subscriptions: int | None = None
    """How many changes at most."""
    sticky: StickyWish | None = None


class SlidingToken(NamedTuple):
    """A position: how far the client knows what its connection is about."""

    stream: StreamToken
    version: int
    """Names what the connection was sent."""
    answer: int
    """Names the answer that the client had, as far as processes remember it."""

    @classmethod
    def parse(cls, text: str) -> "SlidingToken":
        """Read a position, or raise `UnknownPos`."""
        _, _, own = text.partition("~")
        version, _, answer = own.partition(".")
        try:
            # The whole is read as a token, too: that checks what is behind it.
            return cls(StreamToken.parse(text), int(version), int(answer))
        except (InvalidParam, ValueError) as error:
            raise UnknownPos from error

    def __str__(self) -> str:
        """As it is sent: a stream token with something behind it."""
        return f"{self.stream}~{self.version}.{self.answer}"


@dataclass(frozen=True, slots=True)
class SlidingWish:
    """One request."""

    who: Session
    conn_id: str = ""
    pos: SlidingToken | None = None
    rules: Rules = field(default_factory=Rules)
    extensions: Extensions = field(default_factory=Extensions)
    txn_id: str | None = None

    @property
    def after(self) -> int:
        """The position up to which the connection was served; 0: it begins."""
        return self.pos.stream.pos if self.pos else 0
