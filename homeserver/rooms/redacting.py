"""What redactions take out of events that we have.

https://spec.matrix.org/v1.19/rooms/v12/#handling-redactions
"""

from collections.abc import Iterable, Iterator, Mapping

from federation.decision import Denied
from federation.events import Event, StateKey, redacted
from federation.identifiers import EventID
from federation.power_levels import PowerLevels
from federation.redactions import check_redaction
from homeserver.storage.batch import RedactedRow
from homeserver.storage.media_uses import given_in
from homeserver.storage.numbers import RoomNid
from homeserver.storage.received import Stored
from homeserver.storage.state_groups import EventNid

_CREATE: StateKey = ("m.room.create", "")
_POWER_LEVELS: StateKey = ("m.room.power_levels", "")


def targets_of(events: Iterable[Event]) -> set[EventID]:
    """The events that redactions among these name."""
    return {e.redacts for e in events if e.type == "m.room.redaction" and e.redacts}


def rows(
    room: RoomNid,
    accepted: Iterable[Event],
    numbers: Mapping[EventID, EventNid] | Mapping[str, EventNid],
    targets: Mapping[EventID, Stored],
    state: Mapping[StateKey, Event],
    until: int | None,
) -> Iterator[RedactedRow]:
    """The events that accepted redactions take effect on.

    Args:
        room: of all of them.
        accepted: events, redactions or not.
        numbers: of the accepted events.
        targets: those of the events they name that are stored.
        state: the room's, with the create event and the power levels.
        until: how long what they said is kept, if at all.

    """
    for event in accepted:
        target = targets.get(event.redacts) if event.redacts else None
        if event.type != "m.room.redaction" or target is None or _CREATE not in state:
            continue
        levels = PowerLevels(state[_CREATE], state.get(_POWER_LEVELS))
        found = check_redaction(event, target.event, levels, lambda _: None)
        if not isinstance(found, Denied):
            left = redacted(target.event).json
            files = given_in(target.event)
            yield RedactedRow(room, target.nid, numbers[event.event_id], left, until, files)
