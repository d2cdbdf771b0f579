"""Which part of a room's state a client is told, beside what its timeline shows."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from federation.identifiers import UserID
from homeserver.storage.history import Placed
from homeserver.storage.numbers import RoomNid
from homeserver.storage.state_groups import EventNid, KeyNid
from homeserver.storage.sync import Change

_REMEMBERED = 200_000
"""Members that were sent to clients, and are remembered, at some 100 bytes each."""


def before_timeline(
    changes: Sequence[Change], timeline: Sequence[Placed]
) -> dict[KeyNid, EventNid]:
    """What changed before the timeline begins, or without being in it: v3's `state`."""
    if not timeline:
        return after_timeline(changes)
    start = timeline[0].pos
    shown = {event.nid for event in timeline}
    found: dict[KeyNid, EventNid] = {}
    for change in changes:
        is_before = start is None or change.pos < start
        if change.new is not None and (is_before or change.new not in shown):
            found[change.key] = change.new
    return found


def after_timeline(changes: Iterable[Change]) -> dict[KeyNid, EventNid]:
    """What changed at all, as it is in the end: `state_after`."""
    return {change.key: change.new for change in changes if change.new is not None}


class _Told(NamedTuple):
    """A membership that a device was told of."""

    event: EventNid
    at: int
    """The position of the answer: the client has it once it asks on from there."""


class SentMembers:
    """Which members each device was told of, so that they are not sent again and again."""

    def __init__(self) -> None:
        self._sent: OrderedDict[int, dict[RoomNid, dict[UserID, _Told]]] = OrderedDict()
        self._used = 0

    def unsent(
        self,
        device: int,
        room: RoomNid,
        members: Mapping[UserID, EventNid],
        after: int | None,
        up_to: int,
    ) -> list[EventNid]:
        """Those of the members' events that the device does not know; now it is told.

        Args:
            device: which.
            room: of the members.
            members: events that have to be known.
            after: up to which position the client knows the room; `None`: it is new to the client.
                What was told in an answer beyond that may have been lost.
            up_to: the position of the answer.

        """
        sent = self._sent.setdefault(device, {}).setdefault(room, {})
        self._sent.move_to_end(device)
        new = {
            user: event
            for user, event in members.items()
            if after is None
            or (told := sent.get(user)) is None
            or told.event != event
            or told.at > after
        }
        self._used += len(new.keys() - sent.keys())
        sent.update({user: _Told(event, up_to) for user, event in new.items()})
        while self._used > _REMEMBERED and len(self._sent) > 1:
            self.forget(next(iter(self._sent)))
        return list(new.values())

    def forget(self, device: int) -> None:
        """Begin anew, for a device that begins anew."""
        self._used -= sum(len(members) for members in self._sent.pop(device, {}).values())
