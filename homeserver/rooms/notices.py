"""Which events people may have to be told of, as the predefined push rules have it. Pure.

What rules of one's own say is found out where it is read.

https://spec.matrix.org/v1.19/client-server-api/#predefined-rules
"""

from collections.abc import Callable, Iterable, Iterator

from federation.events import Event
from federation.identifiers import ServerName, domain_of
from federation.power_levels import LevelError, PowerLevels
from homeserver.rooms.interning import Nids
from homeserver.rooms.mentions import calls_room, is_notice, mentioned_in
from homeserver.rooms.relating import REPLACE, THREAD, relation_of
from homeserver.storage.batch import NotableRow
from homeserver.storage.unread import Flag

_TOLD = frozenset(
    {
        "m.room.message",
        "m.room.encrypted",
        "m.call.invite",
        "org.matrix.msc3381.poll.start",
        "org.matrix.msc3381.poll.end",
    }
)
_RTC_INVITE = "org.matrix.msc4075.rtc.invite"


def may_call_room(event: Event, levels: PowerLevels) -> bool:
    """Whether the sender may name everybody at once."""
    try:
        return levels.of(event.sender) >= levels.notification("room")
    except LevelError:
        return False


def rows(
    events: Iterable[Event], nids: Nids, server: ServerName, may_call: Callable[[Event], bool]
) -> Iterator[NotableRow]:
    """The rows of those of the events that are messages, or end a room."""
    for event in events:
        flags = _flags(event, may_call)
        if flags is None:
            continue
        relation = relation_of(event)
        in_thread = relation is not None and relation.rel_type == THREAD
        yield NotableRow(
            nids.events[event.event_id],
            nids.users[event.sender],
            nids.events[relation.parent] if relation is not None and in_thread else None,
            int(flags),
            [
                nids.users[user]
                for user in mentioned_in(event)
                if domain_of(user) == server and user in nids.users
            ],
        )


def _flags(event: Event, may_call: Callable[[Event], bool]) -> Flag | None:
    if event.state_key is not None:
        is_end = (event.type, event.state_key) == ("m.room.tombstone", "")
        return Flag.NOTIFY | Flag.HIGHLIGHT if is_end else None
    if event.type == "m.room.redaction":
        return Flag.REDACTION
    calls = calls_room(event) and may_call(event)
    if event.type == _RTC_INVITE:
        return Flag.RING | (Flag.NOTIFY if calls else Flag(0))
    if calls:
        return Flag.NOTIFY | Flag.HIGHLIGHT
    relation = relation_of(event)
    is_edit = relation is not None and relation.rel_type == REPLACE
    is_told = event.type in _TOLD and not is_edit and not is_notice(event)
    return Flag.NOTIFY if is_told else Flag(0)
