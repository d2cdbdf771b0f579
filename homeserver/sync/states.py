"""Which part of a room's state a client is told, beside what its timeline shows."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

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


_Members = dict[RoomNid, dict[UserID, EventNid]]


@dataclass(slots=True)
class _Device:
    since: int = 0
    """From where it asked last."""
    known: _Members = field(default_factory=dict)
    pending: dict[int, _Members] = field(default_factory=dict)
    """What stood in answers, by their positions, of which it is not known if they arrived."""


class SentMembers:
    """Which members each device was told of, so that they are not sent again and again.

    They count as told once the device asks on from the answer in which they were.
    """

    def __init__(self, most: int = _REMEMBERED) -> None:
        self._most = most
        self._devices: OrderedDict[int, _Device] = OrderedDict()
        self.used = 0
        """Members that are remembered now."""

    def ask(self, device: int, since: int) -> None:
        """A device asks from a position: it has the answer that ended there, if there was one."""
        if (known := self._devices.get(device)) and since < known.since:
            self.forget(device)
        asking = self._devices.setdefault(device, _Device())
        self._devices.move_to_end(device)
        for room, members in asking.pending.pop(since, {}).items():
            told = asking.known.setdefault(room, {})
            self.used += len(members.keys() - told.keys()) - len(members)
            told.update(members)
        self.used -= _size(asking.pending.values())
        asking.pending.clear()
        asking.since = since
        while self.used > self._most and len(self._devices) > 1:
            self.forget(next(iter(self._devices)))

    def unsent(
        self,
        device: int,
        room: RoomNid,
        members: Mapping[UserID, EventNid],
        up_to: int,
        *,
        is_new: bool,
    ) -> list[EventNid]:
        """Those of the members' events that the device does not know; this answer tells it.

        Args:
            device: that asked.
            room: of the members.
            members: events that have to be known.
            up_to: the position at which the answer ends.
            is_new: whether the room is new to the client, whatever was told of it before.

        """
        asking = self._devices.setdefault(device, _Device())
        if is_new:
            self.used -= len(asking.known.pop(room, {}))
        known = asking.known.get(room, {})
        new = {user: event for user, event in members.items() if known.get(user) != event}
        if new:
            pending = asking.pending.setdefault(up_to, {})
            self.used += len(new) - len(pending.get(room, ()))
            pending[room] = new
        return list(new.values())

    def forget(self, device: int) -> None:
        """Begin anew, for a device that begins anew."""
        if gone := self._devices.pop(device, None):
            self.used -= _size([gone.known, *gone.pending.values()])


def _size(found: Iterable[_Members]) -> int:
    return sum(len(members) for rooms in found for members in rooms.values())
