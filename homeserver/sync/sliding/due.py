"""What has to be said of which rooms, given what was sent before: values in, values out.

https://github.com/matrix-org/matrix-spec-proposals/pull/4186, "Room results"
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from homeserver.storage.batch import Membership
from homeserver.storage.memberships import RoomOf
from homeserver.storage.numbers import RoomNid
from homeserver.sync.sliding.lists import Match, Windows
from homeserver.sync.sliding.positions import Position, Sent
from homeserver.sync.sliding.state_wishes import Wishes
from homeserver.sync.sliding.wishes import MOST_EVENTS

ASKED = frozenset({Membership.INVITE, Membership.KNOCK})


class Due(NamedTuple):
    """A room of which something has to be said."""

    match: Match
    sent: Sent | None
    """What was sent of it before; `None`: it is said from the beginning."""
    base: int | None
    """The position up to which it was sent; `None` with `sent`."""
    is_dm: bool

    @property
    def room(self) -> RoomNid:
        """Which room."""
        return self.match.room.room

    @property
    def is_expanded(self) -> bool:
        """Whether more of the timeline is wanted than the client has."""
        return self.sent is not None and self.match.config.limit > self.sent.limit

    @property
    def new_wishes(self) -> Wishes:
        """What is wanted of the state that was not wanted before."""
        before = self.sent.wishes if self.sent else frozenset()
        return self.match.config.wishes - before

    def after_it(self, *, has_gap: bool) -> Sent:
        """What was sent once this is said.

        Args:
            has_gap: whether there are events that the client has not got.

        """
        config = self.match.config
        if has_gap:
            limit = config.limit
        elif self.sent is None:
            limit = MOST_EVENTS
        else:
            limit = max(self.sent.limit, config.limit)
        return Sent(self.match.room.membership, config.wishes, limit, self.is_dm)


def due(
    windows: Windows,
    position: Position,
    after: int,
    changed: Collection[RoomNid],
    directs: Collection[str],
) -> list[Due]:
    """The rooms of which something has to be said.

    Args:
        windows: the rooms that are wanted.
        position: what was sent, up to the position `after`.
        after: see there.
        changed: rooms in which something may have happened since.
        directs: IDs of rooms that are direct chats.

    """
    found = []
    for nid, match in windows.matches.items():
        sent = position.rooms.get(nid)
        is_dm = match.room.room_id in directs
        if sent is not None and _begins_anew(sent, match.room):
            sent = None
        base = (sent.behind or after) if sent else None
        one = Due(match, sent, base, is_dm)
        if _is_due(one, changed):
            found.append(one)
    return found


def fallen_behind(
    position: Position, after: int, missed: Iterable[RoomNid]
) -> Mapping[RoomNid, Sent]:
    """Live rooms of which something was missed, as they wait from now on."""
    return {
        room: position.rooms[room]._replace(behind=after)
        for room in missed
        if not position.rooms[room].behind
    }


def advanced(
    position: Position, changes: Mapping[RoomNid, Sent], extensions: frozenset[str]
) -> Position:
    """What was sent, with changes; the same value if there are none."""
    changed = {room: sent for room, sent in changes.items() if position.rooms.get(room) != sent}
    if not changed and extensions == position.extensions:
        return position
    return replace(position, rooms={**position.rooms, **changed}, extensions=extensions)


def _begins_anew(sent: Sent, room: RoomOf) -> bool:
    """Whether the user came in, or was asked in, since the room was sent."""
    if room.membership is Membership.JOIN or room.membership in ASKED:
        return sent.membership is not room.membership
    return False


def _is_due(one: Due, changed: Collection[RoomNid]) -> bool:
    sent, room = one.sent, one.match.room
    if sent is None or one.base is None or sent.is_dm != one.is_dm:
        return True
    if room.membership is Membership.JOIN:
        if one.is_expanded or one.new_wishes or sent.behind:
            return True
        return one.room in changed
    # Of the others nothing is told but what they are to the user.
    return sent.membership is not room.membership or room.pos > one.base
