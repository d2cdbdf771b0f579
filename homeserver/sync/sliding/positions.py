"""What a connection was sent so far: a value, and how it is stored.

A room is live while all of it was sent, as far as the client wants it, up to the position of the
client's token: then nothing has to be written when that moves on. A room in which something
happened that was not sent is behind, and waits at the position up to which it was.

https://github.com/matrix-org/matrix-spec-proposals/pull/4186, "Connections"
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from homeserver.storage.batch import Membership
from homeserver.storage.numbers import RoomNid
from homeserver.sync.sliding.state_wishes import Element, StateWish, Wishes


class Sent(NamedTuple):
    """What was sent of one room."""

    membership: Membership
    """The user's, as it was told."""
    wishes: Wishes
    """What was wanted of its state when something was sent."""
    limit: int
    """The client has so many of the last events without a gap."""
    is_dm: bool = False
    behind: int = 0
    """The position up to which the room was sent; 0: it is live."""


@dataclass(frozen=True, slots=True)
class Position:
    """What a connection was sent."""

    rooms: Mapping[RoomNid, Sent] = field(default_factory=dict)
    extensions: frozenset[str] = frozenset()
    """Those that were wanted."""


_Config = list[tuple[list[Element], list[Element], bool]]
_Room = tuple[int, int, int, int, bool, int]


class _Stored(msgspec.Struct, array_like=True):
    configs: list[_Config]
    rooms: list[_Room]
    """Room, membership, which of the configs, limit, whether it is a direct chat, behind."""
    extensions: list[str]


_DECODER: msgspec.msgpack.Decoder[_Stored] = msgspec.msgpack.Decoder(_Stored)
_ENCODER = msgspec.msgpack.Encoder()


def encode(position: Position) -> bytes:
    """As it is stored; each config once."""
    configs = dict.fromkeys(sent.wishes for sent in position.rooms.values())
    places = {wishes: place for place, wishes in enumerate(configs)}
    stored = _Stored(
        [_plain(wishes) for wishes in configs],
        [
            (nid, s.membership, places[s.wishes], s.limit, s.is_dm, s.behind)
            for nid, s in position.rooms.items()
        ],
        sorted(position.extensions),
    )
    return _ENCODER.encode(stored)


def decode(raw: bytes) -> Position:
    """What `encode` wrote."""
    stored = _DECODER.decode(raw)
    configs = [_wishes(config) for config in stored.configs]
    rooms = {
        RoomNid(nid): Sent(Membership(membership), configs[place], limit, is_dm, behind)
        for nid, membership, place, limit, is_dm, behind in stored.rooms
    }
    return Position(rooms, frozenset(stored.extensions))


def _plain(wishes: Wishes) -> _Config:
    return [(list(wish.include), list(wish.exclude), wish.lazy) for wish in wishes]


def _wishes(config: _Config) -> Wishes:
    return frozenset(
        StateWish(frozenset(include), frozenset(exclude), lazy) for include, exclude, lazy in config
    )
