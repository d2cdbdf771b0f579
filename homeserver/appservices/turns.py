"""Who met, and who parted from, the users and rooms of an application service.

https://spec.matrix.org/v1.19/application-service-api/#pushing-events
https://github.com/matrix-org/matrix-spec-proposals/pull/3202
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import orjson

from federation.identifiers import RoomID, UserID
from homeserver.appservices.interest import Interest
from homeserver.storage.app_services import News
from homeserver.storage.log import Kind
from homeserver.storage.numbers import RoomNid


class Turns(NamedTuple):
    """What the rows of a span of the log amount to."""

    came: set[UserID]
    """Into rooms that are of interest."""
    parted: set[UserID]
    """From rooms that are of interest."""
    entered: set[RoomNid]
    """Rooms that became of interest: everybody there is new."""
    left: set[RoomNid]
    """Rooms that are of no interest any more."""


class _Move(NamedTuple):
    room: RoomNid
    room_id: RoomID
    user: UserID
    is_in: bool


def turns_of(rows: Iterable[News], interest: Interest) -> Turns:
    """Who met whom; `interest` knows what became of it."""
    moves = list(_moves(rows))
    turns = Turns(set(), set(), set(), set())
    joined = {(move.room, move.user) for move in moves if move.is_in}
    for room, room_id, user, is_in in moves:
        is_known = interest.has_room(room, room_id)
        if not interest.has_user(user):
            if is_known:
                (turns.came if is_in else turns.parted).add(user)
        elif not is_known:
            turns.left.add(room)
        elif is_in and all((room, member) in joined for member in interest.members(room)):
            turns.entered.add(room)
    return turns


def _moves(rows: Iterable[News]) -> Iterator[_Move]:
    """The memberships among the rows with which somebody came or went."""
    for row in rows:
        if row.kind != Kind.EVENT or row.json is None or row.user is None or row.room is None:
            continue
        event = orjson.loads(row.json)
        is_in, was_in = _is_in(row.json), _is_in(row.replaced)
        if is_in != was_in and row.room_id is not None:
            yield _Move(row.room, row.room_id, UserID(event["state_key"]), is_in)


def _is_in(event: bytes | None) -> bool:
    return event is not None and orjson.loads(event)["content"].get("membership") == "join"
