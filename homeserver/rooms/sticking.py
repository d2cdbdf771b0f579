"""Which new events stick. Pure.

https://github.com/matrix-org/matrix-spec-proposals/pull/4354
"""

from collections.abc import Iterable, Iterator, Mapping

from federation.events import Event
from federation.identifiers import ServerName, domain_of
from federation.sticky import sticks_until
from homeserver.storage.batch import StickyRow
from homeserver.storage.numbers import RoomNid
from homeserver.storage.state_groups import EventNid


def rows(
    room: RoomNid,
    events: Iterable[Event],
    numbers: Mapping[str, EventNid],
    server: ServerName,
    now: int,
) -> Iterator[StickyRow]:
    """The rows of those of the events of a room that stick; `server` is this one."""
    for event in events:
        until = sticks_until(event, now)
        if until is not None and until > now:
            is_ours = domain_of(event.sender) == server
            yield StickyRow(numbers[event.event_id], room, until, is_ours)
